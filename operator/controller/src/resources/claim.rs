//! Builds the claim of a member's disk.

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference},
};
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use witan_crd::{AccessMode, Retention, Storage};
use witan_plan::model::{Ordinal, PeerTls};

use super::{
    BuildResult,
    merge::{built, typed},
    names::{CLUSTER_ID, Cluster, INSTANCE, PEER_TLS, REQUESTED},
    owner, with_fingerprint, word,
};

/// Builds the claim of a member. The cluster owns the claim only if the retention policy deletes claims with the cluster. Fails
/// if `volumeClaimTemplate` is not a valid claim.
pub(crate) fn claim(
    cluster: &Cluster<'_>,
    ordinal: Ordinal,
    peer_tls: PeerTls,
) -> BuildResult<PersistentVolumeClaim> {
    let template = template(cluster)?;
    let mut metadata = cluster.member_meta(cluster.claim(ordinal), ordinal);
    let labels = metadata.labels.get_or_insert_default();
    // Argo CD would delete a claim without an owner if an application has the name of the cluster.
    labels.remove(INSTANCE);
    for (key, value) in template.metadata.labels.unwrap_or_default() {
        labels.entry(key).or_insert(value);
    }
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.extend(template.metadata.annotations.unwrap_or_default());
    if let Some(id) = cluster.id() {
        annotations.insert(CLUSTER_ID.to_owned(), id.to_owned());
    }
    if cluster.spec().claim_retention().when_deleted == Retention::Retain {
        metadata.owner_references = None;
    }
    // The fingerprint excludes the size, the peer TLS mode and the recorded request, because other steps change them.
    let spec = spec(cluster, template.spec);
    let mut claim = with_fingerprint(PersistentVolumeClaim {
        metadata,
        spec: Some(spec.clone()),
        status: None,
    });
    let size = Storage::requested(cluster.spec().storage.as_ref());
    let resources = json!({"requests": {"storage": size}});
    claim.spec.get_or_insert_default().resources = built(resources);
    let annotations = claim.metadata.annotations.get_or_insert_default();
    annotations.insert(PEER_TLS.to_owned(), word(peer_tls));
    record(&mut claim, ClaimRequest::of(cluster, spec));
    Ok(claim)
}

/// The operator's request for a claim, which the annotation [`REQUESTED`] records. The spec is compared with this record,
/// because a webhook or an autoscaler can change the live claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct ClaimRequest {
    spec: PersistentVolumeClaimSpec,
    bytes: u64,
    /// UID of the EtcdOperation that migrates the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    migration: Option<String>,
}

impl ClaimRequest {
    /// Returns the request for a claim with this spec; `None` if the size in the cluster's spec is invalid.
    fn of(cluster: &Cluster<'_>, spec: PersistentVolumeClaimSpec) -> Option<Self> {
        let request = cluster.active_request.as_ref();
        let request = request.filter(|request| request.migrate_storage);
        Some(Self {
            spec,
            bytes: Storage::requested(cluster.spec().storage.as_ref()).bytes()?,
            migration: request.map(|request| request.uid.clone()),
        })
    }

    /// Reads the recorded request of a claim; `None` if it is missing or unreadable.
    fn recorded(claim: &PersistentVolumeClaim) -> Option<Self> {
        serde_json::from_str(claim.annotations().get(REQUESTED)?).ok()
    }
}

/// Records a request in the annotation [`REQUESTED`] of a claim. Does nothing for `None`.
fn record(claim: &mut PersistentVolumeClaim, request: Option<ClaimRequest>) {
    if let Some(text) = request.and_then(|request| serde_json::to_string(&request).ok()) {
        claim.annotations_mut().insert(REQUESTED.to_owned(), text);
    }
}

/// Prepares a claim for an apply to `live`: keeps the spec of `live`, including the size, and the recorded request. If `live`
/// has no recorded request, records the current request without its migration.
pub(crate) fn applied_to(
    live: &PersistentVolumeClaim,
    mut claim: PersistentVolumeClaim,
) -> PersistentVolumeClaim {
    claim.spec.clone_from(&live.spec);
    let present = ClaimRequest::recorded(&claim);
    let present = present.map(|present| ClaimRequest { migration: None, ..present });
    record(&mut claim, ClaimRequest::recorded(live).or(present));
    claim
}

