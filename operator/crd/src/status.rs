//! The status that the operator reports. The status is derived from observation, except for a few facts that later passes need:
//! `featureLevel`, `clusterID`, `admittedSpec`, `bootstrapMembers`, `discovery.url`, `restoredFrom`, `requests`, `recovery`,
//! `restore`, `pastOperations`, `compaction`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::{
    operation::OperationPhase,
    restore::{RestorePhase, RestoreStatus},
};

/// Status of an EtcdCluster.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdClusterStatus {
    /// Generation of the spec that this status describes.
    pub observed_generation: Option<i64>,
    /// Human-readable summary of the cluster's state.
    pub phase: Option<String>,
    /// Number of member pods.
    pub replicas: Option<i32>,
    /// Number of ready members.
    pub ready_replicas: Option<i32>,
    /// Number of members whose pods and claims are up to date.
    pub updated_replicas: Option<i32>,
    /// Number of learners.
    pub learners: Option<i32>,
    /// Label selector of the pods.
    pub selector: Option<String>,
    /// Lowest version of the members.
    pub current_version: Option<String>,
    /// The version in the spec.
    pub target_version: Option<String>,
    /// Feature level of the cluster. A release that supports only lower levels cannot run its members.
    pub feature_level: Option<i64>,
    /// ID of the cluster, in hexadecimal. Set when a quorum first serves. A cluster with an ID is never bootstrapped again.
    #[serde(rename = "clusterID")]
    pub cluster_id: Option<String>,
    /// Last spec, as JSON, whose pods the API server admitted. Lost pods are recreated from this spec while the API server
    /// refuses the current spec, or while the operator refuses its version.
    pub admitted_spec: Option<String>,
    /// Number of members at bootstrap. Recorded before the first pod is created.
    pub bootstrap_members: Option<i32>,
    /// Name of the leader.
    pub leader: Option<String>,
    /// Not set. Release 0.1.0 of the operator sets it, and the API server refuses a status with an undeclared field.
    #[serde(rename = "leaderID")]
    pub leader_id: Option<String>,
    /// Size of the key space.
    pub db_size: Option<String>,
    /// Active alarms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// URL at which clients inside Kubernetes connect.
    pub client_endpoint: Option<String>,
    /// Members of the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub members: Vec<MemberStatus>,
    /// Current action of the operator.
    pub operation: Option<OperationStatus>,
    /// Discovery token and the members registered with it.
    pub discovery: Option<DiscoveryStatus>,
    /// URL of the snapshot from which the initial members start. Recorded before the first pod is created.
    pub restored_from: Option<String>,
    /// Revision up to which changes after that snapshot were restored. For a restore to a point in time, the first member
    /// determines this revision for all members.
    pub restored_revision: Option<i64>,
    /// Requests made by EtcdOperations. Only the operator writes this field.
    #[serde(skip_serializing_if = "Requests::is_empty")]
    pub requests: Requests,
    /// Recovery from a lost quorum, requested by an EtcdOperation. Recorded before the operator changes anything.
    pub recovery: Option<RecoveryStatus>,
    /// Last in-place restore. Recorded before any member is stopped.
    pub restore: Option<RestoreStatus>,
    /// The most recent operations that replace data or disks. Each is recorded before it starts. An EtcdOperation with the same
    /// name does not run again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub past_operations: Vec<PastOperation>,
    /// Last compaction because of the NOSPACE alarm.
    pub compaction: Option<CompactionStatus>,
    /// Certificates that the operator or cert-manager issued.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub certificates: Vec<CertificateStatus>,
    /// Conditions of the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl EtcdClusterStatus {
    /// Returns the phase of a recorded restore or recovery if only a later release knows it, as `status.restore.phase=VALUE`.
    pub fn unknown_phase(&self) -> Option<String> {
        let restore = self.restore.as_ref().map(|restore| &restore.phase);
        if let Some(RestorePhase::Unknown(phase)) = restore {
            return Some(format!("status.restore.phase={phase}"));
        }
        let recovery = self.recovery.as_ref().map(|recovery| &recovery.phase);
        if let Some(RecoveryPhase::Unknown(phase)) = recovery {
            return Some(format!("status.recovery.phase={phase}"));
        }
        None
    }
}

