//! The disks of members, and whether they are kept.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::quantities::{ByteQuantity, OpenObject};

/// Size of a disk if the spec does not set it.
const SIZE_DEFAULT: &str = "8Gi";

/// Disks of the members. By default, each member has a PersistentVolumeClaim of 8Gi.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.size), has(self.volumeClaimTemplate), has(self.emptyDir)].exists_one(x, x)").message("storage needs exactly one of size, volumeClaimTemplate, emptyDir"),
    validation = Rule::new("has(self.emptyDir) == has(oldSelf.emptyDir)").message("storage cannot change between claims and emptyDir").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.medium) == has(oldSelf.medium) && (!has(self.medium) || self.medium == oldSelf.medium)").message("storage.medium is immutable").reason(Reason::FieldValueForbidden)
)]
pub struct Storage {
    /// Size of each disk. If the size increases and the StorageClass allows it, the claims are expanded. If the size decreases,
    /// the operator replaces the members, one at a time, with members that have new claims.
    pub size: Option<ByteQuantity>,
    /// Name of the StorageClass of the claims. If not set, the default class is used. If the class changes, the operator replaces
    /// the members, one at a time, with members that have new claims.
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// Access modes of the claims. The default is ReadWriteOnce. If they change, the operator replaces the members, one at a
    /// time, with members that have new claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub access_modes: Vec<AccessMode>,
    /// `Memory` keeps the data in the node's memory, limited by `size`. A member loses its data when its pod is deleted.
    pub medium: Option<Medium>,
    /// PersistentVolumeClaim template (metadata and spec), instead of `size`. If its spec changes, the operator replaces the
    /// members, one at a time, with members that have new claims.
    pub volume_claim_template: Option<OpenObject>,
    /// An emptyDir volume instead of a claim. A member loses its data when its pod is deleted.
    pub empty_dir: Option<OpenObject>,
}

/// Access mode of the claims.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are values of the Kubernetes API")]
pub enum AccessMode {
    ReadWriteOnce,
    ReadWriteOncePod,
    ReadWriteMany,
}

/// `Memory` keeps the data in the node's memory, limited by `size`. A member loses its data when its pod is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A PersistentVolumeClaim.
    #[serde(rename = "")]
    Disk,
    /// Memory of the node.
    Memory,
}

/// Whether PersistentVolumeClaims are kept when a member is removed or the cluster is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimRetention {
    /// What happens to the claims when the EtcdCluster is deleted.
    pub when_deleted: Retention,
    /// What happens to the claim of a member that is removed or replaced. No member starts from a kept claim.
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

/// Whether the claim is kept (`Retain`) or deleted (`Delete`).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// The claim is kept.
    Retain,
    /// The claim is deleted.
    Delete,
}

impl Storage {
    /// Returns whether the data survives the deletion of a member's pod.
    pub fn is_durable(&self) -> bool {
        self.empty_dir.is_none() && self.medium != Some(Medium::Memory)
    }

    /// Returns the requested size of a claim: the size in the spec, or the default of 8Gi.
    pub fn requested(storage: Option<&Self>) -> ByteQuantity {
        Self::named_size(storage).unwrap_or_else(|| ByteQuantity(SIZE_DEFAULT.to_owned()))
    }

    /// Returns the size in the spec: `size`, or else the request of `volumeClaimTemplate`. Returns `None` if there is neither.
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
