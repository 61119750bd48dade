//! The custom resources: their specs, their statuses, and the rules that the API server validates.
//!
//! A rule is an attribute of the type that it checks. `definition` generates the CustomResourceDefinitions from the types.
//!
//! Reading order: this file (EtcdCluster) → its fields: `storage`, `pods`, `options`, `security`, `certificates`, `restore` →
//! `status` → `backup` (EtcdBackup, EtcdBackupSchedule) → `operation` → `names`, `quantities`, `pod_status` → `object` (a bound
//! for functions over all kinds).
//!
//! This crate also defines the names derived from an EtcdCluster that several crates use. In the operator, `plan` and
//! `resources` implement the meaning of a spec.

#![expect(
    unreachable_pub,
    reason = "kube's derive macro nests a copy of each type, which nothing can reach"
)]

mod backup;
mod certificates;
mod definition;
mod names;
mod object;
mod operation;
mod options;
mod pod_status;
mod pods;
mod quantities;
mod restore;
mod security;
mod status;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

pub use backup::{
    BackupChanges, BackupChangesStatus, BackupPhase, BackupRetention, BackupSettings, BackupStore,
    CONFIRMED, Encryption, EtcdBackup, EtcdBackupSchedule, EtcdBackupScheduleSpec,
    EtcdBackupScheduleStatus, EtcdBackupSpec, EtcdBackupStatus, S3Store, Verify, VolumeStore,
};
pub use certificates::CertificateRole;
pub use definition::as_yaml;
pub use names::{
    ALLOW_LEADER_RESTART, AUTHORITY_OVERLAP, CLIENT_TLS, CLUSTER, CONTAINER, FENCED_MEMBERS,
    ORDINAL_MAX, READINESS_PATH, ordinal, ports, quorum, speaks_tls,
};
pub use object::Object;
pub use operation::{
    EtcdOperation, EtcdOperationSpec, EtcdOperationStatus, MemberHash, MoveLeader, NoSettings,
    OperationPhase, RecoverQuorum, ReplaceMember, UndoRestore, Verb,
};
pub use options::{CompactionMode, LogLevel, MetricsDetail, OPERATOR_FLAGS, Options};
pub use pod_status::{
    PodFailure, container_failure, containers, is_ready, pod_condition, pod_failure, pod_phase,
};
pub use pods::{
    AdditionalMetadata, AntiAffinity, BudgetOptions, ClientService, CompactOnNoSpace, OnCorruption,
    PeerService, PullPolicy, SelfHealing, ServiceType, Services, UpdateKind, UpdateStrategy,
};
pub use quantities::{ByteQuantity, OpenObject, Span};
pub use restore::{Restore, RestoreInPlace, RestorePhase, RestorePoint, RestoreStatus};
pub use security::{
    Auth, CertManagerCertificate, CertificateSource, IssuerRef, ManagedCertificate, PeerTlsSource,
    SecretRef, ServerTlsSource, Tls, secret_file,
};
pub use status::{
    CertificateStatus, CompactionStatus, DiscoveryStatus, EtcdClusterStatus, MemberPhase,
    MemberStatus, OperationRequest, OperationStatus, PastOperation, RecoveryPhase, RecoveryStatus,
    Requests,
};
pub use storage::{AccessMode, ClaimRetention, Medium, Retention, Storage};

/// Number of members if the spec does not set it.
pub const REPLICAS_DEFAULT: i32 = 3;

