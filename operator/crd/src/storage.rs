//! The disks of members, and whether they are kept.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{ByteQuantity, OpenObject};

/// Size of a disk if the spec does not set it.
const SIZE_DEFAULT: &str = "8Gi";

/// Disks of the members.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.size), has(self.volumeClaimTemplate), has(self.emptyDir)].exists_one(x, x)").message("storage needs exactly one of size, volumeClaimTemplate, emptyDir"),
    validation = Rule::new("has(self.emptyDir) == has(oldSelf.emptyDir)").message("storage cannot change between claims and emptyDir").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.medium) == has(oldSelf.medium) && (!has(self.medium) || self.medium == oldSelf.medium)").message("storage.medium is immutable").reason(Reason::FieldValueForbidden)
)]
pub struct Storage {
    /// Size of each disk. Claims grow if the storage class allows it. If the size is reduced, members are replaced, one at a
    /// time, with members that have new claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteQuantity>,
    /// Storage class of the claims; the default class if not set. If it changes, members are replaced, one at a time, with
    /// members that have new claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// Access modes of the claims; ReadWriteOnce if not set. If they change, members are replaced with members that have new
    /// claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub access_modes: Vec<AccessMode>,
    /// `Memory` keeps the data in memory, up to `size` bytes. A member loses its data with its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<Medium>,
    /// Full claim (metadata and spec) instead of `size`. If its spec changes, members are replaced with members that have new
    /// claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_claim_template: Option<OpenObject>,
    /// A directory on the node instead of a claim. A member loses its data with its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<OpenObject>,
}

/// Access mode of a claim.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "values of Kubernetes")]
pub enum AccessMode {
    ReadWriteOnce,
    ReadWriteOncePod,
    ReadWriteMany,
}

/// The medium of a member's data.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A claim.
    #[serde(rename = "")]
    Disk,
    /// Memory of the node.
    Memory,
}

/// Whether the claims of removed members are kept.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimRetention {
    /// When the EtcdCluster is deleted.
    pub when_deleted: Retention,
    /// When a member is removed, after another one votes in its place. No member starts from a kept claim.
    pub when_scaled: Retention,
}

impl Default for ClaimRetention {
    fn default() -> Self {
        Self {
            when_deleted: Retention::Retain,
            when_scaled: Retention::Delete,
        }
    }
}

/// Whether a claim is kept.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// The claim is kept.
    Retain,
    /// The claim is deleted.
    Delete,
}

impl Storage {
    /// Returns whether the data survives the pod.
    pub fn is_durable(&self) -> bool {
        self.empty_dir.is_none() && self.medium != Some(Medium::Memory)
    }

    /// Returns the requested size of a claim: the one in the spec, or the default.
    pub fn requested(storage: Option<&Self>) -> ByteQuantity {
        Self::named_size(storage).unwrap_or_else(|| ByteQuantity(SIZE_DEFAULT.to_owned()))
    }

    /// Returns the size in the spec.
    pub fn named_size(storage: Option<&Self>) -> Option<ByteQuantity> {
        let template = storage.and_then(|storage| storage.volume_claim_template.as_ref());
        let from_template = template.and_then(|template| {
            let requests = template.0.get("spec")?.get("resources")?.get("requests")?;
            serde_json::from_value(requests.get("storage")?.clone()).ok()
        });
        let size = storage.and_then(|storage| storage.size.clone());
        size.or(from_template)
    }
}
