//! The options for pods, services and rollouts.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Span, share_schema};

/// When an image is pulled.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "values of Kubernetes")]
pub enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

/// Whether members run on different nodes.
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

/// Additional labels and annotations of all objects of a cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct AdditionalMetadata {
    /// Labels. The operator's take precedence.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Annotations. The operator's take precedence.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

/// How many members evictions may stop at once.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "!(has(self.minAvailable) && has(self.maxUnavailable))", "message": "set at most one of minAvailable, maxUnavailable"}]))]
pub struct BudgetOptions {
    /// Whether a PodDisruptionBudget exists. It follows the number of voters.
    pub enabled: bool,
    /// Voters that must stay, instead of a quorum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "share_schema")]
    pub min_available: Option<IntOrString>,
    /// Voters that evictions may stop, instead of all but a quorum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "share_schema")]
    pub max_unavailable: Option<IntOrString>,
    /// Whether unready pods may be evicted regardless of the budget.
    pub unhealthy_pod_eviction_policy: EvictionPolicy,
}

impl Default for BudgetOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            min_available: None,
            max_unavailable: None,
            unhealthy_pod_eviction_policy: EvictionPolicy::AlwaysAllow,
        }
    }
}

/// Whether unready pods may be evicted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// Only within the budget.
    IfHealthyBudget,
    /// Always.
    AlwaysAllow,
}

/// How a changed template is rolled out.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    /// Whether the operator restarts members, or a person does by deleting their pods.
    #[serde(rename = "type")]
    pub kind: UpdateKind,
    /// Whether the restart of the leader waits until the annotation `witan.dev/allow-leader-restart` has the current
    /// generation.
    pub supervised: bool,
    /// Seconds that a member must be ready before the next one is restarted.
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

/// Who restarts members after a change of the template.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// The operator, one member at a time and the leader last.
    RollingUpdate,
    /// A person, by deleting the pods.
    OnDelete,
}

/// How failed members are replaced.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfHealing {
    /// Whether members are replaced. Missing pods are always recreated.
    pub enabled: bool,
    /// How long a member may be silent before its pod is recreated or, without a disk, the member is replaced.
    pub unhealthy_after: Span,
    /// How long a silent member's node may not report, or its pod may stay terminating, before the member is replaced although
    /// its disk may return. Time before the operator started does not count. By default, the operator waits for the node or for
    /// a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_lost_after: Option<Span>,
    /// Whether a member whose data differs from the others' is replaced, or only reported.
    pub on_corruption: OnCorruption,
    /// Compacts old revisions when the alarm NOSPACE is raised, at most every ten minutes, and lowers the alarm if that has
    /// freed enough. Watches and reads of compacted revisions fail. By default, compaction is left to a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compact_on_no_space: Option<CompactOnNoSpace>,
}

/// How much history is kept when the store is full.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct CompactOnNoSpace {
    /// How many of the latest revisions are kept.
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

/// How a member whose data differs from the others' is treated.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCorruption {
    /// It is replaced.
    Replace,
    /// It is only reported.
    AlarmOnly,
}

/// Services of a cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Services {
    /// The service for clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientService>,
    /// The headless service, which gives each member its DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerService>,
}

/// The service for clients.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientService {
    /// Name of the service, `<cluster>-client` by default. It is immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Type of the service.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// Additional labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Additional annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The `trafficDistribution` of the service, such as PreferClose.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub traffic_distribution: Option<String>,
}

/// The headless service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerService {
    /// Name of the service, `<cluster>-peer` by default. It is immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
}

/// Type of a service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "values of Kubernetes")]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}
