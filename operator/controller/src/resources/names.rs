//! Names, labels and annotations of the objects of a cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use witan_crd::{CLUSTER, EtcdCluster, EtcdClusterSpec, OperationRequest, RestorePoint, ports};
use witan_plan::model::{Ordinal, PeerTls};

use super::{BuildResult, ResourceError, owner};
use crate::options::Environment;

/// The field manager of server-side apply and the value of `app.kubernetes.io/managed-by`.
pub(crate) const MANAGER: &str = "witan-operator";
/// Label on a pod: the name of its member.
pub(crate) const MEMBER: &str = "witan.dev/member";
/// Label on a pod: `voter` or `learner`.
pub(crate) const ROLE: &str = "witan.dev/role";
/// Label on a job and its pods: the name of their EtcdBackup.
pub(crate) const BACKUP: &str = "witan.dev/backup";
/// Label on a job and its pods: the EtcdCluster that they back up. These objects must not have [`CLUSTER`], which selects
/// members.
pub(crate) const BACKUP_OF: &str = "witan.dev/backup-of";
/// Label on a job and its pods: the uid of their EtcdOperation.
pub(crate) const OPERATION: &str = "witan.dev/operation";
/// Label on an EtcdBackup: the EtcdBackupSchedule that created it.
pub(crate) const SCHEDULE: &str = "witan.dev/backup-schedule";
/// Label on services: `client` or `peer`.
pub(crate) const SERVICE: &str = "witan.dev/service";
/// Label: the name of the cluster. By default, Argo CD before version 3 takes this label for the name of an application.
pub(super) const INSTANCE: &str = "app.kubernetes.io/instance";
/// Label: the tag of the member image.
pub(crate) const VERSION: &str = "app.kubernetes.io/version";
/// Annotation on a pod: the fingerprint of its template.
pub(crate) const TEMPLATE: &str = "witan.dev/template";
/// Annotation on a pod with the last admitted template: the refused template's fingerprint, a colon, and the refusal.
pub(crate) const REFUSED: &str = "witan.dev/refused-template";
/// Annotation on pods and claims: the member's peer TLS mode.
pub(crate) const PEER_TLS: &str = "witan.dev/peer-tls";
/// Annotation on a pod: how the member was started.
pub(crate) const START: &str = "witan.dev/start";
/// Annotation on a pod of an initial member: `new` until the member has started, then `existing`. The container reads it as
/// [`INITIAL_STATE_VARIABLE`] at each start, so that members on emptied disks do not form another cluster.
pub(crate) const INITIAL_STATE: &str = "witan.dev/initial-cluster-state";
/// Variable of the container of an initial member. If it is empty, the member uses the default, `new`.
pub(crate) const INITIAL_STATE_VARIABLE: &str = "ETCD_INITIAL_CLUSTER_STATE";
/// Annotation on a claim whose member was removed. The claim is kept, either forever or until another member votes.
pub(crate) const RETIRED: &str = "witan.dev/retired";
/// Annotation on a claim: the id of the cluster that has served from it.
pub(crate) const CLUSTER_ID: &str = "witan.dev/cluster-id";
/// Annotation on a pod: the UID of the last EtcdOperation that requested a restart of all members.
pub(crate) const RESTART: &str = "witan.dev/restart";
/// Annotation on the CA secret: the last rotation request for which a rotation was started.
pub(crate) const ROTATION: &str = "witan.dev/rotation";
/// Annotation on a claim: the operator's request when it created or enlarged the claim.
pub(crate) const REQUESTED: &str = "witan.dev/requested";
/// Annotation on an object: the fingerprint of the applied fields.
pub(crate) const SPEC: &str = "witan.dev/applied";
/// Annotation on the CA secret: when a rotation last changed the secret.
pub(crate) const ROTATED_AT: &str = "witan.dev/rotated-at";
/// Annotation on a pod: the fingerprint of the CAs that the cluster trusted when the pod was created.
pub(crate) const TRUST: &str = "witan.dev/trust";

/// An EtcdCluster and the names derived from it.
#[derive(Clone, Debug)]
pub(crate) struct Cluster<'a> {
    pub(crate) resource: &'a EtcdCluster,
    /// The operator's defaults for members and backups.
    pub(crate) environment: &'a Environment,
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// The uid, which distinguishes the cluster from an earlier cluster of the same name.
    pub(crate) uid: String,
    pub(crate) image: String,
    /// Fingerprint of the trusted CAs; `None` if the CA was never rotated.
    pub(crate) trust: Option<String>,
    /// The backup from which the initial members start.
    pub(crate) restore: Option<RestorePoint>,
    pub(crate) active_request: Option<OperationRequest>,
    /// Whether the API server has admitted pods of this spec. If so, checks that a later release added do not apply, so that
    /// members can restart.
    pub(crate) is_admitted: bool,
}

impl<'a> Cluster<'a> {
    /// Derives the names of a cluster. Fails if its members have no image.
    pub(crate) fn new(
        resource: &'a EtcdCluster,
        environment: &'a Environment,
    ) -> BuildResult<Self> {
        Ok(Self {
            resource,
            environment,
            name: resource.name_any(),
            namespace: resource.namespace().unwrap_or_default(),
            uid: resource.uid().unwrap_or_default(),
            image: image(&resource.spec, &environment.member_image)?,
            trust: None,
            restore: None,
            active_request: resource.requests().operation,
            is_admitted: false,
        })
    }

