//! The refusals of the API server for a resource: types, fields, bounds and rules of its definition.

use std::{cell::RefCell, collections::BTreeMap};

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Map, Value, from_value, json};
use witan_crd::{EtcdBackup, EtcdBackupSchedule, EtcdCluster, definitions};

/// Our definitions, with their rules compiled.
pub(super) struct Judge {
    kinds: BTreeMap<String, (Value, CompiledSchema)>,
    patterns: RefCell<BTreeMap<String, CompiledSchema>>,
    validator: Validator,
}

impl Judge {
    pub(super) fn new() -> Self {
        let kinds = definitions().into_iter().map(|definition| {
            let kind = definition.spec.names.kind.clone();
            let definition = serde_json::to_value(definition).expect("JSON");
            let schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
            let compiled = compile_schema(&schema);
            assert!(!compiled.has_errors(), "{kind}");
            (kind, (schema, compiled))
        });
        Self {
            kinds: kinds.collect(),
            patterns: RefCell::default(),
            validator: Validator::new(),
        }
    }

    /// Returns what is wrong with a resource of ours.
    pub(super) fn wrong_with(&self, resource: &Value) -> Vec<String> {
        let kind = resource["kind"].as_str().expect("a kind");
        let typed = match kind {
            "EtcdCluster" => from_value::<EtcdCluster>(resource.clone()).map(drop),
            "EtcdBackup" => from_value::<EtcdBackup>(resource.clone()).map(drop),
            _ => from_value::<EtcdBackupSchedule>(resource.clone()).map(drop),
        };
        let mut wrong: Vec<_> = typed
            .err()
            .map(|error| error.to_string())
            .into_iter()
            .collect();
        let (schema, compiled) = self.kinds.get(kind).expect("a kind of ours");
        let spec = &schema["properties"]["spec"];
        self.check(spec, &resource["spec"], "spec", &mut wrong);
        // fields that are left out have their defaults in the schema
        if let Err(errors) = self.validator.validate_compiled(compiled, resource, None) {
            wrong.extend(errors.into_vec().into_iter().map(|error| error.message));
        }
        wrong
    }

    /// Checks types, fields and bounds, except for patterns, which are rules of their own.
    fn check(&self, schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
        let Some(kind) = schema["type"].as_str() else {
            return self.bounds(schema, value, path, wrong);
        };
        let fits = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            _ => value.is_number(),
        };
        if !fits {
            wrong.push(format!("{path} is no {kind}"));
        }
        self.bounds(schema, value, path, wrong);
        if schema["x-kubernetes-preserve-unknown-fields"] == json!(true) {
            return;
        }
        for (n, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{path}[{n}]"), wrong);
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Null) => wrong.push(format!("unknown field {path}")),
                (Value::Null, more) => self.check(more, value, &path, wrong),
                (property, _) => self.check(property, value, &path, wrong),
            }
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            if value.get(required.as_str().expect("a name")).is_none() {
                wrong.push(format!("{path}.{required} is missing"));
            }
        }
    }

    fn bounds(&self, schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
        let characters = value.as_str().map(|text| text.chars().count());
        let items = value.as_array().map(Vec::len);
        let fields = value.as_object().map(Map::len);
        let counts = [
            ("maxLength", characters),
            ("maxItems", items),
            ("maxProperties", fields),
        ];
        for (bound, count) in counts {
            if let (Some(most), Some(count)) = (schema[bound].as_u64(), count)
                && u64::try_from(count).is_ok_and(|count| count > most)
            {
                wrong.push(format!("{path} has {count}, {bound} is {most}"));
            }
        }
        for (bound, least) in [("minLength", characters)] {
            if let (Some(bound), Some(count)) = (schema[bound].as_u64(), least)
                && u64::try_from(count).is_ok_and(|count| count < bound)
            {
                wrong.push(format!("{path} has {count}, the least is {bound}"));
            }
        }
        if let Some(number) = value.as_f64() {
            let low = schema["minimum"]
                .as_f64()
                .is_some_and(|least| number < least);
            let high = schema["maximum"].as_f64().is_some_and(|most| number > most);
            if low || high {
                wrong.push(format!("{path} is {number}, which is out of its bounds"));
            }
        }
        if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
            && !self.matches(pattern, text)
        {
            wrong.push(format!("{path} does not match {pattern}"));
        }
        if let Some(values) = schema["enum"].as_array()
            && !values.contains(value)
        {
            wrong.push(format!("{path} is none of {values:?}"));
        }
    }

    fn matches(&self, pattern: &str, text: &str) -> bool {
        let mut patterns = self.patterns.borrow_mut();
        let compiled = patterns.entry(pattern.to_owned()).or_insert_with(|| {
            let pattern = pattern.replace('\\', "\\\\");
            let rule =
                json!([{"rule": format!("self.matches('{pattern}')"), "message": "pattern"}]);
            compile_schema(&json!({"type": "string", "x-kubernetes-validations": rule}))
        });
        self.validator
            .validate_compiled(compiled, &json!(text), None)
            .is_ok()
    }
}