/// Desired state of an etcd cluster of Witan members.
#[skip_serializing_none]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "witan.dev",
    version = "v1",
    kind = "EtcdCluster",
    plural = "etcdclusters",
    shortname = "ec",
    category = "etcd",
    category = "all",
    namespaced,
    status = "EtcdClusterStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "An etcd cluster whose members the operator runs as pods.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.currentVersion"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(
        name = "Available",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Available")].status"#
    ),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Learners", type_ = "integer", json_path = ".status.learners", priority = 1),
    printcolumn(name = "DB Size", type_ = "string", json_path = ".status.dbSize", priority = 1),
    printcolumn(name = "Alarms", type_ = "string", json_path = ".status.alarms", priority = 1),
    printcolumn(name = "Cluster ID", type_ = "string", json_path = ".status.clusterID", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 45").message("metadata.name must be at most 45 characters (pod names and labels add a suffix and must stay within 63)"),
    validation = Rule::new("!self.metadata.name.contains('.')").message("metadata.name must not contain a dot (it is part of the names of Services)"),
    validation = Rule::new("(has(self.spec.services) && has(self.spec.services.client) && has(self.spec.services.client.name) ? self.spec.services.client.name : self.metadata.name + '-client') != (has(self.spec.services) && has(self.spec.services.peer) && has(self.spec.services.peer.name) ? self.spec.services.peer.name : self.metadata.name + '-peer')").message("services.client and services.peer must have different names")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.replicas > 0 || !has(self.storage) || !has(self.storage.medium) || self.storage.medium != 'Memory'").message("replicas: 0 (hibernate) would lose all data with storage.medium: Memory"),
    validation = Rule::new("self.replicas > 0 || !has(self.storage) || !has(self.storage.emptyDir)").message("replicas: 0 (hibernate) would lose all data with storage.emptyDir"),
    validation = Rule::new("has(self.bootstrap) == has(oldSelf.bootstrap)").message("spec.bootstrap is read once at creation; it cannot be added or removed later").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.storage) == has(oldSelf.storage) || [self, oldSelf].all(x, !has(x.storage) || (!has(x.storage.emptyDir) && !has(x.storage.medium)))").message("spec.storage with emptyDir or medium cannot be added to or removed from an existing cluster").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.auth) || !self.auth.enabled || (has(self.tls) && has(self.tls.client))").message("auth.enabled needs spec.tls.client: passwords must not cross a plaintext connection"),
    validation = Rule::new("!has(oldSelf.tls) || !has(oldSelf.tls.peer) || !has(oldSelf.tls.peer.secretRef) || (has(self.tls) && has(self.tls.peer))").message("tls.peer.secretRef cannot be removed: members need the secret until all of them listen in plaintext").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(oldSelf.tls) || !has(oldSelf.tls.client) || !has(oldSelf.tls.client.secretRef) || (has(self.tls) && has(self.tls.client))").message("tls.client.secretRef cannot be removed: the operator needs the secret until all members listen in plaintext").reason(Reason::FieldValueForbidden),
    validation = Rule::new("(has(self.services) && has(self.services.client) && has(self.services.client.name) ? self.services.client.name : '') == (has(oldSelf.services) && has(oldSelf.services.client) && has(oldSelf.services.client.name) ? oldSelf.services.client.name : '')").message("services.client.name cannot be set, changed or removed on an existing cluster: clients connect by this name").reason(Reason::FieldValueForbidden),
    validation = Rule::new("(has(self.services) && has(self.services.peer) && has(self.services.peer.name) ? self.services.peer.name : '') == (has(oldSelf.services) && has(oldSelf.services.peer) && has(oldSelf.services.peer.name) ? oldSelf.services.peer.name : '')").message("services.peer.name cannot be set, changed or removed on an existing cluster: members connect to each other by this name").reason(Reason::FieldValueForbidden)
)]
pub struct EtcdClusterSpec {
    /// Number of members. 0 stops all members and keeps their disks.
    #[serde(default = "replicas_default")]
    #[schemars(range(min = 0, max = 9))]
    pub replicas: i32,
    /// Version of the members. It replaces the tag of the operator's default member image.
    #[schemars(
        length(max = 64),
        regex(pattern = r"^v?[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.-]+)?$")
    )]
    pub version: Option<String>,
    /// Full image of the members. It overrides the operator's default member image and `version`.
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// When the kubelet pulls the image.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// Secrets with the registry credentials for pulling the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<SecretRef>,
    /// If true, the operator only reports the status and changes nothing else.
    #[serde(default)]
    pub paused: bool,
    /// How the initial members find each other, or the backup that they restore. By default, they get a static list of members.
    pub bootstrap: Option<BootstrapSource>,
    /// Disks of the members. By default, each member has a PersistentVolumeClaim of 8Gi.
    pub storage: Option<Storage>,
    /// Whether PersistentVolumeClaims are kept when a member is removed or the cluster is deleted.
    pub persistent_volume_claim_retention_policy: Option<ClaimRetention>,
    /// TLS for clients and between members. By default, neither client nor peer connections use TLS.
    pub tls: Option<Tls>,
    /// Authentication of clients by user and password.
    pub auth: Option<Auth>,
    /// Server options.
    pub options: Option<Options>,
    /// Resource requests and limits of the member container.
    pub resources: Option<OpenObject>,
    /// Affinity of the member pods. Its `podAntiAffinity` overrides `podAntiAffinityPreset`.
    pub affinity: Option<OpenObject>,
    /// Whether members must (`hard`), should (`soft`) or need not (`none`) run on different nodes. Ignored if `affinity` sets
    /// `podAntiAffinity`.
    #[serde(default)]
    pub pod_anti_affinity_preset: AntiAffinity,
    /// How the pods are spread over the topology. By default, they are spread over zones if possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Vec<OpenObject>,
    /// Labels that a node must have to run a member.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations of the member pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<OpenObject>,
    /// Name of the PriorityClass of the member pods.
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
    /// Name of the ServiceAccount of the member pods. Its token is not mounted.
    #[schemars(length(max = 253))]
    pub service_account_name: Option<String>,
    /// Pod template that is merged into the member pods: objects by key, containers and volumes by name.
    pub pod_template: Option<OpenObject>,
    /// Labels and annotations that are added to all objects of the cluster.
    pub additional_metadata: Option<AdditionalMetadata>,
    /// PodDisruptionBudget that limits how many members can be evicted at the same time.
    pub pod_disruption_budget: Option<BudgetOptions>,
    /// How the operator rolls out changes of the pod template.
    pub update_strategy: Option<UpdateStrategy>,
    /// When and how the operator replaces failed members.
    pub self_healing: Option<SelfHealing>,
    /// Services through which clients and members connect.
    pub services: Option<Services>,
}