/// Returns whether a member must move to a new claim. A spec without a storage class accepts any class, and a spec without a
/// size accepts any size. Returns `false` if the claim has no recorded request or the spec is invalid.
pub(crate) fn must_migrate(cluster: &Cluster<'_>, live: &PersistentVolumeClaim) -> bool {
    let wanted = template(cluster).ok();
    let wanted = wanted.and_then(|wanted| ClaimRequest::of(cluster, spec(cluster, wanted.spec)));
    let (Some(recorded), Some(mut wanted)) = (ClaimRequest::recorded(live), wanted) else {
        return false;
    };
    let class = &mut wanted.spec.storage_class_name;
    if class.is_none() {
        class.clone_from(&recorded.spec.storage_class_name);
    }
    let size = Storage::named_size(cluster.spec().storage.as_ref());
    let is_larger = size.is_some() && recorded.bytes > wanted.bytes;
    let migrates = wanted.migration.is_some() && wanted.migration != recorded.migration;
    migrates || is_larger || wanted.spec != recorded.spec
}

/// Returns the owners of a claim: all present owners except the cluster, plus the cluster if the retention policy deletes
/// claims with it.
pub(crate) fn owners_of_claim(
    cluster: &Cluster<'_>,
    claim: &PersistentVolumeClaim,
) -> Vec<OwnerReference> {
    let owners = claim.owner_references().iter();
    let others = owners.filter(|owner| owner.uid != cluster.uid).cloned();
    let deletes = cluster.spec().claim_retention().when_deleted == Retention::Delete;
    let own = deletes.then(|| owner(cluster.resource));
    others.chain(own).collect()
}

/// Sets the requested size in the spec of a claim and, if there is one, in its recorded request.
pub(crate) fn grown(mut claim: PersistentVolumeClaim, bytes: u64) -> PersistentVolumeClaim {
    let spec = claim.spec.get_or_insert_default();
    let resources = spec.resources.get_or_insert_default();
    let requests = resources.requests.get_or_insert_default();
    requests.insert("storage".to_owned(), Quantity(bytes.to_string()));
    let recorded = ClaimRequest::recorded(&claim);
    let grown = recorded.map(|recorded| ClaimRequest { bytes, ..recorded });
    record(&mut claim, grown);
    claim
}

/// Returns the spec of the claim, without the size: the user's `volumeClaimTemplate`, or an empty spec if `template` is `None`.
/// The cluster's access modes and storage class override the template. If neither sets access modes, uses `ReadWriteOnce`.
fn spec(
    cluster: &Cluster<'_>,
    template: Option<PersistentVolumeClaimSpec>,
) -> PersistentVolumeClaimSpec {
    let mut spec = template.unwrap_or_default();
    let storage = cluster.spec().storage.as_ref();
    let modes = storage.map_or(&[][..], |storage| &storage.access_modes);
    if !modes.is_empty() {
        spec.access_modes = Some(modes.iter().map(word).collect());
    } else if spec.access_modes.is_none() {
        spec.access_modes = Some(vec![word(AccessMode::ReadWriteOnce)]);
    }
    if let Some(class) = storage.and_then(|storage| storage.storage_class_name.clone()) {
        spec.storage_class_name = Some(class);
    }
    spec.resources = None;
    spec
}

/// Returns the spec's `volumeClaimTemplate`, or an empty claim if there is none. Fails if the template is not a valid claim.
fn template(cluster: &Cluster<'_>) -> BuildResult<PersistentVolumeClaim> {
    let storage = cluster.spec().storage.as_ref();
    match storage.and_then(|storage| storage.volume_claim_template.as_ref()) {
        Some(template) => typed("storage.volumeClaimTemplate", template),
        None => Ok(PersistentVolumeClaim::default()),
    }
}
