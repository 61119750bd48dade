//! Reads the bounds of fields in our definitions, so that no other file repeats them.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde_json::Value;
use witan_crd::definitions;

use super::{made::Kind, notes::shown};

/// The schemas of our specs by their kinds, and their patterns.
static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::read);

struct Schemas {
    specs: BTreeMap<String, Value>,
    patterns: BTreeMap<String, Regex>,
}

impl Schemas {
    fn read() -> Self {
        let specs = definitions().into_iter().map(|definition| {
            let kind = definition.spec.names.kind.clone();
            let mut definition = serde_json::to_value(definition).expect("JSON");
            let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            (kind, schema["properties"]["spec"].take())
        });
        let specs: BTreeMap<String, Value> = specs.collect();
        let mut patterns = BTreeMap::new();
        specs.values().for_each(|spec| compile(spec, &mut patterns));
        Self { specs, patterns }
    }
}

fn compile(schema: &Value, patterns: &mut BTreeMap<String, Regex>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(pattern)) = fields.get("pattern") {
                let compiled = Regex::new(pattern).expect("the API server takes the pattern");
                patterns.insert(pattern.clone(), compiled);
            }
            fields.values().for_each(|below| compile(below, patterns));
        }
        Value::Array(items) => items.iter().for_each(|below| compile(below, patterns)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether the definition of a kind takes a value of a field of its spec; the error says why not.
pub(super) fn check(kind: Kind, path: &str, value: &Value) -> Result<(), String> {
    let spec = &SCHEMAS.specs[kind.word()];
    check_value(path.split('.').fold(spec, below), value)
}

pub(super) fn check_spec(kind: Kind, spec: &Value) -> Result<(), String> {
    check_value(&SCHEMAS.specs[kind.word()], spec)
}

fn below<'a>(schema: &'a Value, key: &str) -> &'a Value {
    let property = Some(&schema["properties"][key]).filter(|it| !it.is_null());
    property.unwrap_or(&schema["additionalProperties"])
}

/// Whether the CRD of a cluster accepts a text at a path.
pub(super) fn fits(path: &str, text: &str) -> bool {
    check(Kind::Cluster, path, &text.into()).is_ok()
}

/// Checks a value against its schema: type, bounds, enum, pattern, and no unknown fields where the schema lists them,
/// but neither required fields nor validation rules. The error says what is wrong with the first bad value, without
/// its path. A missing schema, where the fields are those of Kubernetes, accepts everything.
fn check_value(schema: &Value, value: &Value) -> Result<(), String> {
    let word = |key: &str| schema[key].as_str();
    let wrong = |why: String| Err(format!("{} {why}", shown(value)));
    if let Some(expected) = word("type").filter(|expected| !is_of(expected, value)) {
        return wrong(format!("is no {expected}"));
    }
    if let Some(bounds) = beyond(schema, value) {
        return wrong(format!("is not possible: {bounds}"));
    }
    if let Some(values) = schema["enum"].as_array().filter(|all| !all.contains(value)) {
        let values: Vec<_> = values.iter().map(shown).collect();
        return wrong(format!("is none of {}", values.join(", ")));
    }
    if let (Some(pattern), Some(text)) = (word("pattern"), value.as_str())
        && !SCHEMAS.patterns[pattern].is_match(text)
    {
        return wrong(format!("does not match {pattern}"));
    }
    for item in value.as_array().into_iter().flatten() {
        check_value(&schema["items"], item)?;
    }
    let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let is_closed = schema["properties"].is_object() && !is_open;
    for (key, value) in value.as_object().into_iter().flatten() {
        match (below(schema, key), is_closed) {
            (Value::Null, true) => return Err(format!("there is no field {key}")),
            (field, _) => check_value(field, value)?,
        }
    }
    Ok(())
}

fn is_of(expected: &str, value: &Value) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        _ => value.is_number(),
    }
}

/// Returns the bounds of a number or of a length as text if the value is beyond them.
fn beyond(schema: &Value, value: &Value) -> Option<String> {
    let (size, least, most, unit) = match value {
        Value::Number(number) => (number.as_f64()?, "minimum", "maximum", ""),
        Value::String(text) => {
            let characters = text.chars().count() as f64;
            (characters, "minLength", "maxLength", " characters")
        }
        Value::Array(items) => (items.len() as f64, "minItems", "maxItems", " items"),
        Value::Object(fields) => {
            let count = fields.len() as f64;
            (count, "minProperties", "maxProperties", " fields")
        }
        Value::Null | Value::Bool(_) => return None,
    };
    let is_int32 = schema["format"] == "int32";
    let most = schema[most].as_f64();
    let most = most.or(is_int32.then_some(f64::from(i32::MAX)));
    let least = schema[least].as_f64();
    let above = most.is_some_and(|most| size > most);
    let below = least.is_some_and(|least| size < least);
    match (least, most) {
        (Some(least), _) if below => Some(format!("it has at least {least}{unit}")),
        (_, Some(most)) if above => Some(format!("it has at most {most}{unit}")),
        (_, _) => None,
    }
}
