//! The status that the operator reports. It is derived from observation, except for a few facts that later passes need:
//! `clusterID`, `admittedSpec`, `bootstrapMembers`, `discovery.url`, `restoredFrom`, `requests`, `recovery`, `restore`,
//! `pastOperations`, `compaction`.

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
    /// Number of members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Number of ready members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Number of members whose pod has the current template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_replicas: Option<i32>,
    /// Number of members without a vote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learners: Option<i32>,
    /// Label selector of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Lowest version among the members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    /// The version in the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_version: Option<String>,
    /// Id of the cluster in hexadecimal, set when a quorum first serves. A cluster with an id is never bootstrapped again.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The last spec, as JSON, whose pods the API server admitted. Lost pods are recreated from it while the current spec is
    /// refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted_spec: Option<String>,
    /// Number of members at bootstrap. Recorded before the first pod is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_members: Option<i32>,
    /// Name of the leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Id of the leader in hexadecimal.
    #[serde(rename = "leaderID", skip_serializing_if = "Option::is_none")]
    pub leader_id: Option<String>,
    /// Size of the key space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_size: Option<String>,
    /// The raised alarms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// Endpoint for clients inside Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_endpoint: Option<String>,
    /// The members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub members: Vec<MemberStatus>,
    /// The operator's current action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationStatus>,
    /// The discovery token and the members registered with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<DiscoveryStatus>,
    /// URL of the snapshot that the first members start from. Recorded before the first pod is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<String>,
    /// The revision up to which changes after that snapshot were restored. For a restore to a time, the first member determines
    /// it for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored_revision: Option<i64>,
    /// The requests of EtcdOperations. Only the operator writes this field.
    #[serde(skip_serializing_if = "Requests::is_empty")]
    pub requests: Requests,
    /// The recovery from a lost quorum that an EtcdOperation requested. Recorded before anything changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryStatus>,
    /// The last restore in place. Recorded before any member is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreStatus>,
    /// The last operations that replaced data or disks, each recorded before it begins. An EtcdOperation with the same name
    /// does not run again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub past_operations: Vec<PastOperation>,
    /// The last compaction for the alarm NOSPACE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compaction: Option<CompactionStatus>,
    /// The certificates that the operator issued.
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
    /// Name of the member and its pod.
    pub name: String,
    /// Id of the member in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Ordinal of its pod; not set for a member outside this cluster's pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<i32>,
    /// Phase of the member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<MemberPhase>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it serves and has no alarm CORRUPT.
    #[serde(default)]
    pub is_healthy: bool,
    /// Whether it is the leader.
    #[serde(default)]
    pub is_leader: bool,
    /// Whether it is a learner, without a vote.
    #[serde(default)]
    pub is_learner: bool,
    /// Since when it has not answered while others did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Time>,
    /// Since when the alarm CORRUPT has been raised for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt_since: Option<Time>,
    /// The last applied index of its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raft_index: Option<i64>,
    /// Size of its key space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_size: Option<String>,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The phase of a member.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPhase {
    /// It has no pod.
    Pending,
    /// Its pod is starting.
    Provisioning,
    /// It follows the log without a vote.
    Learner,
    /// It votes and serves.
    Ready,
    /// It votes but does not serve.
    Unhealthy,
    /// It was removed from the cluster, but its pod or claim still exists.
    Removing,
    /// It is stopped by the annotation `witan.dev/fenced-members`.
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
    /// When it began.
    pub started_at: Time,
}

/// An operation that has begun, and possibly ended.
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

/// The requests of EtcdOperations that the plan of a cluster carries out.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Requests {
    /// The request of the operation that replaces a member, recovers the quorum or migrates the storage. It is removed when the
    /// operation ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationRequest>,
    /// UID of the last EtcdOperation that restarts the members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// UID of the last EtcdOperation that renews the certificates and the CA.
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
    /// Id of the member to replace, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_member: Option<String>,
    /// Name of the member from which a new cluster is forced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recover_quorum: Option<String>,
    /// Whether to replace members whose claims were not created for this operation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub migrate_storage: bool,
}

/// A recovery from a lost quorum.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryStatus {
    /// The member from which a new cluster is forced.
    pub member: String,
    /// Phase of the recovery.
    pub phase: RecoveryPhase,
    /// When it began, or turned out to be unnecessary.
    pub started_at: Time,
}

/// The phase of a recovery.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryPhase {
    /// The other members are stopped, and this member starts alone.
    Running,
    /// A quorum serves. The record is removed once the EtcdOperation has ended.
    Done,
}

/// A compaction for the alarm NOSPACE.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CompactionStatus {
    /// When the keys were compacted.
    pub compacted_at: Time,
    /// The revision up to which keys were compacted.
    pub revision: i64,
    /// Whether the alarm was lowered afterwards.
    pub disarmed: bool,
}

/// The discovery token and the members registered with it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct DiscoveryStatus {
    /// URL of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Number of registered members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<i32>,
    /// Number of members that the token was created for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<i32>,
    /// Names of members of this cluster that are not registered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// A certificate that the operator issued.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Name of its secret.
    pub name: String,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}
