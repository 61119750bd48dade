//! `EtcdOperation`: a one-time operation on a cluster and its result.

#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column repeats attributes such as `type_`"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::restore::{RestoreInPlace, RestorePoint};

/// The operation to run on the cluster. Exactly one operation must be set.
#[skip_serializing_none]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "witan.dev",
    version = "v1",
    kind = "EtcdOperation",
    plural = "etcdoperations",
    shortname = "etcdop",
    category = "etcd",
    namespaced,
    status = "EtcdOperationStatus",
    derive = "PartialEq",
    doc = "A single operation on an EtcdCluster, such as a restore. Deleting the resource does not undo the operation.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterName"),
    printcolumn(name = "Verb", type_ = "string", json_path = ".status.verb"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Requested By",
        type_ = "string",
        json_path = ".status.requestedBy"
    ),
    printcolumn(name = "Completed", type_ = "date", json_path = ".status.completedAt"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Progress",
        type_ = "string",
        json_path = ".status.progress",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("the spec of an EtcdOperation is immutable: create another EtcdOperation").reason(Reason::FieldValueForbidden),
    validation = Rule::new("[has(self.moveLeader), has(self.replaceMember), has(self.restart), has(self.migrateStorage), has(self.rotateCertificates), has(self.consistencyCheck), has(self.recoverQuorum), has(self.restore), has(self.undoRestore)].filter(given, given).size() == 1").message("an operation needs exactly one of moveLeader, replaceMember, restart, migrateStorage, rotateCertificates, consistencyCheck, recoverQuorum, restore, undoRestore")
)]
pub struct EtcdOperationSpec {
    /// Name of the EtcdCluster, in the same namespace.
    #[schemars(length(min = 1, max = 45))]
    pub cluster_name: String,
    /// UID of the EtcdCluster. If set, the operation fails on another EtcdCluster with the same name.
    #[serde(rename = "clusterUID")]
    #[schemars(length(min = 1, max = 63))]
    pub cluster_uid: Option<String>,
    /// Transfers leadership to another voter.
    pub move_leader: Option<MoveLeader>,
    /// Replaces a member with a new member on a new disk.
    pub replace_member: Option<ReplaceMember>,
    /// Restarts all members, one at a time and the leader last.
    pub restart: Option<NoSettings>,
    /// Replaces all members, one at a time and the leader last, with members that have new PersistentVolumeClaims. The operator
    /// does the same automatically if a change of `spec.storage` cannot be applied to existing claims.
    pub migrate_storage: Option<NoSettings>,
    /// Renews the CA of the cluster and the certificates that the operator issues.
    pub rotate_certificates: Option<NoSettings>,
    /// Compares the hashes of the key spaces of all members at one revision.
    pub consistency_check: Option<NoSettings>,
    /// Forces a new cluster from one member after the quorum is permanently lost.
    pub recover_quorum: Option<RecoverQuorum>,
    /// Stops all members, keeps their disks, and starts the same number of new members from a backup.
    pub restore: Option<RestoreInPlace>,
    /// Stops all members and starts the cluster from the disks that a restore kept.
    pub undo_restore: Option<UndoRestore>,
    /// Deadline in seconds, relative to the start of the operation. When it expires, the operation fails with the reason
    /// DeadlineExceeded. For `restore`, `undoRestore` and `recoverQuorum` (default 3600), the deadline applies only until they
    /// begin to stop members. The other operations have no deadline by default.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
    /// Deadline in seconds for the start of the operation, relative to the creation of the resource. When it expires, the
    /// operation fails with the reason StartDeadlineExceeded. The default is 600 for `restore`, `undoRestore`, `recoverQuorum`,
    /// `replaceMember` and `migrateStorage`. The other operations wait indefinitely.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub start_deadline_seconds: Option<i64>,
    /// Number of seconds to keep the resource after the operation ends. By default, `restore`, `undoRestore`, `recoverQuorum`,
    /// `replaceMember` and `migrateStorage` are kept, and the other operations are deleted after a day.
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,
}

/// An operation without settings.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoSettings {}

/// Transfers leadership to another voter.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveLeader {
    /// Name of the new leader. By default, the operator selects the healthy voter with the most recent log.
    #[schemars(length(min = 1, max = 63))]
    pub to: Option<String>,
}

/// Replaces a member.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaceMember {
    /// Name of the member to replace.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// Starts the cluster from the disks that a restore kept.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct UndoRestore {
    /// Name of the EtcdOperation whose restore is undone. By default, the last restore that stopped members is undone.
    #[schemars(length(min = 1, max = 253))]
    pub operation: Option<String>,
}

/// Forces a new cluster from one member.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoverQuorum {
    /// Name of the member that becomes the first member of the new cluster. This member must still have its disk.
    #[schemars(length(min = 1, max = 63))]
    pub survivor: String,
}