/// How the initial members find each other, or the backup that they restore. By default, they get a static list of members.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.discovery) != has(self.restore)").message("bootstrap needs exactly one of discovery or restore (omit bootstrap to create an empty cluster)"),
    validation = Rule::new("self == oldSelf").message("spec.bootstrap is immutable").reason(Reason::FieldValueForbidden)
)]
pub struct BootstrapSource {
    /// The members find each other through a discovery service. The service is used only at the first start.
    pub discovery: Option<Discovery>,
    /// Each of the initial members restores this backup.
    pub restore: Option<Restore>,
}

/// A discovery service and a token registered with it.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.local)").message("discovery needs exactly one of url (an existing token URL) or local (the operator creates the token on a running cluster)")
)]
pub struct Discovery {
    /// URL of an existing discovery token. The size of the token must equal `replicas`.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://"))]
    pub url: Option<String>,
    /// The operator creates the token.
    pub local: Option<LocalDiscovery>,
}

/// The service on which the operator creates a discovery token.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LocalDiscovery {
    /// An EtcdCluster in the same namespace on which the token is created. If not set, the token is created at the operator's
    /// `--discovery-service-url`.
    pub cluster_ref: Option<SecretRef>,
}

fn replicas_default() -> i32 {
    REPLICAS_DEFAULT
}

impl EtcdClusterSpec {
    /// Returns the spec with all defaults, like `spec: {}`.
    pub fn minimal() -> Self {
        Self { replicas: REPLICAS_DEFAULT, ..Self::default() }
    }

    /// Returns the number of members that the spec requests.
    pub fn members(&self) -> u32 {
        u32::try_from(self.replicas).unwrap_or_default()
    }

    /// Returns whether members keep their data when their pod is deleted.
    pub fn is_durable(&self) -> bool {
        self.storage.as_ref().is_none_or(Storage::is_durable)
    }

    /// Returns the source of the certificates between members; `None` if members do not use TLS between them.
    pub fn peer_tls(&self) -> Option<&CertificateSource> {
        Some(&self.tls.as_ref()?.peer.as_ref()?.source)
    }

    /// Returns the TLS settings for clients; `None` if clients do not use TLS.
    pub fn client_tls(&self) -> Option<&ServerTlsSource> {
        self.tls.as_ref()?.client.as_ref()
    }

    /// Returns the secret with the password of the user root, even if authentication is disabled.
    pub fn root_secret(&self) -> Option<&SecretRef> {
        self.auth.as_ref()?.root_credentials_secret_ref.as_ref()
    }

    /// Returns the settings in the spec for rolling out a changed template, or the defaults.
    pub fn update_strategy(&self) -> UpdateStrategy {
        self.update_strategy.clone().unwrap_or_default()
    }

    /// Returns whether the operator restarts or replaces members whose template changed.
    pub fn updates_members(&self) -> bool {
        self.update_strategy().kind == UpdateKind::RollingUpdate
    }

    /// Returns the settings in the spec for replacing failed members, or the defaults.
    pub fn self_healing(&self) -> SelfHealing {
        self.self_healing.clone().unwrap_or_default()
    }

    /// Returns the retention policy of claims in the spec, or the default.
    pub fn claim_retention(&self) -> ClaimRetention {
        self.persistent_volume_claim_retention_policy
            .clone()
            .unwrap_or_default()
    }
}
