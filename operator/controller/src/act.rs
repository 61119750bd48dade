//! Executes one step: applies an object, or requests one change from the members. `plan` chooses the step.
//!
//! Missing objects are created; creation fails if another owner's object has the name. Existing objects are changed with
//! server-side apply by one field manager. Changes and deletions include the uid, so they never affect a later object with the
//! same name. Every step can be repeated if its response was lost.
//!
//! Reading order: this file → `objects` (one object) → `start` (the pod of a member) → `certify` (certificates).

mod certify;
mod objects;
mod start;

use kube::{Client, ResourceExt as _, core::Status};
use serde_json::json;
use witan_crd::{
    CompactionStatus, EtcdClusterStatus, RecoveryPhase, RecoveryStatus, RestorePhase, RestorePoint,
};
use witan_members::{Address, CallError, Change, Login, Members};
use witan_plan::model::{
    Holder, MemberId, MemberSeen, Ordinal, Part, PeerTls, Removal, Role, Step, Stop,
};

use crate::{
    api_server::ApiFailure,
    discovery,
    observe::{HELD, Observation, REFUSED_BYTES, REMADE_AT},
    report,
    resources::{self, Cluster, INITIAL_STATE, RETIRED, ROLE, ResourceError},
};

/// The reason why a step failed. The step may still have taken effect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    #[error(transparent)]
    Api(#[from] ApiFailure),
    #[error(transparent)]
    Member(#[from] CallError),
    #[error(transparent)]
    Resource(#[from] ResourceError),
    #[error("{0}")]
    Refused(String),
    #[error("cannot {action}: the name belongs to {}", holder.object)]
    NameTaken {
        action: &'static str,
        holder: Holder,
    },
    #[error("{0} no longer exists; the next pass observes the cluster again")]
    Gone(String),
}

type ActResult = Result<(), ActError>;

impl ActError {
    /// Returns whether members refused the step only temporarily: a learner has not caught up, or members have only just
    /// connected.
    pub(crate) fn is_premature(&self) -> bool {
        let said = |text| matches!(self, ActError::Member(refusal) if refusal.says(text));
        said("unhealthy cluster") || said("in sync with leader")
    }

    /// Returns why the step was refused, even if only temporarily. Returns `None` if the step may have taken effect, a name is
    /// taken or an object is missing.
    pub(crate) fn refusal(&self) -> Option<String> {
        match self {
            ActError::Api(failure) => {
                let refusal = failure.refusal()?;
                // A failing webhook also refuses the object.
                let webhook = refusal.message.contains("failed calling webhook");
                let refused = matches!(refusal.code, 400 | 403 | 404 | 422) || webhook;
                refused.then(|| format!("cannot {}: {}", failure.action, refusal.message))
            }
            ActError::Member(refusal) => {
                let refused = refusal.is_refusal() || self.is_premature();
                refused.then(|| refusal.to_string())
            }
            ActError::Resource(_) | ActError::Refused(_) => Some(self.to_string()),
            ActError::NameTaken { .. } | ActError::Gone(_) => None,
        }
    }

    /// Returns whether the step failed because the namespace is being deleted, so that nothing can be created in it.
    pub(crate) fn namespace_is_ending(&self) -> bool {
        self.api_refusal().is_some_and(|refusal| {
            refusal.code == 403 && refusal.message.contains("being terminated")
        })
    }

    /// Returns the refusal of the API server; `None` for any other error, such as a lost connection.
    fn api_refusal(&self) -> Option<&Status> {
        if let ActError::Api(failure) = self {
            return failure.refusal();
        }
        None
    }
}

pub(crate) struct Actor<'a, M> {
    pub(crate) client: &'a Client,
    pub(crate) members: &'a M,
    pub(crate) cluster: &'a Cluster<'a>,
    pub(crate) observation: &'a Observation,
}

impl<M: Members> Actor<'_, M> {
    /// Executes a step. If [`Step::records`] is true, also changes `status`, which the caller must store.
    pub(crate) async fn act(&self, step: &Step, status: &mut EtcdClusterStatus) -> ActResult {
        match step.clone() {
            Step::Done | Step::Wait { .. } => {}
            Step::ApplyServices => self.apply_services().await?,
            Step::ApplyBudget(min_available) => self.apply_budget(min_available).await?,
            Step::IssueCertificate(role) => self.issue(role).await?,
            Step::RequestCertificate(role) => self.request(role).await?,
            Step::OwnCertificate(role) => self.own(role).await?,
            Step::RotateAuthority(to) => self.rotate(to).await?,
            Step::BeginRecovery(ordinal) => self.begin_recovery(ordinal, status),
            Step::BeginBootstrap { members, discovery_url } => {
                let from = self.cluster.restore.as_ref();
                status.restored_from = from.map(RestorePoint::url);
                status.restored_revision = from.and_then(|from| from.to_revision);
                begin(status, members, discovery_url);
            }
            Step::CreateDiscoveryToken(members) => {
                let token = discovery::create_token(self.client, self.cluster, members);
                begin(status, members, Some(token.await?));
            }
            Step::StartMember(plan) => self.start(&plan).await?,
            Step::AddLearner { ordinal, peer_tls, .. } => {
                let url = self.cluster.peer_url(ordinal, peer_tls);
                self.change(None, Change::AddLearner(vec![url])).await?;
            }
            Step::Promote(id) => self.change(None, Change::Promote(id)).await?,
            Step::LabelPod { ordinal, role } => self.label(ordinal, role).await?,
            Step::MoveLeader { from, to } => {
                let leader = self.observation.address(from).cloned();
                let gone = || ActError::Gone(format!("the leader {from:x}"));
                let (through, change) = ([leader.ok_or_else(gone)?], Change::MoveLeader(to));
                self.members.change(&through, &change).await?;
            }
            Step::RemoveMember { id, reason } => {
                if matches!(reason, Removal::Ephemeral | Removal::Migrated) {
                    self.check_replacement(id).await?;
                }
                self.remove(id).await?;
            }
            Step::UpdatePeerUrl { id, ordinal, peer_tls } => {
                let url = self.cluster.peer_url(ordinal, peer_tls);
                self.change(None, Change::PeerUrls(id, vec![url])).await?;
            }
            Step::DeletePod { ordinal, reason } => self.stop(ordinal, reason).await?,
            Step::DeleteClaim(ordinal) => {
                let claim = self.observation.objects.claim(ordinal);
                self.delete(claim, "delete the claim of a member").await?;
            }
            Step::RetireClaim { ordinal, held } => self.retire(ordinal, held).await?,
            Step::ReviveClaim(ordinal) => self.revive(ordinal).await?,
            Step::BeginRestored { first, members } => begin_restored(status, first, members),
            Step::ReturnToDisks => return_to_disks(status),
            Step::OwnClaim(ordinal) => self.own_claim(ordinal).await?,
            Step::ApplyClaim { ordinal, peer_tls } => {
                self.apply_claim(ordinal, peer_tls, None).await?;
            }
            Step::GrowClaim { ordinal, bytes } => self.grow(ordinal, bytes).await?,
            Step::DisarmCorrupt(id) => self.change(Some(id), Change::DisarmCorrupt(id)).await?,
            Step::Compact(revision) => self.compact(revision, status).await?,
            Step::DisarmNoSpace => self.disarm_no_space(status).await?,
            Step::EnableAuth => self.change(None, Change::EnableAuth(self.root()?)).await?,
            Step::DisableAuth => self.change(None, Change::DisableAuth).await?,
        }
        Ok(())
    }

    /// Removes a member, and then disarms its CORRUPT alarm. If the member also has the NOSPACE alarm, a later pass would take
    /// both alarms for the fence of a cut-over.
    async fn remove(&self, id: MemberId) -> ActResult {
        self.change(Some(id), Change::Remove(id)).await?;
        let is_corrupt = |member: &MemberSeen| member.id == id && member.corrupt;
        if self.observation.seen.members().any(is_corrupt) {
            self.change(Some(id), Change::DisarmCorrupt(id)).await?;
        }
        Ok(())
    }

    /// Records in the status that a new cluster is forced from a member.
    fn begin_recovery(&self, ordinal: Ordinal, status: &mut EtcdClusterStatus) {
        status.recovery = Some(RecoveryStatus {
            member: self.cluster.resource.member(ordinal),
            phase: RecoveryPhase::Running,
            started_at: report::time(self.observation.seen.now),
        });
    }

    /// Compacts the key space up to `revision` and records the compaction in the status.
    async fn compact(&self, revision: i64, status: &mut EtcdClusterStatus) -> ActResult {
        self.change(None, Change::Compact(revision)).await?;
        status.compaction = Some(CompactionStatus {
            compacted_at: report::time(self.observation.seen.now),
            revision,
            disarmed: false,
        });
        Ok(())
    }

    /// Disarms the NOSPACE alarms of all members. If the status records a compaction, also records there that the alarm was
    /// disarmed.
    async fn disarm_no_space(&self, status: &mut EtcdClusterStatus) -> ActResult {
        let members = self.observation.seen.members();
        for member in members.filter(|member| member.no_space) {
            self.change(None, Change::DisarmNoSpace(member.id)).await?;
        }
        if let Some(compaction) = &mut status.compaction {
            compaction.disarmed = true;
        }
        Ok(())
    }

    /// Deletes the pod of a member. Fails if the pod is stopped for a new template or peer TLS mode, and the API server would
    /// refuse the next pod. For a silent member, records the recreation on the claim afterward. A record before a failed
    /// deletion would delay the next attempt by an hour.
    async fn stop(&self, ordinal: Ordinal, reason: Stop) -> ActResult {
        self.check_next_template(ordinal, reason).await?;
        let pod = self.observation.objects.pod(ordinal);
        self.delete(pod, "delete the pod of a member").await?;
        if reason == Stop::Silent {
            let now = self.observation.seen.now.to_string();
            let action = "annotate the claim of a member whose pod is recreated";
            return self
                .annotate(ordinal, (REMADE_AT, Some(&now)), action)
                .await;
        }
        Ok(())
    }

    /// Returns the login of the user root. Fails if the secret has no usable password.
    fn root(&self) -> Result<Login, ActError> {
        let root = self.observation.secrets.login.clone();
        let secret = self.cluster.spec().root_secret();
        let name = secret.map_or("", |secret| &secret.name);
        let why = format!("secret {name} has no key `password`, or its value is not UTF-8");
        root.ok_or(ActError::Refused(why))
    }

    /// Marks a claim as retired. With `held`, the claim is deleted once another member votes. Fails if the claim does not
    /// exist.
    async fn retire(&self, ordinal: Ordinal, held: bool) -> ActResult {
        let value = if held { HELD } else { "true" };
        let action = "annotate the claim of a removed member";
        self.annotate(ordinal, (RETIRED, Some(value)), action).await
    }

    /// Removes the mark of a retired claim, so that the restored cluster uses the claim again. Fails if the claim does not
    /// exist.
    async fn revive(&self, ordinal: Ordinal) -> ActResult {
        let action = "remove the annotation of a retired claim";
        self.annotate(ordinal, (RETIRED, None), action).await
    }

    /// Adds or removes the cluster as an owner of a claim, as the retention policy requires. Fails if the claim does not exist.
    async fn own_claim(&self, ordinal: Ordinal) -> ActResult {
        let live = self.observation.objects.claim(ordinal);
        let owners = live.map(|claim| resources::owners_of_claim(self.cluster, claim));
        let marks = json!({"ownerReferences": owners});
        let action = "apply the retention policy to a claim";
        self.mark(live, marks, action).await
    }

    /// Sets an annotation of a member's claim, or removes it if `value` is `None`. Fails if the claim does not exist.
    async fn annotate(
        &self,
        ordinal: Ordinal,
        (key, value): (&str, Option<&str>),
        action: &'static str,
    ) -> ActResult {
        let live = self.observation.objects.claim(ordinal);
        let marks = json!({"annotations": {key: value}});
        self.mark(live, marks, action).await
    }

    /// Fails if a pod is stopped for a new template or peer TLS mode, and the API server would refuse the pod that follows.
    /// Checks nothing for any other `reason`.
    async fn check_next_template(&self, ordinal: Ordinal, reason: Stop) -> ActResult {
        let seen = &self.observation.seen;
        let pod = seen.pod(ordinal).map(|pod| pod.peer_tls);
        let claim = seen.claim(ordinal).map(|claim| claim.peer_tls);
        let next = pod.filter(|_| reason == Stop::Outdated);
        match next.or(claim.filter(|_| reason == Stop::PeerTls)) {
            Some(peer_tls) => self.dry_run_pod(ordinal, peer_tls).await,
            None => Ok(()),
        }
    }

    /// Fails if the member is a pod of this cluster and the API server would refuse the pod's new template.
    async fn check_replacement(&self, id: MemberId) -> ActResult {
        let seen = &self.observation.seen;
        let member = seen.membership.as_ref().and_then(|list| list.by_id(id));
        match member.and_then(|member| member.ordinal) {
            Some(ordinal) => self.check_next_template(ordinal, Stop::Outdated).await,
            None => Ok(()),
        }
    }

    /// Applies the client service and the peer service. Skips a service whose name another owner's object has taken.
    async fn apply_services(&self) -> ActResult {
        let services = [
            (Part::PeerService, resources::peer_service(self.cluster)),
            (Part::ClientService, resources::client_service(self.cluster)),
        ];
        let objects = &self.observation.objects;
        for (part, service) in services {
            if self.observation.seen.taken.contains_key(&part) {
                continue;
            }
            let live = objects.services.get(&service.name_any()).map(AsRef::as_ref);
            self.apply(&service, live, "apply a service").await?;
        }
        Ok(())
    }

    /// Applies the pod disruption budget. Deletes it if `min_available` is `None`.
    async fn apply_budget(&self, min_available: Option<u32>) -> ActResult {
        let budget = self.observation.objects.budget.as_deref();
        let Some(voters) = min_available else {
            let action = "delete the pod disruption budget";
            return self.delete(budget, action).await;
        };
        let wanted = resources::budget(self.cluster, voters);
        let action = "apply the pod disruption budget";
        self.apply(&wanted, budget, action).await
    }

    /// Sets the role label of a member's pod. For an initial member, also sets the annotation [`INITIAL_STATE`] to `existing`.
    /// Fails if the pod does not exist. Uses a merge patch, because applying only this metadata would remove all other fields.
    async fn label(&self, ordinal: Ordinal, role: Role) -> ActResult {
        let mut marks = json!({"labels": {ROLE: role}});
        let pod = self.observation.seen.pod(ordinal);
        if pod.is_some_and(|pod| pod.is_initial) {
            marks["annotations"] = json!({INITIAL_STATE: "existing"});
        }
        let live = self.observation.objects.pod(ordinal);
        self.mark(live, marks, "label the pod of a member").await
    }

    /// Requests a larger claim. Fails if Kubernetes refuses. A refusal (403 or 422) is first recorded on the claim with the
    /// size, the time and the message, so that the plan waits before it retries. A full quota is not recorded, because the
    /// quota can change at any time.
    async fn grow(&self, ordinal: Ordinal, bytes: u64) -> ActResult {
        let claim = self.observation.seen.claim(ordinal);
        let peer_tls = claim.map(|claim| claim.peer_tls).unwrap_or_default();
        let grown = self.apply_claim(ordinal, peer_tls, Some(bytes)).await;
        if let Err(error) = &grown
            && let Some(refusal) = error.api_refusal()
            && matches!(refusal.code, 403 | 422)
            && !refusal.message.contains("exceeded quota")
        {
            let now = self.observation.seen.now;
            let words = format!("{bytes}@{now}: {}", refusal.message);
            let mark = (REFUSED_BYTES, Some(words.as_str()));
            let action = "mark a claim that cannot grow";
            self.annotate(ordinal, mark, action).await?;
        }
        grown
    }

    /// Applies the claim of a member. `bytes` is the new size; if it is `None`, an existing claim keeps its size.
    async fn apply_claim(
        &self,
        ordinal: Ordinal,
        peer_tls: PeerTls,
        bytes: Option<u64>,
    ) -> ActResult {
        let live = self.observation.objects.claim(ordinal);
        let mut claim = resources::claim(self.cluster, ordinal, peer_tls)?;
        if let Some(live) = live {
            claim = resources::applied_to(live, claim);
        }
        if let Some(bytes) = bytes {
            claim = resources::grown(claim, bytes);
        }
        self.apply(&claim, live, "apply the claim of a member")
            .await
    }

    /// Sends a change to a member, which [`Self::through`] chooses. Prefers members other than `but`.
    async fn change(&self, but: Option<MemberId>, change: Change) -> ActResult {
        Ok(self.members.change(&self.through(but), &change).await?)
    }

    /// Returns the addresses of the healthy voters other than `but`, the leader first. If there is no such voter, returns all
    /// known addresses. Returns no address if no member has answered.
    fn through(&self, but: Option<MemberId>) -> Vec<Address> {
        let Some(membership) = &self.observation.seen.membership else {
            return Vec::new();
        };
        let voters = membership.voters();
        let healthy = voters.filter(|member| member.healthy && Some(member.id) != but);
        let mut ids: Vec<MemberId> = healthy.map(|member| member.id).collect();
        ids.sort_by_key(|id| Some(*id) != membership.leader);
        let known = |id: MemberId| self.observation.address(id).cloned();
        let mut addresses: Vec<Address> = ids.into_iter().filter_map(known).collect();
        // The only voter can be `but` itself.
        if addresses.is_empty() {
            addresses.extend(self.observation.addresses.values().cloned());
        }
        addresses
    }
}

