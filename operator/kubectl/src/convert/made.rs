//! A resource of ours while it is made: only fields that the document asks for, in the order of the definition.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    fields::{Fields, take},
    schema,
    values::{is_name, is_service_name},
};
use witan_crd::{EtcdBackupScheduleSpec, EtcdBackupSpec, EtcdClusterSpec};

/// Annotations that kubectl and helm write for themselves.
const OF_TOOLS: [&str; 2] = ["kubectl.kubernetes.io/", "meta.helm.sh/"];

/// Fields of `metadata` and above it that the API server or a controller has written, and no person.
const OF_SERVERS: [&str; 9] = [
    "status",
    "metadata.creationTimestamp",
    "metadata.deletionGracePeriodSeconds",
    "metadata.deletionTimestamp",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
    "metadata.selfLink",
    "metadata.uid",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cluster,
    Backup,
    Schedule,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Cluster => "EtcdCluster",
            Self::Backup => "EtcdBackup",
            Self::Schedule => "EtcdBackupSchedule",
        }
    }

    fn name_max(self) -> usize {
        match self {
            Self::Cluster => 45,
            Self::Backup => 52,
            Self::Schedule => 41,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Made {
    kind: Kind,
    metadata: Map<String, Value>,
    spec: Value,
}

impl Made {
    /// Begins a resource with the metadata of a document. Annotations that begin with one of `own` are those of the other
    /// operator.
    pub(super) fn of(kind: Kind, fields: &mut Fields, own: &[&str]) -> Result<Self, String> {
        for path in OF_SERVERS {
            fields.take(path);
        }
        fields.gone(
            "metadata.generateName",
            "the API server has chosen the name",
        );
        fields.gone(
            "metadata.ownerReferences",
            "the owner makes an object of its own kind again",
        );
        fields.gone(
            "metadata.finalizers",
            "nothing waits for the end of a cluster",
        );
        let name = fields.word("metadata.name");
        let name = name.ok_or("metadata.name is missing")?;
        let mut made = Self::named(kind, &name)?;
        if let Some(namespace) = fields.word("metadata.namespace") {
            made.set_metadata("namespace", namespace.into());
        }
        if let Some(labels) = fields.texts("metadata.labels") {
            made.set_metadata("labels", labels.into());
        }
        let mut annotations = fields.texts("metadata.annotations").unwrap_or_default();
        annotations.retain(|key, _| {
            let of_tools = OF_TOOLS.iter().any(|prefix| key.starts_with(prefix));
            let of_operator = own.iter().any(|prefix| key.starts_with(prefix));
            if of_operator {
                let path = format!("metadata.annotations[{key:?}]");
                fields.refuse(&path, "it is of the other operator");
            }
            !of_tools && !of_operator
        });
        if !annotations.is_empty() {
            made.set_metadata("annotations", annotations.into());
        }
        Ok(made)
    }

    /// Begins a resource with this name; the error says why the name is invalid.
    pub(super) fn named(kind: Kind, name: &str) -> Result<Self, String> {
        if !is_name(name) {
            return Err(format!("{name:?} is no name of an {}", kind.word()));
        }
        if name.len() > kind.name_max() {
            return Err(format!(
                "the name {name} has {} characters, and that of an {} at most {}: give it a shorter one",
                name.len(),
                kind.word(),
                kind.name_max()
            ));
        }
        let metadata = Map::from_iter([("name".to_owned(), name.into())]);
        Ok(Self { kind, metadata, spec: json!({}) })
    }

    /// Begins a resource that belongs to this cluster: in its namespace, with its name and an ending.
    pub(super) fn dependent(&self, kind: Kind, ending: &str) -> Self {
        let room = kind.name_max() - ending.len();
        let start: String = self.name().chars().take(room).collect();
        let name = format!("{}{ending}", start.trim_end_matches(['-', '.']));
        let mut metadata = Map::from_iter([("name".to_owned(), name.into())]);
        if let Some(namespace) = self.metadata.get("namespace") {
            metadata.insert("namespace".to_owned(), namespace.clone());
        }
        Self { kind, metadata, spec: json!({}) }
    }

    pub(super) fn name(&self) -> &str {
        let name = self.metadata.get("name").and_then(Value::as_str);
        name.unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        self.spec.to_string()
    }

    pub(super) fn set_metadata(&mut self, key: &str, value: Value) {
        self.metadata.insert(key.to_owned(), value);
    }

    pub(super) fn set(&mut self, path: &str, value: impl Into<Value>) {
        set(&mut self.spec, path, value.into());
    }

    pub(super) fn set_some(&mut self, path: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(path, value);
        }
    }

    /// Sets a field of the spec; the error says why the definition refuses the value.
    pub(super) fn try_set(&mut self, path: &str, value: impl Into<Value>) -> Result<(), String> {
        let value = value.into();
        schema::check(self.kind, path, &value)?;
        self.set(path, value);
        Ok(())
    }

    /// Sets a field of the spec to what was taken at `from`, or says there that the definition refuses it.
    pub(super) fn put(
        &mut self,
        fields: &mut Fields,
        from: &str,
        path: &str,
        value: Option<impl Into<Value>>,
    ) {
        if let Some(value) = value
            && let Err(reason) = self.try_set(path, value)
        {
            fields.refuse(from, reason);
        }
    }

    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        self.spec.pointer(&format!("/{}", path.replace('.', "/")))
    }

    pub(super) fn remove(&mut self, path: &str) {
        take(&mut self.spec, path);
    }

    /// Gives the two Services the names that clients of the old cluster know, where they are not ours anyway.
    pub(super) fn services(
        &mut self,
        fields: &mut Fields,
        client: Option<&str>,
        peer: Option<&str>,
    ) {
        for (role, name) in [("client", client), ("peer", peer)] {
            let Some(name) = name.filter(|name| **name != format!("{}-{role}", self.name())) else {
                continue;
            };
            if is_service_name(name) {
                self.set(&format!("services.{role}.name"), name);
            } else {
                let text = format!(
                    "spec.services.{role}.name: {name} cannot be the name of a Service, so clients need the default, {}-{role}",
                    self.name()
                );
                fields.notes.by_hand(text);
            }
        }
    }

    /// Returns the resource as JSON; the error says which field its schema or its type refuses.
    pub(super) fn finish(self) -> Result<Value, String> {
        let spec = schema::check_spec(self.kind, &self.spec).and_then(|()| match self.kind {
            Kind::Cluster => canonical::<EtcdClusterSpec>(&self.spec),
            Kind::Backup => canonical::<EtcdBackupSpec>(&self.spec),
            Kind::Schedule => canonical::<EtcdBackupScheduleSpec>(&self.spec),
        });
        let kind = self.kind.word();
        let spec = spec.map_err(|reason| format!("it makes no {kind}: spec: {reason}"))?;
        Ok(json!({
            "apiVersion": "witan.dev/v1",
            "kind": kind,
            "metadata": self.metadata,
            "spec": spec,
        }))
    }
}

