//! The status that the operator reports. It follows from observation alone, except for the few facts that a later pass
//! needs (`clusterID`, `admittedSpec`, `bootstrapMembers`, `discovery.url`, `restoredFrom`,
//! `requests`, `recovery`, `restore`, `pastOperations`, `compaction`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{operation::OperationPhase, restore::RestoreStatus};

/// Status of an EtcdCluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdClusterStatus {
    /// Generation of the spec that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Human-readable summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Members of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Members that are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Members whose pod has the present template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_replicas: Option<i32>,
    /// Members without a vote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learners: Option<i32>,
    /// Label selector of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The lowest version that a member has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    /// The version that the spec asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_version: Option<String>,
    /// Id of the cluster in hexadecimal, from the first time that a quorum serves. A cluster with an id is never
    /// bootstrapped again.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The last spec in JSON whose pods were admitted: lost pods are recreated from it while the present spec is
    /// refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted_spec: Option<String>,
    /// Number of members at bootstrap, recorded before the first pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_members: Option<i32>,
    /// Name of the leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Its id in hexadecimal.
    #[serde(rename = "leaderID", skip_serializing_if = "Option::is_none")]
    pub leader_id: Option<String>,
    /// Size of the key space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_size: Option<String>,
    /// Alarms that are raised.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// Endpoint for clients inside of the Kubernetes cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_endpoint: Option<String>,
    /// Each member.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub members: Vec<MemberStatus>,
    /// The operator's current action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationStatus>,
    /// The discovery token and the registered members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<DiscoveryStatus>,
    /// URL of the snapshot that the first members begin from, recorded before the first pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<String>,
    /// The revision up to which the changes after that snapshot were restored. For a time, the first member determines it, and the
    /// other members restore to the same revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored_revision: Option<i64>,
    /// The requests of EtcdOperations. Only the operator writes them.
    #[serde(skip_serializing_if = "Requests::is_empty")]
    pub requests: Requests,
    /// The recovery of the quorum that an EtcdOperation has requested. It is recorded before anything is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryStatus>,
    /// The last restore in place; it is recorded before a member is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreStatus>,
    /// The last operations that replaced data or disks, each recorded before it begins. An EtcdOperation of the same name does not
    /// run again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub past_operations: Vec<PastOperation>,
    /// The last compaction that the operator has asked for, because the alarm NOSPACE was raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compaction: Option<CompactionStatus>,
    /// Certificates that the operator issued.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub certificates: Vec<CertificateStatus>,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A member.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Name of member and pod.
    pub name: String,
    /// Its id in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The ordinal of its pod; absent for a member that runs outside of the pods of this cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<i32>,
    /// The stage of its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<MemberPhase>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// It serves and has no alarm of corruption.
    #[serde(default)]
    pub is_healthy: bool,
    /// It leads.
    #[serde(default)]
    pub is_leader: bool,
    /// It has no vote.
    #[serde(default)]
    pub is_learner: bool,
    /// Since when it does not answer, while others do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Time>,
    /// Since when the alarm CORRUPT is raised for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt_since: Option<Time>,
    /// The last index of its log that it has applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raft_index: Option<i64>,
    /// Size of its key space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_size: Option<String>,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The stage of a member's life.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPhase {
    /// It has no pod.
    Pending,
    /// Its pod starts.
    Provisioning,
    /// It follows the log and has no vote.
    Learner,
    /// It votes and serves.
    Ready,
    /// It votes and does not serve.
    Unhealthy,
    /// It has been removed from the cluster; its pod or claim still exists.
    Removing,
    /// It is stopped by the annotation.
    Fenced,
}

/// The operator's current action.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// The step.
    #[serde(rename = "type")]
    pub kind: String,
    /// The member concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Human-readable message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when.
    pub started_at: Time,
}

/// An operation that has begun.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PastOperation {
    /// Name of the EtcdOperation.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its verb.
    pub verb: String,
    /// When it began.
    pub started_at: Time,
    /// Its result, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<OperationPhase>,
}

/// The requests of EtcdOperations to the plan of a cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Requests {
    /// The operation that replaces a member, recovers the quorum or migrates the storage. Its request ends with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationRequest>,
    /// UID of the last EtcdOperation that restarts all members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// UID of the last EtcdOperation that renews the certificates and their authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_certificates: Option<String>,
}

impl Requests {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The request of a running EtcdOperation.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OperationRequest {
    /// Name of the EtcdOperation.
    pub name: String,
    /// UID of the EtcdOperation.
    pub uid: String,
    /// The id of the member to replace, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_member: Option<String>,
    /// Name of the member from which a new cluster is forced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recover_quorum: Option<String>,
    /// Whether members whose claims were not created for this operation are replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub migrate_storage: bool,
}

/// A recovery from the loss of a quorum.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryStatus {
    /// The member from which a new cluster is forced.
    pub member: String,
    /// Its stage.
    pub phase: RecoveryPhase,
    /// When it began, or was found not to be needed.
    pub started_at: Time,
}

/// The stage of a recovery.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryPhase {
    /// The others are stopped, and the member starts alone.
    Running,
    /// A quorum serves. The record is removed when the EtcdOperation has ended.
    Done,
}

/// A compaction for the alarm NOSPACE.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CompactionStatus {
    /// When it was done.
    pub compacted_at: Time,
    /// The revision up to which keys were compacted.
    pub revision: i64,
    /// Whether the alarm was lowered after it.
    pub disarmed: bool,
}

/// The discovery token and the registered members.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct DiscoveryStatus {
    /// URL of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Members that have registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<i32>,
    /// Members that the token is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<i32>,
    /// Names of members of this cluster that have not registered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// A certificate that the operator issued.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Name of its secret.
    pub name: String,
    /// The end of its validity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}
