//! The CustomResourceDefinitions as installed: the output of kube's derive, without redundant fields and with an annotation for
//! Helm.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{EtcdBackup, EtcdBackupSchedule, EtcdCluster, EtcdOperation};

/// Returns all CustomResourceDefinitions as YAML documents, which `witan-operator crd` prints.
pub fn as_yaml() -> Result<String, serde_yaml::Error> {
    let definitions = definitions();
    let documents = definitions.iter().map(serde_yaml::to_string);
    Ok(documents.collect::<Result<Vec<_>, _>>()?.join("---\n"))
}

/// Returns the definitions of all resources, without redundant parts of their schemas.
pub(super) fn definitions() -> [CustomResourceDefinition; 4] {
    [
        stripped(EtcdCluster::crd()),
        stripped(EtcdBackup::crd()),
        stripped(EtcdBackupSchedule::crd()),
        stripped(EtcdOperation::crd()),
    ]
}

/// Removes redundant fields of the schema, and adds the annotation that makes Helm keep the definition when a release is
/// uninstalled.
fn stripped(derived: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut definition = serde_json::to_value(derived).expect("a definition is JSON");
    definition["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    strip_redundant(&mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    serde_json::from_value(definition).expect("it is still a definition")
}

/// Removes `nullable: true`, and `anyOf` next to `x-kubernetes-int-or-string`, from a schema and all nested schemas. The API
/// server needs neither.
fn strip_redundant(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
            }
            if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
                fields.remove("anyOf");
            }
            fields.values_mut().for_each(strip_redundant);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_redundant),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
