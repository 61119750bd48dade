//! Builds objects from JSON and merges the user's additions into them.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use witan_crd::OpenObject;

use super::ResourceError;

/// Converts an object that the operator writes as JSON to its type.
pub(super) fn built<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("the operator's own JSON has the fields of its type")
}

/// Converts an untyped object of the spec to the type `T`. An error names the field.
pub(super) fn typed<T: DeserializeOwned>(
    field: &'static str,
    object: &OpenObject,
) -> Result<T, ResourceError> {
    serde_json::from_value(Value::Object(object.0.clone())).map_err(failed(field))
}

/// Merges the user's `podTemplate` into an object that the operator builds. Fails if the result is not a valid object.
pub(super) fn merged<T: Serialize + DeserializeOwned>(
    own: &T,
    template: &OpenObject,
) -> Result<T, ResourceError> {
    let failed = failed("podTemplate");
    let mut merged = serde_json::to_value(own).map_err(&failed)?;
    merge(&mut merged, &Value::Object(template.0.clone()));
    serde_json::from_value(merged).map_err(failed)
}

fn failed(field: &'static str) -> impl Fn(serde_json::Error) -> ResourceError {
    move |error| ResourceError::Field { field, reason: error.to_string() }
}

/// Merges `more` into `base`: objects by key, and lists by `name` if every element of `more` has one, so an empty list changes
/// nothing. Any other value, including null, replaces the old value.
fn merge(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(base), Value::Array(more)) if more.iter().all(is_named) => {
            for value in more {
                let same = base
                    .iter_mut()
                    .find(|old| old.get("name") == value.get("name"));
                match same {
                    Some(old) => merge(old, value),
                    None => base.push(value.clone()),
                }
            }
        }
        (base, more) => *base = more.clone(),
    }
}

fn is_named(value: &Value) -> bool {
    value.get("name").is_some_and(Value::is_string)
}
