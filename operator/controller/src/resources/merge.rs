//! Builds objects from JSON and merges the user's additions into them.

use std::collections::{HashMap, hash_map::Entry};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use witan_crd::OpenObject;

use super::{BuildResult, ResourceError};

/// Converts the operator's own JSON to the type `T`. Panics if the JSON does not fit the type.
pub(super) fn built<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("the operator's own JSON has the fields of its type")
}

/// Converts an untyped object of the spec to the type `T`. An error names the field.
pub(super) fn typed<T: DeserializeOwned>(
    field: &'static str,
    object: &OpenObject,
) -> BuildResult<T> {
    serde_json::from_value(Value::Object(object.0.clone())).map_err(failed(field))
}

/// Merges the user's `podTemplate` into an object that the operator builds. Fails if the result is not a valid object.
pub(super) fn merged<T: Serialize + DeserializeOwned>(
    own: &T,
    template: &OpenObject,
) -> BuildResult<T> {
    let failed = failed("podTemplate");
    let mut merged = serde_json::to_value(own).map_err(&failed)?;
    merge(&mut merged, &Value::Object(template.0.clone()));
    serde_json::from_value(merged).map_err(failed)
}

/// Returns a function for `map_err` that creates the error for an invalid `spec.<field>`.
fn failed(field: &'static str) -> impl Fn(serde_json::Error) -> ResourceError {
    move |error| {
        let text = format!("spec.{field} is not valid in a pod or claim: {error}");
        ResourceError(format!("{text}. Correct it in the EtcdCluster"))
    }
}

/// Merges `more` into `base`: objects by key, mounts by `mountPath`, and other lists by `name`. An empty list changes nothing.
/// A list with an unnamed element, or any other value, including null, replaces the old value.
fn merge(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(base), Value::Array(more)) if more.iter().all(is_named) => {
            // A mount has the name of its volume, and a container can mount a volume several times. Only the path is unique.
            let are_mounts = more.iter().all(|value| value.get("mountPath").is_some());
            let key = if are_mounts { "mountPath" } else { "name" };
            let mark = |value: &Value| value.get(key).map(Value::to_string);
            // A search for each element of a long list would take minutes.
            let mut places = HashMap::new();
            for (at, old) in base.iter().enumerate() {
                places.entry(mark(old)).or_insert(at);
            }
            for value in more {
                match places.entry(mark(value)) {
                    Entry::Occupied(place) => merge(&mut base[*place.get()], value),
                    Entry::Vacant(place) => {
                        place.insert(base.len());
                        base.push(value.clone());
                    }
                }
            }
        }
        (base, more) => *base = more.clone(),
    }
}

fn is_named(value: &Value) -> bool {
    value.get("name").is_some_and(Value::is_string)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_can_be_mounted_more_than_once() {
        let mut mounts = json!([{"name": "data", "mountPath": "/var/lib/etcd"}]);
        let wanted = json!([
            {"name": "data", "mountPath": "/var/lib/etcd", "mountPropagation": "None"},
            {"name": "data", "mountPath": "/data"},
            {"name": "files", "mountPath": "/etc/a.conf", "subPath": "a"},
            {"name": "files", "mountPath": "/etc/b.conf", "subPath": "b"},
        ]);
        merge(&mut mounts, &wanted);
        assert_eq!(mounts, wanted);
    }

    /// The operator builds the pods of all clusters, and a template can be as long as an object of the API server.
    #[test]
    fn a_long_list_is_merged_in_one_pass() {
        let volume = |at: u32| json!({"name": format!("v{at}")});
        let mut volumes = json!([volume(0)]);
        let wanted = Value::Array((0..100_000).map(volume).collect());
        merge(&mut volumes, &wanted);
        assert_eq!(volumes, wanted);
    }

    #[test]
    fn containers_are_merged_by_name() {
        let mut containers = json!([{"name": "etcd", "image": "witan"}]);
        let env = json!([{"name": "A", "value": "b"}]);
        merge(
            &mut containers,
            &json!([{"name": "etcd", "env": env}, {"name": "proxy"}]),
        );
        let expected = json!([{"name": "etcd", "image": "witan", "env": env}, {"name": "proxy"}]);
        assert_eq!(containers, expected);
    }
}
