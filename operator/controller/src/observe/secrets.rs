//! Reads the secrets of a cluster: certificates, and the password of root. Also finds missing secrets.
//!
//! Each secret is read by name, so the operator needs no permission to list secrets. The secrets are cached.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Client, ResourceExt as _};
use witan_base::sync::Mutex;
use witan_crd::{CertificateRole, secret_file};
use witan_members::{ClientTls, Login};
use witan_plan::model::{CertificateSeen, Holder, ObjectState, ObservedRequest, Part};

use crate::{
    api_server::{ApiFailure, cannot, get, typed, untyped},
    resources::{
        Cluster, Ownership,
        cert_manager::{self, Certificate},
        holder, is_owned, ownership, state, tls,
    },
};

/// Time for which passes without changes use cached secrets. A pass that acts rereads the secrets.
const KEPT: Duration = Duration::from_secs(60);

/// Time for which passes use cached secrets while cert-manager is issuing certificates.
const KEPT_PENDING: Duration = Duration::from_secs(1);

const CERTIFICATES: &str = "read the cluster's cert-manager Certificates";

const ROLES: [CertificateRole; 4] = [
    CertificateRole::Authority,
    CertificateRole::Peer,
    CertificateRole::Server,
    CertificateRole::Operator,
];

/// The secrets of a cluster and the facts read from them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SecretsSeen {
    /// Existing certificates, for `plan`.
    pub(crate) certificates: BTreeMap<CertificateRole, CertificateSeen>,
    /// State of the cert-manager Certificates, for `plan`.
    pub(crate) requested: BTreeMap<CertificateRole, ObservedRequest>,
    /// The cert-manager Certificates of this cluster.
    pub(crate) requests: BTreeMap<CertificateRole, Certificate>,
    /// Names of secrets that the spec names or that cert-manager will write, and that are missing or incomplete, for `plan`.
    pub(crate) missing: BTreeSet<String>,
    /// Parts whose names other secrets or Certificates use, for `plan`.
    pub(crate) taken: BTreeMap<Part, Holder>,
    /// Fingerprint of the trusted CAs; `None` if the CA was never rotated.
    pub(crate) trust: Option<String>,
    /// Secrets of the certificates that the operator issues.
    pub(crate) issued: BTreeMap<CertificateRole, Secret>,
    pub(crate) client_tls: Option<Arc<ClientTls>>,
    /// The operator's login for members with authentication.
    pub(crate) login: Option<Login>,
}

/// Cached secrets by cluster uid.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Mutex<HashMap<String, Kept>>);

#[derive(Debug)]
struct Kept {
    seen: Arc<SecretsSeen>,
    generation: Option<i64>,
    read: Instant,
}

impl Secrets {
    /// Returns the secrets of a cluster. Rereads cached secrets if `fresh` is true, they have expired, or the spec has changed.
    pub(crate) async fn of(
        &self,
        client: &Client,
        cluster: &Cluster<'_>,
        fresh: bool,
    ) -> Result<Arc<SecretsSeen>, ApiFailure> {
        let generation = cluster.resource.metadata.generation;
        if !fresh && let Some(seen) = self.kept(&cluster.uid, generation) {
            return Ok(seen);
        }
        let seen = Arc::new(read(client, cluster).await?);
        let kept = Kept { seen: seen.clone(), generation, read: Instant::now() };
        self.0.lock().insert(cluster.uid.clone(), kept);
        Ok(seen)
    }

    /// Returns the cached secrets of a cluster for this generation of the spec, or `None` if they must be read again. Drops all
    /// expired secrets.
    fn kept(&self, uid: &str, generation: Option<i64>) -> Option<Arc<SecretsSeen>> {
        let mut all = self.0.lock();
        all.retain(|_, kept| kept.read.elapsed() < kept.seen.cache_ttl());
        let kept = all.get(uid)?;
        (kept.generation == generation).then(|| kept.seen.clone())
    }
}

impl SecretsSeen {
    /// Returns how long the secrets can be cached: shorter while cert-manager has not issued a requested one.
    fn cache_ttl(&self) -> Duration {
        let pending = self.requested.values().any(|request| !request.issued);
        if pending { KEPT_PENDING } else { KEPT }
    }

