//! Tests that the copies of the definition are up to date, and that its rules accept and refuse the examples as expected.
//! Another test sends the same examples to a real API server.

mod page;

use kube::core::cel::Validator;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    EtcdBackupScheduleSpec, EtcdBackupSpec, EtcdClusterSpec, EtcdOperationSpec,
    definition::definitions,
};

const EXAMPLES: &str = include_str!("../tests/etcdcluster-examples.json");

/// Files with the output of `witan-operator crd`.
const COPIES: [&str; 2] = [
    "../../deploy/crd.yaml",
    "../../charts/witan-operator/files/crd.yaml",
];

#[test]
fn the_files_of_the_definition_are_fresh() {
    let text = super::as_yaml().expect("it is YAML");
    for copy in COPIES {
        let path = format!("{}/{copy}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE").is_some() {
            let folder = std::path::Path::new(&path).parent().expect("a folder");
            std::fs::create_dir_all(folder).expect("folder");
            std::fs::write(&path, &text).expect("write");
        }
        let written = std::fs::read_to_string(&path).expect("the file is there");
        let fresh = written == text;
        assert!(
            fresh,
            "{path} differs: UPDATE=1 cargo test -p witan-crd definition"
        );
    }
}

/// The bound is far below the size limit of the annotation that client-side apply writes.
#[test]
fn each_definition_is_small() {
    for definition in definitions() {
        let text = serde_json::to_string(&definition).expect("it is JSON");
        assert!(text.len() < 60_000, "{} bytes", text.len());
    }
}

/// An upgrade installs the definitions first. Until it replaces the operator, release 0.1.0 still writes these fields.
#[test]
fn fields_that_the_first_release_writes_are_declared() {
    for (kind, field) in [
        ("EtcdCluster", "leaderID"),
        ("EtcdBackup", "failedAttempts"),
    ] {
        let fields = &schema(kind)["properties"]["status"]["properties"];
        assert!(fields[field].is_object(), "{kind}: {field}");
    }
}

#[test]
fn accepted_examples_are_accepted() {
    for case in examples("accepted") {
        let wrong = judge(&case);
        assert!(wrong.is_empty(), "{}: {wrong:?}", case["case"]);
    }
}

#[test]
fn invalid_examples_are_rejected_with_helpful_messages() {
    for case in examples("refused") {
        let wrong = judge(&case);
        let says = case["says"].as_str().expect("what it says");
        let said = wrong.iter().any(|reason| reason.contains(says));
        assert!(said, "{}: {wrong:?}", case["case"]);
    }
}

#[test]
fn an_empty_spec_has_the_defaults() {
    let spec: EtcdClusterSpec = serde_json::from_value(json!({})).expect("a spec");
    assert_eq!(spec, EtcdClusterSpec::minimal());
}

fn examples(kind: &str) -> Vec<Value> {
    let examples: Value = serde_json::from_str(EXAMPLES).expect("JSON");
    let cases = examples[kind].as_array().expect("cases").clone();
    assert!(cases.len() > 15, "the examples were read");
    cases
}

fn kind(case: &Value) -> &str {
    case["kind"].as_str().unwrap_or("EtcdCluster")
}

fn schema(kind: &str) -> Value {
    let mut definitions = definitions().into_iter();
    let found = definitions.find(|definition| definition.spec.names.kind == kind);
    let definition = serde_json::to_value(found.expect("a kind")).expect("JSON");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Returns the errors of a case: the errors of the schema or, if it accepts the spec, the messages of the violated rules.
fn judge(case: &Value) -> Vec<String> {
    let (kind, spec) = (kind(case), &case["spec"]);
    let schema = &schema(kind);
    let mut wrong = Vec::new();
    check(&schema["properties"]["spec"], spec, "spec", &mut wrong);
    if !wrong.is_empty() {
        return wrong;
    }
    let name = case["name"].as_str().unwrap_or("orders");
    let new = object(kind, name, spec);
    let old = case.get("from").map(|from| object(kind, name, from));
    match Validator::new().validate(schema, &new, old.as_ref()) {
        Ok(()) => wrong,
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| error.message)
            .collect(),
    }
}

/// Returns the resource with its defaults, as the API server would complete it.
fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let given = spec.clone();
    let full = match kind {
        "EtcdBackup" => completed::<EtcdBackupSpec>(given),
        "EtcdBackupSchedule" => completed::<EtcdBackupScheduleSpec>(given),
        "EtcdOperation" => completed::<EtcdOperationSpec>(given),
        _ => completed::<EtcdClusterSpec>(given),
    };
    json!({"apiVersion": "witan.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": full})
}

fn completed<S: DeserializeOwned + Serialize>(spec: Value) -> Value {
    let typed: S = serde_json::from_value(spec).expect("a spec");
    serde_json::to_value(typed).expect("JSON")
}

/// Adds a message to `wrong` for each violation of a maximum, a pattern, an enum or the known fields. Ignores all other
/// constraints and the items of lists.
fn check(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == json!(true) {
        return;
    }
    if let (Some(most), Some(number)) = (schema["maximum"].as_f64(), value.as_f64())
        && number > most
    {
        wrong.push(format!("{path} should be less than or equal to {most}"));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !matches(pattern, text)
    {
        wrong.push(format!("{path} should match {pattern}"));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        wrong.push(format!("{path} is not supported"));
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) => wrong.push(format!("unknown field {path}")),
            (Value::Null, more) => check(more, value, &path, wrong),
            (property, _) => check(property, value, &path, wrong),
        }
    }
}

/// Returns whether a text matches a pattern, as evaluated by a validation rule.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern = pattern.replace('\\', "\\\\");
    let rule = json!([{"rule": format!("self.matches('{pattern}')"), "message": "pattern"}]);
    let schema = json!({"type": "string", "x-kubernetes-validations": rule});
    Validator::new()
        .validate(&schema, &json!(text), None)
        .is_ok()
}
