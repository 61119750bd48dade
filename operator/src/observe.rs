//! Observes a cluster: converts Kubernetes objects and members' answers to plain values for `plan`.
//!
//! A pass reads objects from the stores of the watches. Before it acts, it rereads them from the API server, so that no step is
//! based on outdated state. Nothing is written here.

mod membership;
pub(crate) mod pods;
mod restore;
mod secrets;
mod taken;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{future::try_join_all, try_join};
use k8s_openapi::{
    api::{
        core::v1::{PersistentVolumeClaim, Pod, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::util::intstr::IntOrString,
    jiff::Timestamp,
};
use kube::{Client, Resource, ResourceExt as _, runtime::reflector::Store};
use witan_crd::{
    ALLOW_LEADER_RESTART, CLUSTER, CertificateRole, EtcdCluster, FENCED_MEMBERS, Object,
};
use witan_members::{Address, Members};
use witan_plan::{
    model::{
        BudgetSeen, Holder, MemberId, ObjectState, Observed, Ordinal, OrdinalSeen, Part,
        UnixSeconds,
    },
    version_numbers,
};

use crate::{
    api_server::{ApiFailure, get, list},
    resources::{self, Cluster, Ownership, holder, tls},
};

pub(crate) use pods::{HELD, REFUSED_BYTES, REMADE_AT, client_address};
pub(crate) use restore::{FoundBackup, find_backup, restore_source};
pub(crate) use secrets::{Secrets, SecretsSeen, is_issued};

#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    pub(crate) pods: BTreeMap<Ordinal, Arc<Pod>>,
    pub(crate) claims: BTreeMap<Ordinal, Arc<PersistentVolumeClaim>>,
    pub(crate) services: BTreeMap<String, Arc<Service>>,
    pub(crate) budget: Option<Arc<PodDisruptionBudget>>,
    /// Names that are taken by other objects.
    pub(crate) taken: BTreeMap<Part, Holder>,
}

/// The stores of the watches of one namespace, or of all.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) clusters: Store<EtcdCluster>,
    pub(crate) pods: Store<Pod>,
    pub(crate) claims: Store<PersistentVolumeClaim>,
    pub(crate) services: Store<Service>,
    pub(crate) budgets: Store<PodDisruptionBudget>,
}

/// The observed state: the plain values for `plan`, and the objects that steps need.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) seen: Observed,
    /// The objects from which it was made.
    pub(crate) objects: Objects,
    /// Addresses of members, by ordinal.
    pub(crate) addresses: BTreeMap<Ordinal, Address>,
    pub(crate) secrets: Arc<SecretsSeen>,
}

impl Observation {
    /// Returns the address of a member; `None` if it is not a pod of this cluster, or if its pod has no address.
    pub(crate) fn address(&self, id: MemberId) -> Option<&Address> {
        let member = self.seen.membership.as_ref()?.by_id(id)?;
        self.addresses.get(&member.ordinal?)
    }
}

impl Objects {
    /// Collects the objects of a cluster from the stores of the watches.
    pub(crate) fn from_watches(stores: &Stores, cluster: &Cluster<'_>) -> Self {
        Self::new(
            cluster,
            stores.pods.state_filter(|each| is_part(each, cluster)),
            stores.claims.state_filter(|each| is_part(each, cluster)),
            stores.services.state_filter(|each| is_part(each, cluster)),
            stores.budgets.state_filter(|each| is_part(each, cluster)),
        )
    }

    /// Reads the objects of a cluster from the API server, and looks up names that are taken by other objects.
    pub(crate) async fn from_api_server(
        client: &Client,
        cluster: &Cluster<'_>,
    ) -> Result<Self, ApiFailure> {
        let (pods, claims, services, budgets) = try_join!(
            labelled::<Pod>(client, cluster, "read pods of the cluster"),
            labelled::<PersistentVolumeClaim>(
                client,
                cluster,
                "read persistent volume claims of the cluster"
            ),
            labelled::<Service>(client, cluster, "read services of the cluster"),
            labelled::<PodDisruptionBudget>(
                client,
                cluster,
                "read pod disruption budgets of the cluster"
            ),
        )?;
        let listed: BTreeSet<String> = claims.iter().map(|claim| claim.name_any()).collect();
        let mounted = pods.iter().filter_map(|pod| mounted_claim(cluster, pod));
        let unlisted = mounted.filter(|name| !listed.contains(name));
        let unlisted = try_join_all(unlisted.map(async |name| {
            let what = "read the claim that a pod of the cluster mounts";
            get::<PersistentVolumeClaim>(client, &cluster.namespace, &name, what).await
        }));
        let unlisted = unlisted.await?.into_iter().flatten().map(Arc::new);
        let claims = claims.into_iter().chain(unlisted).collect();
        let mut all = Self::new(cluster, pods, claims, services, budgets);
        let taken = taken::find_taken_names(client, cluster, &all).await?;
        all.taken.extend(taken);
        Ok(all)
    }