/// A member.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Name of the member and its pod.
    pub name: String,
    /// ID of the member, in hexadecimal.
    pub id: Option<String>,
    /// Ordinal of the member's pod. Not set for a member without a pod of this cluster.
    pub ordinal: Option<i32>,
    /// Phase of the member.
    pub phase: Option<MemberPhase>,
    /// Version of etcd that the member reports to clients.
    pub version: Option<String>,
    /// Witan release that the member runs.
    pub release: Option<String>,
    /// Highest feature level that the member supports.
    pub level: Option<i64>,
    /// Whether the member serves and has no CORRUPT alarm.
    #[serde(default)]
    pub is_healthy: bool,
    /// Whether the member is the leader.
    #[serde(default)]
    pub is_leader: bool,
    /// Whether the member is a learner, which has no vote.
    #[serde(default)]
    pub is_learner: bool,
    /// Time since which the member has not answered although other members have.
    pub silent_since: Option<Time>,
    /// Time since which the CORRUPT alarm has been active for the member.
    pub corrupt_since: Option<Time>,
    /// Index of the last applied entry of the Raft log.
    pub raft_index: Option<i64>,
    /// Size of the member's key space.
    pub db_size: Option<String>,
    /// Why the member is not ready.
    pub reason: Option<String>,
}

/// Phase of the member.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPhase {
    /// The member has no pod.
    Pending,
    /// The member's pod is starting.
    Provisioning,
    /// The member is a learner.
    Learner,
    /// The member is a voter and serves requests.
    Ready,
    /// The member is a voter but does not serve requests.
    Unhealthy,
    /// The member is not in the member list, but its pod still exists.
    Removing,
    /// The member is stopped by the annotation `witan.dev/fenced-members`.
    Fenced,
    /// A value from a later release. The value is only read: each pass recomputes the phase. The schema does not list it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Current action of the operator.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// Type of the action.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the member that the action changes.
    pub member: Option<String>,
    /// Human-readable message.
    pub message: Option<String>,
    /// Time when the action started.
    pub started_at: Time,
}

/// An operation that has started, and possibly ended.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PastOperation {
    /// Name of the EtcdOperation.
    pub name: String,
    /// UID of the EtcdOperation.
    pub uid: String,
    /// Kind of the operation, such as `Restore`.
    pub verb: String,
    /// Time when the operation started.
    pub started_at: Time,
    /// Result of the operation. Set when the operation ends.
    pub result: Option<OperationPhase>,
}

/// Requests made by EtcdOperations. Only the operator writes this field.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Requests {
    /// Request of the EtcdOperation that replaces a member, recovers the quorum or migrates the storage. Removed when the
    /// operation ends.
    pub operation: Option<OperationRequest>,
    /// UID of the last EtcdOperation that requested a restart of the members.
    pub restart: Option<String>,
    /// UID of the last EtcdOperation that requested a renewal of the certificates and the CA.
    pub rotate_certificates: Option<String>,
}

impl Requests {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Request of a running EtcdOperation.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OperationRequest {
    /// Name of the EtcdOperation.
    pub name: String,
    /// UID of the EtcdOperation.
    pub uid: String,
    /// ID of the member to replace, in hexadecimal.
    pub replace_member: Option<String>,
    /// Name of the member from which a new cluster is forced.
    pub recover_quorum: Option<String>,
    /// Whether the operator replaces the members whose claims were created before this operation.
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
    /// Time when the recovery started or turned out to be unnecessary.
    pub started_at: Time,
}

/// Phase of the recovery.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum RecoveryPhase {
    /// The other members are stopped, and this member starts alone.
    Running,
    /// A quorum serves. The record is removed when the EtcdOperation ends.
    Done,
    /// A value from a later release, which is written back unchanged. The schema does not list it.
    #[serde(untagged)]
    #[schemars(skip, !untagged)]
    Unknown(String),
}

/// A compaction because of the NOSPACE alarm.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CompactionStatus {
    /// Time of the compaction.
    pub compacted_at: Time,
    /// Revision at which the key space was compacted.
    pub revision: i64,
    /// Whether the alarm was disarmed afterward.
    pub disarmed: bool,
}

/// Discovery token and the members registered with it.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct DiscoveryStatus {
    /// URL of the token.
    pub url: Option<String>,
    /// Number of registered members.
    pub registered: Option<i32>,
    /// Cluster size for which the discovery token was created.
    pub expected: Option<i32>,
    /// Names of the members of this cluster that are not registered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// A certificate that the operator or cert-manager issued.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Name of the Secret that contains the certificate.
    pub name: String,
    /// Time when the certificate expires.
    pub not_after: Option<Time>,
}
