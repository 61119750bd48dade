//! Disks: claims and directories of nodes.

use serde_json::{Map, Value, json};

use super::{
    fields::Fields,
    made::{Kind, Made},
    schema,
    values::{amount, is_amount},
};

/// Takes the size of each disk.
pub(super) fn size(fields: &mut Fields, made: &mut Made, path: &str, default: &str) {
    let size = amount(fields, path);
    made.set("storage.size", size.unwrap_or_else(|| default.to_owned()));
}

/// Takes the labels and annotations of claims, which are below a path.
pub(super) fn metadata(fields: &mut Fields, path: &str) -> Map<String, Value> {
    let mut metadata = Map::new();
    for key in ["labels", "annotations"] {
        if let Some(texts) = fields.texts(&format!("{path}.{key}")) {
            metadata.insert(key.to_owned(), texts.into());
        }
    }
    metadata
}

pub(super) fn claim(fields: &mut Fields, made: &mut Made, path: &str, size: Option<&str>) {
    let claim = fields.object(path).unwrap_or_default();
    if let Err(reason) = set_claim(made, claim, Map::new(), size) {
        fields.refuse(&format!("{path}.resources"), reason);
    }
}

/// Sets the disks of a claim: what `storage` has fields for goes there, anything else makes a whole claim of it.
pub(super) fn set_claim(
    made: &mut Made,
    mut claim: Map<String, Value>,
    metadata: Map<String, Value>,
    size: Option<&str>,
) -> Result<(), &'static str> {
    let simple = metadata.is_empty().then(|| simple(&claim, size)).flatten();
    if let Some(storage) = simple {
        made.set("storage", storage);
        return Ok(());
    }
    let wrong = complete(&mut claim, size);
    if !metadata.is_empty() {
        made.set("storage.volumeClaimTemplate.metadata", metadata);
    }
    made.set("storage.volumeClaimTemplate.spec", claim);
    wrong
}

/// Completes the spec of a claim by `size`, which the other operator has by default, if the claim gives none; without
/// a default nothing is added. Malformed resources of the claim are removed before: the error says what is wrong with
/// them, and the claim is completed all the same.
fn complete(claim: &mut Map<String, Value>, size: Option<&str>) -> Result<(), &'static str> {
    let given = claim
        .get("resources")
        .map(|resources| &resources["requests"]);
    let wrong = given.is_some_and(|requests| !requests.is_object() && !requests.is_null());
    let odd = claim
        .get("resources")
        .is_some_and(|resources| !resources.is_object());
    if wrong || odd {
        claim.shift_remove("resources");
    }
    if let Some(size) = size {
        let resources = claim.entry("resources").or_insert_with(|| json!({}));
        if resources["requests"]["storage"].is_null() {
            resources["requests"]["storage"] = size.into();
        }
    }
    if wrong || odd {
        return Err("an object with requests is expected");
    }
    Ok(())
}

/// Returns the storage with the size, class and modes of a claim; `None` if the claim has other fields, or no size.
fn simple(claim: &Map<String, Value>, default: Option<&str>) -> Option<Value> {
    let mut storage = Map::new();
    if let Some(size) = default {
        storage.insert("size".to_owned(), size.into());
    }
    for (key, value) in claim {
        match key.as_str() {
            "resources" => {
                let resources = value.as_object().filter(|all| all.len() == 1)?;
                let requests = resources.get("requests")?.as_object();
                let requests = requests.filter(|all| all.len() == 1)?;
                let size = requests.get("storage")?;
                let text = super::fields::text_of(size)?;
                is_amount(&text).then_some(())?;
                storage.insert("size".to_owned(), size.clone());
            }
            "accessModes" if *value == json!([]) => {}
            "storageClassName" | "accessModes" => {
                storage.insert(key.clone(), value.clone());
            }
            _ => return None,
        }
    }
    let has_size = storage.contains_key("size");
    let storage = Value::Object(storage);
    let fits = schema::check(Kind::Cluster, "storage", &storage).is_ok();
    (has_size && fits).then_some(storage)
}

/// Gives members a directory of their node, as the document asks for.
pub(super) fn empty_dir(fields: &mut Fields, made: &mut Made, options: Value) {
    made.set("storage.emptyDir", options);
    fields.notes.by_hand(
        "spec.storage.emptyDir: a member loses its data with its pod, as in the old cluster; set spec.storage.size instead to give each a disk, before you create the cluster",
    );
}

/// Takes the number of members. Take the storage first: without disks they cannot be stopped.
pub(super) fn replicas(fields: &mut Fields, made: &mut Made, path: &str) {
    let Some(number) = fields.number(path) else {
        return;
    };
    let on_disks = made.get("storage.emptyDir").is_none()
        && made.get("storage.medium").is_none_or(|medium| medium == "");
    match number {
        0 if !on_disks => fields.refuse(
            path,
            "0 stops all members, which have no disks and would lose all data",
        ),
        0..=9 => made.set("replicas", number),
        _ => fields.refuse(
            path,
            format!("{number}: a cluster has 0 to 9 members, so the default of 3 counts"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(claim: Value, size: Option<&str>) -> String {
        let mut made = Made::named(Kind::Cluster, "orders").unwrap();
        let mut fields = Fields::new(json!({"claim": claim}));
        super::claim(&mut fields, &mut made, "claim", size);
        made.get("storage").unwrap().to_string()
    }

    #[test]
    fn a_claim_that_has_more_than_a_size_stays_whole() {
        let size = json!({"requests": {"storage": "8Gi"}});
        assert_eq!(
            storage(
                json!({"resources": size, "storageClassName": "fast", "accessModes": ["ReadWriteOnce"]}),
                Some("4Gi")
            ),
            r#"{"size":"8Gi","storageClassName":"fast","accessModes":["ReadWriteOnce"]}"#
        );
        assert_eq!(
            storage(json!({"selector": {}}), Some("4Gi")),
            r#"{"volumeClaimTemplate":{"spec":{"selector":{},"resources":{"requests":{"storage":"4Gi"}}}}}"#
        );
        assert_eq!(
            storage(
                json!({"resources": size, "volumeMode": "Block"}),
                Some("4Gi")
            ),
            r#"{"volumeClaimTemplate":{"spec":{"resources":{"requests":{"storage":"8Gi"}},"volumeMode":"Block"}}}"#
        );
    }
}
