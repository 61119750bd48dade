//! Options of a spec for pods, services and rollouts.

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

/// Whether members are kept on different nodes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AntiAffinity {
    /// Two members may be on one node.
    None,
    /// They are on different nodes where possible.
    #[default]
    Soft,
    /// They are on different nodes, or wait.
    Hard,
}

/// Labels and annotations of all objects of a cluster.
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

/// How many members an eviction may take.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "!(has(self.minAvailable) && has(self.maxUnavailable))", "message": "set at most one of minAvailable, maxUnavailable"}]))]
pub struct BudgetOptions {
    /// Whether there is a budget. It follows the number of voters.
    pub enabled: bool,
    /// Voters that an eviction leaves, instead of a quorum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "share_schema")]
    pub min_available: Option<IntOrString>,
    /// Voters that an eviction may take, instead of all but a quorum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "share_schema")]
    pub max_unavailable: Option<IntOrString>,
    /// Whether pods that are not ready may be evicted whatever the budget says.
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

/// Whether pods that are not ready may be evicted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// Only within the budget.
    IfHealthyBudget,
    /// Always.
    AlwaysAllow,
}

/// How a changed template reaches the members.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    /// Whether the operator restarts members, or waits until a person deletes their pods.
    #[serde(rename = "type")]
    pub kind: UpdateKind,
    /// Waits before restarting the leader until the annotation `witan.dev/allow-leader-restart` has the generation.
    pub supervised: bool,
    /// Seconds that a member is ready before the next one is restarted.
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

/// Who restarts members whose template changed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// The operator, one at a time and the leader last.
    RollingUpdate,
    /// A person, by deleting pods.
    OnDelete,
}

/// How members that do not come back are replaced.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfHealing {
    /// Whether members are replaced. Missing pods are recreated either way.
    pub enabled: bool,
    /// How long a member may be silent before its pod is recreated, or, without a disk, it is replaced.
    pub unhealthy_after: Span,
    /// How long a silent member's node may not report, or its pod may not end, before the member is replaced although its
    /// disk may come back. Counts from the start of the operator at the earliest. It waits for the node or for a person by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_lost_after: Option<Span>,
    /// Whether a member whose data differs from that of the others is replaced, or reported alone.
    pub on_corruption: OnCorruption,
    /// Compacts keys when the alarm NOSPACE is raised, and lowers it if that has freed enough, at most every ten minutes. Nobody
    /// but a person does by default: watchers and reads of the revisions that are compacted fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compact_on_no_space: Option<CompactOnNoSpace>,
}

/// How much history is given up when the store is full.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct CompactOnNoSpace {
    /// How many of the last revisions are kept.
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

/// How a member is treated whose data differs from that of the others.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCorruption {
    /// It is replaced.
    Replace,
    /// It is reported.
    AlarmOnly,
}

/// Services of a cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Services {
    /// The one for clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientService>,
    /// The headless one, which gives each member its DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerService>,
}

/// The service for clients.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientService {
    /// Its name, `<name>-client` by default. It cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// Further labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Further annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its `trafficDistribution`, such as PreferClose.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub traffic_distribution: Option<String>,
}

/// The headless service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerService {
    /// Its name, `<name>-peer` by default. It cannot change.
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