    /// Adds the state of a role's cert-manager Certificate and of the secret that cert-manager writes. If another object has
    /// the name of either, records the holder as well. Records an incomplete or taken secret as missing. The state of the
    /// Certificate is `None` if cert-manager is not installed.
    async fn requested(
        &mut self,
        client: &Client,
        cluster: &Cluster<'_>,
        (role, wanted): (CertificateRole, &Certificate),
        secret: Option<&Secret>,
    ) -> Result<(), ApiFailure> {
        let name = cluster.resource.secret_name(role);
        let api = untyped::<Certificate>(client, &cluster.namespace);
        let (request, mut live) = match api.get(&name).await {
            Ok(live) => {
                let live: Certificate = typed(&live).map_err(cannot(CERTIFICATES))?;
                (Some(state(Some(&live), wanted)), Some(live))
            }
            // A 404 for a missing object names the object; a 404 for an unknown kind does not.
            Err(kube::Error::Api(refusal)) if refusal.code == 404 => {
                let details = refusal.details.as_ref();
                let is_known = details.is_some_and(|details| details.name == name);
                (is_known.then_some(ObjectState::Missing), None)
            }
            Err(error) => return Err(cannot(CERTIFICATES)(error)),
        };
        let is_other = |of: Ownership| of != Ownership::Ours;
        if let Some(other) = live.take_if(|live| is_other(ownership(cluster, live))) {
            self.taken
                .insert(Part::Request(role), holder(cluster, &other));
        } else if live.is_none()
            && let Some(secret) = secret
            && is_other(ownership(cluster, secret))
            && !cert_manager::has_written(secret)
        {
            // cert-manager would overwrite the secret.
            self.taken
                .insert(Part::Secret(role), holder(cluster, secret));
        }
        let mut parts = [Part::Request(role), Part::Secret(role)].into_iter();
        let is_taken = parts.any(|part| self.taken.contains_key(&part));
        let complete = secret.filter(|found| !is_taken && cert_manager::is_complete(found));
        let issued = complete.is_some();
        let uid = live.as_ref().and_then(|live| live.uid());
        let owned = complete.is_some_and(|secret| is_owned(secret, uid.as_deref()));
        match complete {
            Some(secret) => {
                let certificate = tls::observe_certificate(cluster, role, secret, None);
                let certificate = CertificateSeen { fits: true, ..certificate };
                self.certificates.insert(role, certificate);
            }
            None => drop(self.missing.insert(name)),
        }
        let seen = ObservedRequest { request, issued, owned };
        self.requested.insert(role, seen);
        self.requests.extend(live.map(|live| (role, live)));
        Ok(())
    }
}

/// Reads the secrets that the operator issues, that the spec names, or that cert-manager writes.
async fn read(client: &Client, cluster: &Cluster<'_>) -> Result<SecretsSeen, ApiFailure> {
    let space = &cluster.namespace;
    let secret =
        async |name: &str| get::<Secret>(client, space, name, "read secrets of the cluster").await;
    let mut seen = SecretsSeen::default();
    for role in ROLES.into_iter().filter(|role| is_issued(cluster, *role)) {
        let Some(found) = secret(&cluster.resource.secret_name(role)).await? else {
            continue;
        };
        if ownership(cluster, &found) == Ownership::Ours
            || is_requested(client, cluster, role, &found).await?
        {
            seen.issued.insert(role, found);
        } else {
            seen.taken
                .insert(Part::Secret(role), holder(cluster, &found));
        }
    }
    let authority = seen.issued.get(&CertificateRole::Authority);
    for (role, secret) in &seen.issued {
        let certificate = tls::observe_certificate(cluster, *role, secret, authority);
        seen.certificates.insert(*role, certificate);
    }
    seen.trust = authority.and_then(tls::trust);
    let mut named = BTreeMap::new();
    for name in named_by_the_user(cluster) {
        match secret(&name).await? {
            Some(found) => drop(named.insert(name, found)),
            None => drop(seen.missing.insert(name)),
        }
    }
    for role in ROLES {
        let Some(wanted) = cert_manager::certificate(cluster, role) else {
            continue;
        };
        let name = cluster.resource.secret_name(role);
        let found = secret(&name).await?;
        let request = (role, &wanted);
        seen.requested(client, cluster, request, found.as_ref())
            .await?;
        named.extend(found.map(|found| (name, found)));
    }
    let operator = cluster.resource.secret_of(CertificateRole::Operator);
    // Members that were started with TLS use TLS until they restart, even if the spec has changed.
    let issued = seen.issued.get(&CertificateRole::Operator);
    let operator = match named.get(&operator).or(issued) {
        Some(known) => Some(known.clone()),
        None => secret(&operator).await?,
    };
    seen.client_tls = operator
        .and_then(|secret| ClientTls::read(|name| secret_file(&secret, name)))
        .map(Arc::new);
    let root = cluster.spec().root_secret();
    let root = root.and_then(|root| secret_file(named.get(&root.name)?, "password"));
    seen.login = root.and_then(Login::root);
    Ok(seen)
}