/// The action of an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "the variants have the names of the spec's fields"
)]
pub enum Verb<'a> {
    MoveLeader(&'a MoveLeader),
    ReplaceMember(&'a ReplaceMember),
    Restart,
    MigrateStorage,
    RotateCertificates,
    ConsistencyCheck,
    RecoverQuorum(&'a RecoverQuorum),
    Restore(&'a RestoreInPlace),
    UndoRestore(&'a UndoRestore),
}

impl Verb<'_> {
    /// Returns whether the operation replaces data or disks. Such an operation runs only once, and only soon after its
    /// creation.
    pub fn is_destructive(self) -> bool {
        self.stops_all_members() || matches!(self, Verb::ReplaceMember(_) | Verb::MigrateStorage)
    }

    /// Returns whether the operation stops all members at the same time.
    pub fn stops_all_members(self) -> bool {
        matches!(
            self,
            Verb::RecoverQuorum(_) | Verb::Restore(_) | Verb::UndoRestore(_)
        )
    }

    /// Returns the name for the status and for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Verb::MoveLeader(_) => "MoveLeader",
            Verb::ReplaceMember(_) => "ReplaceMember",
            Verb::Restart => "Restart",
            Verb::MigrateStorage => "MigrateStorage",
            Verb::RotateCertificates => "RotateCertificates",
            Verb::ConsistencyCheck => "ConsistencyCheck",
            Verb::RecoverQuorum(_) => "RecoverQuorum",
            Verb::Restore(_) => "Restore",
            Verb::UndoRestore(_) => "UndoRestore",
        }
    }
}

impl EtcdOperationSpec {
    /// Returns the action; `None` if no verb is set, which the API server refuses.
    pub fn verb(&self) -> Option<Verb<'_>> {
        let of = |given: Option<NoSettings>, verb| given.map(|_| verb);
        let moves = self.move_leader.as_ref().map(Verb::MoveLeader);
        moves
            .or_else(|| self.replace_member.as_ref().map(Verb::ReplaceMember))
            .or_else(|| of(self.restart, Verb::Restart))
            .or_else(|| of(self.migrate_storage, Verb::MigrateStorage))
            .or_else(|| of(self.rotate_certificates, Verb::RotateCertificates))
            .or_else(|| of(self.consistency_check, Verb::ConsistencyCheck))
            .or_else(|| self.recover_quorum.as_ref().map(Verb::RecoverQuorum))
            .or_else(|| self.restore.as_ref().map(Verb::Restore))
            .or_else(|| self.undo_restore.as_ref().map(Verb::UndoRestore))
    }
}

/// Status of an EtcdOperation.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdOperationStatus {
    /// Kind of the operation, such as `MoveLeader`.
    pub verb: Option<String>,
    /// Phase of the operation.
    pub phase: Option<OperationPhase>,
    /// Start time. Recorded before the operation changes anything.
    pub started_at: Option<Time>,
    /// Time when the operation succeeded or failed.
    pub completed_at: Option<Time>,
    /// Result of the operation, or why it has not started.
    pub message: Option<String>,
    /// Last observed progress of the operation.
    pub progress: Option<String>,
    /// Field manager that created the resource, such as `kubectl-create`. The user is recorded only in the audit log of the API
    /// server.
    pub requested_by: Option<String>,
    /// UID of the EtcdCluster on which the operation started. The operation never changes a later EtcdCluster with the same name.
    #[serde(rename = "clusterUID")]
    pub cluster_uid: Option<String>,
    /// Name of the member that the operation changes.
    pub member: Option<String>,
    /// ID of that member, in hexadecimal.
    #[serde(rename = "memberID")]
    pub member_id: Option<String>,
    /// Snapshot that a restore uses, resolved when the operation starts.
    pub source: Option<RestorePoint>,
    /// Revision at which the key spaces were compared.
    pub revision: Option<i64>,
    /// Hash of each member's key space at that revision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["member"]))]
    pub hashes: Vec<MemberHash>,
    /// Conditions of the operation. `Succeeded` is True if the operation succeeded, False if it failed, and Unknown before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Hash of a member's key space.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MemberHash {
    /// Name of the member.
    pub member: String,
    /// The hash, in hexadecimal.
    pub hash: String,
}

/// Phase of the operation.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum OperationPhase {
    /// The operation has not started.
    Pending,
    /// The operation has started.
    Running,
    /// The operation is complete.
    Succeeded,
    /// The operation was not completed, or it found an inconsistency.
    Failed,
    /// A value from a later release, which is written back unchanged. The schema does not list it.
    #[serde(untagged)]
    #[schemars(skip, !untagged)]
    Unknown(String),
}
