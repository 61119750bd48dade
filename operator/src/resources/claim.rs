//! The claim of a member's disk.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference},
};
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};
use witan_crd::{AccessMode, Retention, Storage};
use witan_plan::model::{Ordinal, PeerTls};

use super::{
    ResourceError,
    merge::typed,
    names::{CLUSTER_ID, Cluster, PEER_TLS, REQUESTED},
    owner, with_fingerprint, word,
};

/// Returns the claim of a member. The EtcdCluster owns it if the policy is to delete claims with the cluster.
pub(crate) fn claim(
    cluster: &Cluster<'_>,
    ordinal: Ordinal,
    peer_tls: PeerTls,
) -> Result<PersistentVolumeClaim, ResourceError> {
    let storage = cluster.spec().storage.as_ref();
    let mut claim = template(storage)?;
    let template_meta = std::mem::take(&mut claim.metadata);
    claim.metadata = cluster.member_meta(cluster.claim(ordinal), ordinal);
    let labels = claim.metadata.labels.get_or_insert_default();
    for (key, value) in template_meta.labels.unwrap_or_default() {
        labels.entry(key).or_insert(value);
    }
    let annotations = claim.metadata.annotations.get_or_insert_default();
    annotations.extend(template_meta.annotations.unwrap_or_default());
    if let Some(id) = cluster.id() {
        annotations.insert(CLUSTER_ID.to_owned(), id.to_owned());
    }
    if cluster.spec().claim_retention().when_deleted == Retention::Retain {
        claim.metadata.owner_references = None;
    }
    // fields that can differ between claims are not part of the fingerprint
    let mut spec = spec(storage)?;
    let resources = spec.resources.take();
    claim.spec = Some(spec);
    let mut claim = with_fingerprint(claim);
    claim.spec.get_or_insert_default().resources = resources;
    let annotations = claim.metadata.annotations.get_or_insert_default();
    annotations.insert(PEER_TLS.to_owned(), word(peer_tls));
    record(&mut claim, ClaimRequest::of(cluster));
    Ok(claim)
}

/// The request for a claim, recorded in its annotation [`REQUESTED`]. The spec is compared with this record, because a webhook
/// or an autoscaler can change the live claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct ClaimRequest {
    /// The claim's spec without the size.
    spec: PersistentVolumeClaimSpec,
    bytes: u64,
    /// UID of the EtcdOperation that migrates the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    migration: Option<String>,
}

impl ClaimRequest {
    /// Returns the request of the present spec; `None` if the spec yields no claim.
    fn of(cluster: &Cluster<'_>) -> Option<Self> {
        let storage = cluster.spec().storage.as_ref();
        let mut spec = spec(storage).ok()?;
        spec.resources = None;
        let request = cluster.active_request.as_ref();
        let request = request.filter(|request| request.migrate_storage);
        Some(Self {
            spec,
            bytes: Storage::requested(storage).bytes()?,
            migration: request.map(|request| request.uid.clone()),
        })
    }

    fn recorded(claim: &PersistentVolumeClaim) -> Option<Self> {
        serde_json::from_str(claim.annotations().get(REQUESTED)?).ok()
    }
}

fn record(claim: &mut PersistentVolumeClaim, request: Option<ClaimRequest>) {
    if let Some(text) = request.and_then(|request| serde_json::to_string(&request).ok()) {
        let annotations = claim.metadata.annotations.get_or_insert_default();
        annotations.insert(REQUESTED.to_owned(), text);
    }
}

/// Prepares a claim for an apply to `live`: keeps the immutable spec and the recorded request. A claim without a record gets
/// one of the present spec.
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

/// Returns whether a member must move to a new claim: an EtcdOperation migrates the storage, or the recorded request differs
/// from the spec or is larger. A spec without a storage class accepts any class, and one without a size any size.
pub(crate) fn must_migrate(cluster: &Cluster<'_>, live: &PersistentVolumeClaim) -> bool {
    let (Some(recorded), Some(mut wanted)) =
        (ClaimRequest::recorded(live), ClaimRequest::of(cluster))
    else {
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

/// Returns the owners that a claim must have: all present ones other than the cluster, and the cluster if the policy is to
/// delete claims with it.
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

/// Returns the claim with `bytes` as its requested size.
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

/// Returns the spec of a claim: the template with access modes (by default `ReadWriteOnce`), storage class and size.
fn spec(storage: Option<&Storage>) -> Result<PersistentVolumeClaimSpec, ResourceError> {
    let mut spec = template(storage)?.spec.unwrap_or_default();
    let modes = storage
        .map(|storage| storage.access_modes.clone())
        .unwrap_or_default();
    if !modes.is_empty() {
        spec.access_modes = Some(modes.into_iter().map(word).collect());
    } else if spec.access_modes.is_none() {
        spec.access_modes = Some(vec![word(AccessMode::ReadWriteOnce)]);
    }
    if let Some(class) = storage.and_then(|storage| storage.storage_class_name.clone()) {
        spec.storage_class_name = Some(class);
    }
    let size = Quantity(Storage::requested(storage).0);
    spec.resources = Some(VolumeResourceRequirements {
        requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
        limits: None,
    });
    Ok(spec)
}

fn template(storage: Option<&Storage>) -> Result<PersistentVolumeClaim, ResourceError> {
    match storage.and_then(|storage| storage.volume_claim_template.as_ref()) {
        Some(template) => typed("storage.volumeClaimTemplate", template),
        None => Ok(PersistentVolumeClaim::default()),
    }
}
