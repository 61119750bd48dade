//! The options for pods, services and rollouts.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::quantities::{Span, share_schema};

/// When the kubelet pulls the image.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are values of the Kubernetes API")]
pub enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

/// Whether members must (`hard`), should (`soft`) or need not (`none`) run on different nodes. Ignored if `affinity` sets
/// `podAntiAffinity`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AntiAffinity {
    /// Members can share a node.
    None,
    /// Members run on different nodes if possible.
    #[default]
    Soft,
    /// Members run on different nodes, or stay pending.
    Hard,
}

/// Labels and annotations that are added to all objects of the cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct AdditionalMetadata {
    /// Labels. Labels of the operator take precedence.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Annotations. Annotations of the operator take precedence.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

/// PodDisruptionBudget that limits how many members can be evicted at the same time.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "!(has(self.minAvailable) && has(self.maxUnavailable))", "message": "set at most one of minAvailable, maxUnavailable"}]))]
pub struct BudgetOptions {
    /// Whether the operator creates a PodDisruptionBudget. The operator adapts it to the number of voters.
    pub enabled: bool,
    /// Number or percentage of voters that must remain available. The default is a quorum.
    #[schemars(schema_with = "share_schema")]
    pub min_available: Option<IntOrString>,
    /// Number or percentage of voters that can be evicted. The default is the number of voters minus a quorum.
    #[schemars(schema_with = "share_schema")]
    pub max_unavailable: Option<IntOrString>,
}

impl Default for BudgetOptions {
    fn default() -> Self {
        Self { enabled: true, min_available: None, max_unavailable: None }
    }
}

/// How the operator rolls out changes of the pod template.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    /// `RollingUpdate`: the operator restarts the members. `OnDelete`: a member restarts with the new template when you delete
    /// its pod.
    #[serde(rename = "type")]
    pub kind: UpdateKind,
    /// If true, the operator restarts the leader only after you set the annotation `witan.dev/allow-leader-restart` to the
    /// current generation.
    pub supervised: bool,
    /// Number of seconds for which a restarted member must be ready before the operator restarts the next member.
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: i32,
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self {
            kind: UpdateKind::RollingUpdate,
            supervised: false,
            min_ready_seconds: 10,
        }
    }
}

/// `RollingUpdate`: the operator restarts the members. `OnDelete`: a member restarts with the new template when you delete its
/// pod.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// The operator restarts the members, one at a time and the leader last.
    RollingUpdate,
    /// The user restarts the members by deleting their pods.
    OnDelete,
}

/// When and how the operator replaces failed members.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfHealing {
    /// Whether the operator replaces members. It recreates missing pods in any case.
    pub enabled: bool,
    /// Time for which a member may fail to answer before the operator recreates its pod. If its disk is lost or not durable,
    /// the operator replaces the member instead. Time before the operator started is ignored.
    pub unhealthy_after: Span,
    /// Time for which a member that does not answer is kept while its node does not report or its pod is terminating. Then
    /// the operator replaces the member, even though its disk may still exist. Time before the operator started is ignored. By
    /// default, the operator waits until the node returns or you intervene.
    pub node_lost_after: Option<Span>,
    /// Whether the operator replaces a member whose data differs from the other members' data, or only reports it.
    pub on_corruption: OnCorruption,
    /// Lets the operator compact old revisions when the NOSPACE alarm is raised, at most every ten minutes. The operator
    /// disarms the alarm if enough space is free. Watches and reads of compacted revisions fail. By default, the operator does
    /// not compact.
    pub compact_on_no_space: Option<CompactOnNoSpace>,
}

/// Number of revisions that the compaction keeps.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct CompactOnNoSpace {
    /// How many of the latest revisions to keep.
    #[schemars(range(min = 0))]
    pub keep_revisions: i64,
}

impl Default for CompactOnNoSpace {
    fn default() -> Self {
        Self { keep_revisions: 10_000 }
    }
}

impl Default for SelfHealing {
    fn default() -> Self {
        Self {
            enabled: true,
            unhealthy_after: Span("5m".to_owned()),
            node_lost_after: None,
            on_corruption: OnCorruption::Replace,
            compact_on_no_space: None,
        }
    }
}

/// Whether the operator replaces a member whose data differs from the other members' data, or only reports it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCorruption {
    /// The operator replaces the member.
    Replace,
    /// The operator only reports the member.
    AlarmOnly,
}

/// Services through which clients and members connect.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Services {
    /// The Service for clients.
    pub client: Option<ClientService>,
    /// The headless Service, which gives each member its DNS name.
    pub peer: Option<PeerService>,
}

/// The Service for clients.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientService {
    /// Name of the Service. The default is `<cluster>-client`. Immutable.
    #[schemars(length(max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Type of the Service.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// Additional labels of the Service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Additional annotations of the Service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The `trafficDistribution` of the Service, such as PreferClose.
    #[schemars(length(max = 63))]
    pub traffic_distribution: Option<String>,
}

/// The headless Service.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerService {
    /// Name of the Service. The default is `<cluster>-peer`. Immutable.
    #[schemars(length(max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
}

/// Type of the Service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are values of the Kubernetes API")]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}
