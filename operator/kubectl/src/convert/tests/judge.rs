//! The refusals of the API server for a resource: types, fields, bounds and rules of its definition.

use std::collections::BTreeMap;

use super::super::{made::Kind, schema};
use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Value, from_value};
use witan_crd::{EtcdBackup, EtcdBackupSchedule, EtcdCluster, definitions};

/// Our definitions, with their rules compiled.
pub(super) struct Judge {
    kinds: BTreeMap<String, CompiledSchema>,
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
            (kind, compiled)
        });
        Self { kinds: kinds.collect(), validator: Validator::new() }
    }

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
        let of = [Kind::Cluster, Kind::Backup, Kind::Schedule];
        let of = of.into_iter().find(|of| of.word() == kind);
        let checked = schema::check_spec(of.expect("a kind of ours"), &resource["spec"]);
        wrong.extend(checked.err());
        let compiled = self.kinds.get(kind).expect("a kind of ours");
        // fields that are left out have their defaults in the schema
        if let Err(errors) = self.validator.validate_compiled(compiled, resource, None) {
            wrong.extend(errors.into_vec().into_iter().map(|error| error.message));
        }
        wrong
    }
}