    /// Sorts objects by ordinal or name. Leaves out pods and claims without an ordinal in the name. An object that does not
    /// belong to the cluster counts as the holder of its name.
    fn new(
        cluster: &Cluster<'_>,
        pods: Vec<Arc<Pod>>,
        claims: Vec<Arc<PersistentVolumeClaim>>,
        services: Vec<Arc<Service>>,
        budgets: Vec<Arc<PodDisruptionBudget>>,
    ) -> Self {
        let mut all = Self::default();
        let mounted = pods.iter().filter_map(|pod| mounted_claim(cluster, pod));
        let mounted: BTreeSet<String> = mounted.collect();
        for pod in pods {
            let Some(ordinal) = cluster.resource.ordinal(&pod.name_any()) else {
                continue;
            };
            // a pod is never adopted
            if resources::is_owned(&*pod, Some(&cluster.uid)) {
                all.pods.insert(ordinal, pod);
            } else {
                all.taken.insert(Part::Pod(ordinal), holder(cluster, &*pod));
            }
        }
        for claim in claims {
            let Some(ordinal) = cluster.ordinal_of_claim(&claim.name_any()) else {
                continue;
            };
            // a claim that is deleted with an earlier cluster is reported as a claim that is being deleted
            let is_foreign = resources::ownership(cluster, &*claim) == Ownership::Foreign;
            if is_foreign && !mounted.contains(&claim.name_any()) {
                all.taken
                    .insert(Part::Claim(ordinal), holder(cluster, &*claim));
            } else {
                all.claims.insert(ordinal, claim);
            }
        }
        for service in services {
            let name = service.name_any();
            if resources::ownership(cluster, &*service) == Ownership::Ours {
                all.services.insert(name, service);
                continue;
            }
            let holder = holder(cluster, &*service);
            if name == cluster.resource.client_service() {
                all.taken.insert(Part::ClientService, holder);
            } else if name == cluster.resource.peer_service() {
                all.taken.insert(Part::PeerService, holder);
            }
        }
        for budget in budgets
            .into_iter()
            .filter(|one| one.name_any() == cluster.name)
        {
            if resources::ownership(cluster, &*budget) == Ownership::Ours {
                all.budget = Some(budget);
            } else {
                all.taken.insert(Part::Budget, holder(cluster, &*budget));
            }
        }
        all
    }
}

impl Objects {
    pub(crate) fn pod(&self, ordinal: Ordinal) -> Option<&Pod> {
        self.pods.get(&ordinal).map(AsRef::as_ref)
    }

    pub(crate) fn claim(&self, ordinal: Ordinal) -> Option<&PersistentVolumeClaim> {
        self.claims.get(&ordinal).map(AsRef::as_ref)
    }

    /// Returns whether a pod mounts a claim that was not found because it has lost its labels.
    pub(crate) fn lacks_mounted_claim(&self, cluster: &Cluster<'_>) -> bool {
        let mut pods = self.pods.iter();
        pods.any(|(ordinal, pod)| {
            mounted_claim(cluster, pod).is_some() && !self.claims.contains_key(ordinal)
        })
    }

    fn ordinals(&self) -> BTreeSet<Ordinal> {
        self.pods
            .keys()
            .chain(self.claims.keys())
            .copied()
            .collect()
    }
}

/// Observes a cluster: queries its members and combines their answers with the objects.
pub(crate) async fn observe<M: Members>(
    cluster: &Cluster<'_>,
    objects: Objects,
    secrets: Arc<SecretsSeen>,
    members: &M,
) -> Observation {
    let addresses = pods::addresses(cluster, &objects.pods, &secrets);
    let asked: Vec<Address> = addresses.values().cloned().collect();
    let answers = members.survey(&asked).await;
    for answer in &answers {
        if let Err(error) = &answer.report {
            tracing::debug!(member = answer.member, %error, "member does not answer");
        }
    }
    let service = |wanted: &Service| {
        state(
            objects.services.get(&wanted.name_any()).map(AsRef::as_ref),
            wanted,
        )
    };
    let resource = cluster.resource;
    let request = cluster.active_request.as_ref();
    let now = Timestamp::now().as_second();
    let seen = Observed {
        now,
        acting_since: now,
        deleting: resource.metadata.deletion_timestamp.is_some(),
        generation: resource.metadata.generation.unwrap_or(0),
        ordinals: ordinals(cluster, &objects, now),
        membership: membership::judge(cluster, &answers, &objects.ordinals()),
        call_error: answers
            .iter()
            .find_map(|answer| Some(answer.report.as_ref().err()?.to_string())),
        client_service: service(&resources::client_service(cluster)),
        peer_service: service(&resources::peer_service(cluster)),
        budget: objects
            .budget
            .as_ref()
            .map(|budget| budget_seen(cluster, budget)),
        certificates: secrets.certificates.clone(),
        authority: secrets
            .issued
            .get(&CertificateRole::Authority)
            .map(|authority| tls::authority_seen(cluster, authority))
            .unwrap_or_default(),
        requests: secrets.requested.clone(),
        missing_secrets: secrets.missing.clone(),
        taken: objects
            .taken
            .iter()
            .chain(&secrets.taken)
            .map(|(part, holder)| (*part, holder.clone()))
            .collect(),
        wanted_version: wanted_version(cluster),
        fenced: fenced(cluster),
        replace: request
            .and_then(|asked| u64::from_str_radix(asked.replace_member.as_ref()?, 16).ok()),
        recover: request.and_then(|asked| resource.ordinal(asked.recover_quorum.as_ref()?)),
        allow_leader_restart: annotation(resource, ALLOW_LEADER_RESTART)
            .and_then(|text| text.trim().parse().ok()),
        auth_enabled: membership::users(&answers),
        rejected: resources::rejected(cluster).map(|error| error.to_string()),
        ..Observed::default()
    };
    Observation { seen, objects, addresses, secrets }
}