/// Returns whether cert-manager wrote a secret for a Certificate of this cluster, which used cert-manager before.
async fn is_requested(
    client: &Client,
    cluster: &Cluster<'_>,
    role: CertificateRole,
    secret: &Secret,
) -> Result<bool, ApiFailure> {
    if !cert_manager::has_written(secret) {
        return Ok(false);
    }
    let name = cluster.resource.secret_name(role);
    let live = get::<Certificate>(client, &cluster.namespace, &name, CERTIFICATES).await?;
    Ok(live.is_some_and(|live| {
        ownership(cluster, &live) == Ownership::Ours && is_owned(secret, live.uid().as_deref())
    }))
}

/// Returns whether the operator issues the certificate of a role. The CA is issued if a peer or server certificate is issued.
pub(crate) fn is_issued(cluster: &Cluster<'_>, role: CertificateRole) -> bool {
    let managed = |role| {
        let source = cluster.spec().certificate_source(role);
        source.is_some_and(|source| source.managed.is_some())
    };
    match role == CertificateRole::Authority {
        true => managed(CertificateRole::Peer) || managed(CertificateRole::Server),
        false => managed(role),
    }
}

/// Returns the names of the secrets that the spec refers to. Includes the secrets of the store in `spec.bootstrap.restore`
/// until the cluster has served, or until an in-place restore has replaced that backup.
fn named_by_the_user(cluster: &Cluster<'_>) -> BTreeSet<String> {
    let status = cluster.resource.status.as_ref();
    let is_replaced = status.is_some_and(|status| status.restore.is_some());
    let mut named = named_for_members(cluster);
    if cluster.id().is_none() && !is_replaced {
        named.extend(named_for_bootstrap(cluster));
    }
    named
}

/// Returns the names of the secrets that the spec refers to. Omits the secrets of the store in `spec.bootstrap.restore`.
fn named_for_members(cluster: &Cluster<'_>) -> BTreeSet<String> {
    let (spec, client) = (cluster.spec(), cluster.spec().client_tls());
    let named = [
        spec.peer_tls().and_then(|tls| tls.secret_ref.as_ref()),
        client.and_then(|tls| tls.source.secret_ref.as_ref()),
        client.and_then(|tls| tls.operator_secret_ref.as_ref()),
        spec.root_secret(),
    ];
    let named = named.into_iter().flatten();
    named.map(|secret| secret.name.clone()).collect()
}

/// Returns the names of the secrets of the store in `spec.bootstrap.restore`.
fn named_for_bootstrap(cluster: &Cluster<'_>) -> BTreeSet<String> {
    let bootstrap = cluster.spec().bootstrap.as_ref();
    let store = bootstrap.and_then(|from| from.restore.as_ref()?.store.as_ref()?.s3.as_ref());
    let named = [
        store.and_then(|s3| s3.credentials_secret_ref.as_ref()),
        store.and_then(|s3| s3.ca_secret_ref.as_ref()),
    ];
    let named = named.into_iter().flatten();
    named.map(|secret| secret.name.clone()).collect()
}

/// Returns whether only the store in `spec.bootstrap.restore` needs a secret. An in-place restore does not read that store.
pub(crate) fn is_only_for_bootstrap(cluster: &Cluster<'_>, name: &str) -> bool {
    named_for_bootstrap(cluster).contains(name) && !named_for_members(cluster).contains(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::named;

    #[test]
    fn the_secrets_of_a_bootstrap_are_required_until_the_cluster_has_served() {
        let s3 = json!({"bucket": "b", "credentialsSecretRef": {"name": "s3"}, "caSecretRef": {"name": "ca"}});
        let restore = json!({"store": {"s3": s3}, "name": "monday"});
        let spec = json!({"bootstrap": {"restore": restore}});
        let replaced = json!({
            "operation": "again", "operationUID": "u", "number": 1, "phase": "Stopping", "startedAt": "2026-01-02T03:04:05Z",
        });
        for (status, count) in [
            (json!({}), 2),
            (json!({"clusterID": "c1"}), 0),
            (json!({"restore": replaced}), 0),
        ] {
            let cluster = named(&json!({"spec": spec, "status": status}));
            assert_eq!(named_by_the_user(&cluster).len(), count, "{status}");
        }
    }
}