fn set(value: &mut Value, path: &str, new: Value) {
    match path.split_once('.') {
        None => value[path] = new,
        Some((first, rest)) => set(&mut value[first], rest, new),
    }
}

/// Parses a spec as its type and writes it again: with the fields in the order of the type, and without the defaults that
/// the type adds.
fn canonical<S: DeserializeOwned + Serialize>(spec: &Value) -> Result<Value, String> {
    let typed: S = serde_json::from_value(spec.clone()).map_err(|error| error.to_string())?;
    let mut full = serde_json::to_value(typed).map_err(|error| error.to_string())?;
    keep(&mut full, spec);
    Ok(full)
}

/// Removes the fields of `full` that `given` does not have, at every level.
fn keep(full: &mut Value, given: &Value) {
    let (Value::Object(full), Value::Object(given)) = (full, given) else {
        return;
    };
    full.retain(|key, _| given.contains_key(key));
    for (key, value) in full {
        keep(value, &given[key]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_given_fields_are_there_in_the_order_of_the_definition() {
        let mut made = Made::named(Kind::Cluster, "orders").unwrap();
        made.set("options.maxTxnOps", 9);
        made.set("tls.peer.managed", json!({}));
        made.set("replicas", 3);
        let text = made.finish().unwrap()["spec"].to_string();
        let expected = r#"{"replicas":3,"tls":{"peer":{"managed":{}}},"options":{"maxTxnOps":9}}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn a_field_that_the_definition_does_not_have_is_an_error() {
        let mut made = Made::named(Kind::Cluster, "orders").unwrap();
        made.set("storage.sizes", "8Gi");
        assert_eq!(
            made.finish().unwrap_err(),
            "it makes no EtcdCluster: spec: there is no field sizes"
        );
    }

    #[test]
    fn names_are_as_long_as_the_rules_allow() {
        let long = "a".repeat(46);
        assert!(Made::named(Kind::Cluster, &long).is_err());
        let cluster = Made::named(Kind::Cluster, &long[..45]).unwrap();
        let schedule = cluster.dependent(Kind::Schedule, "-backup");
        assert_eq!(schedule.name().len(), 41);
    }
}