    pub(crate) fn spec(&self) -> &'a EtcdClusterSpec {
        &self.resource.spec
    }

    /// Returns the name of a member's claim.
    pub(crate) fn claim(&self, ordinal: Ordinal) -> String {
        format!("data-{}", self.resource.member(ordinal))
    }

    /// Returns the ordinal in the name of a claim of this cluster; `None` for any other name.
    pub(crate) fn ordinal_of_claim(&self, claim: &str) -> Option<Ordinal> {
        self.resource.ordinal(claim.strip_prefix("data-")?)
    }

    /// Returns the cluster id in the status; `None` until a quorum has served.
    pub(crate) fn id(&self) -> Option<&'a str> {
        self.resource.status.as_ref()?.cluster_id.as_deref()
    }

    /// Returns the cluster token, from which cluster and member ids are derived. Each in-place restore changes the token.
    pub(super) fn token(&self) -> String {
        let status = self.resource.status.as_ref();
        let restore = status.and_then(|status| status.restore.as_ref());
        match restore.map(|restore| restore.number) {
            None | Some(0) => self.uid.clone(),
            Some(number) => format!("{}-{number}", self.uid),
        }
    }

    /// Returns the peer URL of a member, with https only for [`PeerTls::On`].
    pub(crate) fn peer_url(&self, ordinal: Ordinal, peer_tls: PeerTls) -> String {
        let scheme = scheme(peer_tls == PeerTls::On);
        format!("{scheme}://{}:{}", self.resource.host(ordinal), ports::PEER)
    }

    /// Returns `https` if the members use TLS for clients, else `http`.
    pub(super) fn client_scheme(&self) -> &'static str {
        scheme(self.spec().client_tls().is_some())
    }

    /// Returns the client URL of a member according to the spec. The member's pod may still use an older spec.
    pub(crate) fn client_url(&self, ordinal: Ordinal) -> String {
        let (scheme, host) = (self.client_scheme(), self.resource.host(ordinal));
        format!("{scheme}://{host}:{}", ports::CLIENT)
    }

    /// Returns the URL of the service for clients.
    pub(crate) fn client_endpoint(&self) -> String {
        let (scheme, service) = (self.client_scheme(), self.resource.client_service());
        let space = &self.namespace;
        format!("{scheme}://{service}.{space}.svc:{}", ports::CLIENT)
    }

    /// Returns the ordinal in the host of a member's peer URL, or `None` if no URL has a pod of this cluster as its host.
    pub(crate) fn ordinal_of_urls(&self, urls: &[String]) -> Option<Ordinal> {
        urls.iter().find_map(|url| {
            let host = url.split("://").nth(1)?.split(':').next()?;
            let (member, rest) = host.split_once('.')?;
            let ordinal = self.resource.ordinal(member)?;
            let own = self.resource.host(ordinal);
            (own.split_once('.')?.1 == rest).then_some(ordinal)
        })
    }

    /// Returns the labels that select the pods of this cluster. These labels never change.
    pub(crate) fn selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(CLUSTER.to_owned(), self.name.clone())])
    }

    /// Returns the tag or the digest of the member image; `None` if the image has neither.
    pub(crate) fn tag(&self) -> Option<&str> {
        let (_, tag) = self.image.rsplit_once(':')?;
        // Without a tag, the last colon can precede the port of the registry.
        (!tag.contains('/')).then_some(tag)
    }

    /// Returns the labels of every object. The operator's labels take precedence over the labels in the spec.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let additional = self.spec().additional_metadata.as_ref();
        let labels = additional.map(|more| more.labels.clone());
        let mut labels = labels.unwrap_or_default();
        let version = self.tag().unwrap_or("latest");
        let own = [
            ("app.kubernetes.io/name", "etcd"),
            ("app.kubernetes.io/component", "etcd"),
            (INSTANCE, &self.name),
            ("app.kubernetes.io/managed-by", MANAGER),
            ("app.kubernetes.io/part-of", "witan"),
            (VERSION, &label_value(version)),
            (CLUSTER, &self.name),
        ];
        labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        labels
    }

    /// Returns the metadata of an object that the cluster owns.
    pub(super) fn meta(&self, name: String) -> ObjectMeta {
        let additional = self.spec().additional_metadata.as_ref();
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels()),
            annotations: additional.map(|more| more.annotations.clone()),
            owner_references: Some(vec![owner(self.resource)]),
            ..ObjectMeta::default()
        }
    }

    /// Returns the metadata of an object of one member: [`Self::meta`] and the label [`MEMBER`].
    pub(super) fn member_meta(&self, name: String, ordinal: Ordinal) -> ObjectMeta {
        let mut meta = self.meta(name);
        let labels = meta.labels.get_or_insert_default();
        labels.insert(MEMBER.to_owned(), self.resource.member(ordinal));
        meta
    }
}

pub(super) fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// Converts a string to a valid label value of at most 63 characters. Replaces invalid characters with `_`, and trims the value
/// to start and end with a letter or digit.
fn label_value(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let text = text.replace(|c: char| !allowed(c), "_");
    let text: String = text.chars().take(63).collect();
    let text = text.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    text.to_owned()
}

/// Returns `spec.image`, or else the operator's member image with `spec.version`, if set. Fails if the image has no repository.
fn image(spec: &EtcdClusterSpec, member_image: &str) -> BuildResult<String> {
    if let Some(image) = &spec.image {
        return Ok(image.clone());
    }
    let slash = member_image.rfind('/').map_or(0, |at| at + 1);
    let end = member_image[slash..].find([':', '@']);
    let repository = &member_image[..end.map_or(member_image.len(), |at| slash + at)];
    if repository.is_empty() {
        let text = format!("the operator's --member-image {member_image:?} has no repository");
        return Err(ResourceError(text));
    }
    Ok(match &spec.version {
        Some(version) => format!("{repository}:{version}"),
        None => member_image.to_owned(),
    })
}