/// Records in the status the number of initial members. With a discovery URL, also records the URL and the number of expected
/// members.
fn begin(status: &mut EtcdClusterStatus, members: u32, discovery_url: Option<String>) {
    status.bootstrap_members = i32::try_from(members).ok();
    if let Some(url) = discovery_url {
        let discovery = status.discovery.get_or_insert_default();
        discovery.url = Some(url);
        discovery.expected = i32::try_from(members).ok();
    }
}

/// Records in the status that `members` new members, from the ordinal `first`, start from the restore's snapshot. Does nothing
/// if no restore is recorded. Also clears the cluster id and the discovery, and ends a recovery.
fn begin_restored(status: &mut EtcdClusterStatus, first: Ordinal, members: u32) {
    let Some(restore) = &mut status.restore else {
        return;
    };
    restore.phase = RestorePhase::Starting;
    restore.first_ordinal = i32::try_from(first).ok();
    let source = restore.source.as_ref();
    status.restored_from = source.map(RestorePoint::url);
    status.restored_revision = source.and_then(|source| source.to_revision);
    status.cluster_id = None;
    end_recovery(status);
    // These initial members use a static list, regardless of the original bootstrap.
    status.discovery = None;
    begin(status, members, None);
}

/// Records in the status that members start from the disks of the recorded restore. Does nothing if no restore is recorded.
/// Also sets the cluster id of these disks, clears the source of an earlier restore, and ends a recovery.
fn return_to_disks(status: &mut EtcdClusterStatus) {
    let Some(restore) = &mut status.restore else {
        return;
    };
    restore.phase = RestorePhase::Starting;
    status.cluster_id.clone_from(&restore.cluster_id);
    (status.restored_from, status.restored_revision) = (None, None);
    end_recovery(status);
}

/// Records that a recovery has ended, because its survivor is not a member after the restore or the return to earlier disks.
fn end_recovery(status: &mut EtcdClusterStatus) {
    if let Some(recovery) = &mut status.recovery {
        recovery.phase = RecoveryPhase::Done;
    }
}

#[cfg(test)]
mod tests;