/// Returns the name of the claim that a pod of the cluster mounts as its member's disk.
fn mounted_claim(cluster: &Cluster<'_>, pod: &Pod) -> Option<String> {
    let ordinal = cluster.resource.ordinal(&pod.name_any())?;
    let wanted = cluster.claim(ordinal);
    let volumes = pod.spec.as_ref()?.volumes.iter().flatten();
    let mut claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    let mounts = claims.any(|claim| claim.claim_name == wanted);
    (mounts && resources::is_owned(pod, Some(&cluster.uid))).then_some(wanted)
}

fn ordinals(
    cluster: &Cluster<'_>,
    objects: &Objects,
    now: UnixSeconds,
) -> BTreeMap<Ordinal, OrdinalSeen> {
    let all = objects.ordinals();
    let seen = |ordinal: Ordinal| {
        let pod = objects.pods.get(&ordinal);
        let claim = objects.claims.get(&ordinal);
        let pod = pod.map(|pod| pods::seen(cluster, pod, now));
        let claim = claim.map(|claim| pods::claim_seen(cluster, ordinal, claim, now));
        (ordinal, OrdinalSeen { pod, claim })
    };
    all.into_iter().map(seen).collect()
}

/// Returns the minimum of a budget (`None` if it is not a number), and the state of its other fields.
fn budget_seen(cluster: &Cluster<'_>, budget: &PodDisruptionBudget) -> BudgetSeen {
    let number = budget
        .spec
        .as_ref()
        .and_then(|spec| match spec.min_available.as_ref()? {
            IntOrString::Int(number) => u32::try_from(*number).ok(),
            IntOrString::String(_) => None,
        });
    let wanted = resources::budget(cluster, number.unwrap_or(0));
    BudgetSeen { min_available: number, state: state(Some(budget), &wanted) }
}

/// Returns the image tag of the members, if the operator composes the image and the tag is a version.
fn wanted_version(cluster: &Cluster<'_>) -> Option<String> {
    let (_, tag) = cluster.image.rsplit_once(':')?;
    let composed = cluster.spec().image.is_none() && version_numbers(tag).is_some();
    composed.then(|| tag.to_owned())
}

/// Returns the ordinals in the annotation [`FENCED_MEMBERS`]. Other names in it are ignored.
fn fenced(cluster: &Cluster<'_>) -> BTreeSet<Ordinal> {
    let named = annotation(cluster.resource, FENCED_MEMBERS).unwrap_or_default();
    named
        .split(',')
        .filter_map(|name| cluster.resource.ordinal(name.trim()))
        .collect()
}

fn annotation<'a>(cluster: &'a EtcdCluster, key: &str) -> Option<&'a str> {
    cluster.annotations().get(key).map(String::as_str)
}

/// Compares a live object with the wanted one, using [`resources::is_current`].
pub(crate) fn state<K: Resource>(live: Option<&K>, wanted: &K) -> ObjectState {
    match live {
        None => ObjectState::Missing,
        Some(live) if resources::is_current(wanted, live) => ObjectState::Current,
        Some(_) => ObjectState::Outdated,
    }
}

/// Returns whether an object is in the cluster's namespace and has its label.
fn is_part<K: Resource>(object: &K, cluster: &Cluster<'_>) -> bool {
    object.meta().namespace.as_ref() == Some(&cluster.namespace)
        && object.labels().get(CLUSTER) == Some(&cluster.name)
}

/// Lists the objects of a kind with the cluster's label from the API server. `what` names the request in errors.
async fn labelled<K: Object>(
    client: &Client,
    cluster: &Cluster<'_>,
    what: &'static str,
) -> Result<Vec<Arc<K>>, ApiFailure> {
    let found = list(client, &cluster.namespace, (CLUSTER, &cluster.name), what).await?;
    Ok(found.into_iter().map(Arc::new).collect())
}
