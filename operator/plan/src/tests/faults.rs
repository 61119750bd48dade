//! Faults of a cluster. Pods and disks are lost, and members form a second quorum. Users change the spec and the membership, or
//! delete claims in use. A disk is lost only if a quorum of intact members remains, because no step could repair a greater
//! loss.

use witan_crd::{
    BootstrapSource, ByteQuantity, CertificateSource, ClaimRetention, Discovery, LocalDiscovery,
    ManagedCertificate, PeerTlsSource, Retention, Storage, Tls, quorum,
};

use super::world::World;
use crate::model::{Obstacle, Ordinal, PodPlan, Step};

impl World {
    /// Causes one random fault at a random pod, or one random change of the spec. Does nothing if there are no pods.
    pub(super) fn disturb(&mut self) {
        let ordinals: Vec<_> = self.pods.keys().copied().collect();
        if let Some(ordinal) = self.random.pick(&ordinals) {
            self.fault(ordinal, &ordinals);
            self.elect();
            self.probe();
        }
    }

    /// Causes a random fault at a pod, or a random change of the spec. If its condition is not met, an unready pod becomes
    /// unschedulable instead.
    fn fault(&mut self, ordinal: Ordinal, ordinals: &[Ordinal]) {
        match self.random.below(29) {
            0 | 1 => self.kill(ordinal),
            2 => self.with_pod(ordinal, |pod| pod.ended = true),
            3 if self.may_lose(ordinal) => self.with_pod(ordinal, |pod| pod.broken = true),
            4 if self.may_lose(ordinal) => self.lose_disk(ordinal),
            5 if self.may_lose(ordinal) => self.corrupt(ordinal),
            6 if self.all_stay() || self.may_lose(ordinal) => {
                self.with_claim(ordinal, |claim| claim.deleting = true)
            }
            7 | 8 => self.spec.replicas = 1 + i32::try_from(self.random.below(7)).unwrap_or(0),
            9 if self.all_keep_their_disks() => self.spec.replicas = 0,
            // Until the cluster has served, a restart of a member without a disk could lose its vote.
            10 if self.spec.is_durable() || self.status.cluster_id.is_some() => self.template += 1,
            11 => self.toggle_tls(),
            12 => self.grow(),
            13 => self.remove_by_hand(ordinal),
            14 => self.spec.paused = !self.spec.paused,
            15 => {
                if !self.fenced.remove(&ordinal) {
                    self.fenced.insert(ordinal);
                }
            }
            16 => self.authority.requested = self.spec.tls.is_some(),
            17 if self.all_keep_their_disks() => ordinals.iter().for_each(|o| self.delete_pod(*o)),
            18 | 19 => self.cut(ordinal),
            20 if self.may_lose(ordinal) => self.with_claim(ordinal, |claim| claim.damaged = true),
            21 if self.spec.is_durable() => {
                self.template += 1;
                let code = if self.random.below(2) == 0 { 1 } else { 27 };
                self.bad_template = Some((self.template, code));
            }
            22 => self.missing_secret = !self.missing_secret,
            23 => self.refuse(),
            24 => self.toggle_retention(),
            25 | 26 if self.spec.is_durable() => self.class += 1,
            27 => self.with_claim(ordinal, |claim| claim.unlabeled = true),
            28 => {
                self.forked = match self.forked {
                    None => Some(ordinal),
                    Some(_) => None,
                };
            }
            _ => self.with_pod(ordinal, |pod| {
                if !pod.ready {
                    pod.obstacle = Some(Obstacle::Unschedulable);
                }
            }),
        }
    }

    /// Ends the faults that no step repairs, so that the cluster can converge to its spec.
    pub(super) fn calm(&mut self) {
        self.spec.paused = false;
        self.spec.replicas = self.spec.replicas.max(1);
        self.fenced.clear();
        self.forked = None;
        for claim in self.claims.values_mut() {
            claim.unlabeled = false;
        }
        self.missing_secret = false;
        self.refuses = None;
        self.template += u32::from(self.bad_template.take().is_some());
        let ordinals: Vec<_> = self.pods.keys().copied().collect();
        ordinals.iter().for_each(|ordinal| self.join(*ordinal));
        for pod in self.pods.values_mut() {
            pod.obstacle = None;
        }
        self.elapse(1);
    }

    /// Changes a pod, unless the change could cause the loss of data that the cluster needs.
    fn with_pod(&mut self, ordinal: Ordinal, change: impl Fn(&mut super::world::FakePod)) {
        let ends = !self.keeps_its_disk(ordinal) && !self.may_lose(ordinal);
        if let Some(pod) = self.pods.get_mut(&ordinal).filter(|_| !ends) {
            change(pod);
        }
    }

    /// Makes the API server or the members refuse some steps from now on. If they already refuse some, ends the refusals.
    fn refuse(&mut self) {
        let kinds: [fn(&Step) -> bool; 4] = [
            |step| matches!(step, Step::StartMember(PodPlan { ordinal: 0 | 3, .. })),
            |step| matches!(step, Step::ApplyServices | Step::ApplyBudget(_)),
            |step| matches!(step, Step::DeletePod { .. } | Step::LabelPod { .. }),
            |step| matches!(step, Step::AddLearner { .. } | Step::RemoveMember { .. }),
        ];
        self.refuses = match self.refuses {
            None => self.random.pick(&kinds),
            Some(_) => None,
        };
    }

    /// Cuts the node of a pod off from the control plane, or reconnects it.
    pub(super) fn cut(&mut self, ordinal: Ordinal) {
        match self.pods.get_mut(&ordinal) {
            Some(pod) if !pod.cut && pod.gone_at.is_none() => pod.cut = true,
            Some(_) | None => self.join(ordinal),
        }
    }

    /// Reconnects the node of a pod to the control plane. A pod that was deleted before then terminates.
    pub(super) fn join(&mut self, ordinal: Ordinal) {
        let now = self.now;
        if let Some(pod) = self.pods.get_mut(&ordinal).filter(|pod| pod.cut) {
            pod.cut = false;
            pod.gone_at = pod.gone_at.map(|_| now + 1);
        }
    }

    fn kill(&mut self, ordinal: Ordinal) {
        if self.keeps_its_disk(ordinal) || self.may_lose(ordinal) {
            self.delete_pod(ordinal);
        }
    }

    /// Returns whether a member survives the deletion of its pod.
    pub(super) fn keeps_its_disk(&self, ordinal: Ordinal) -> bool {
        let claim = self.claims.get(&ordinal);
        self.spec.is_durable() && claim.is_some_and(|claim| !claim.lost && !claim.deleting)
    }

    fn all_keep_their_disks(&self) -> bool {
        let mut ordinals = self.pods.keys();
        ordinals.all(|ordinal| self.keeps_its_disk(*ordinal))
    }

    /// Returns whether all voters serve and no pod is terminating. Deleting a claim in use then loses no data.
    fn all_stay(&self) -> bool {
        let serve = self.voters() > 0 && self.serving() == self.voters();
        serve && self.pods.values().all(|pod| pod.gone_at.is_none())
    }

    /// Returns whether a quorum of members with intact disks remains without this member.
    fn may_lose(&self, ordinal: Ordinal) -> bool {
        let voters = self.members.iter().filter(|member| !member.learner);
        let whole = voters.filter(|member| {
            let Some(other) = member.ordinal.filter(|other| *other != ordinal) else {
                return false;
            };
            let pod = self.pods.get(&other);
            let claim = self.claims.get(&other);
            let disk = if self.spec.is_durable() {
                claim.is_some_and(|claim| {
                    let whole = !claim.lost && !claim.deleting && !claim.damaged;
                    whole && claim.data == Some(member.id)
                })
            } else {
                pod.is_some_and(|pod| {
                    pod.gone_at.is_none() && !pod.ended && pod.data == Some(member.id)
                })
            };
            disk && !member.corrupt && pod.is_none_or(|pod| !pod.broken)
        });
        let voters = self.voters();
        voters > 0 && whole.count() >= quorum(voters)
    }

    /// Empties the claim or loses its volume; without a claim, deletes the pod.
    fn lose_disk(&mut self, ordinal: Ordinal) {
        match self.claims.get_mut(&ordinal) {
            Some(claim) if self.random.below(2) == 0 => claim.data = None,
            Some(claim) => claim.lost = true,
            None => self.delete_pod(ordinal),
        }
    }

    fn corrupt(&mut self, ordinal: Ordinal) {
        let mut members = self.members.iter_mut();
        if let Some(member) = members.find(|member| member.ordinal == Some(ordinal)) {
            member.corrupt = true;
        }
    }

    fn toggle_retention(&mut self) {
        let when_deleted = match self.owns_claims() {
            true => Retention::Retain,
            false => Retention::Delete,
        };
        let retention = ClaimRetention { when_deleted, ..self.spec.claim_retention() };
        self.spec.persistent_volume_claim_retention_policy = Some(retention);
    }

    /// Removes a member as a user would, unless no quorum would remain.
    fn remove_by_hand(&mut self, ordinal: Ordinal) {
        let id = self.member(ordinal).map(|member| member.id);
        let left = self.voters().saturating_sub(1);
        if let Some(id) = id.filter(|_| self.has_quorum() && left > 0 && self.may_lose(ordinal)) {
            self.remove(id);
        }
    }

    /// Makes the cluster bootstrap with the token `url`. If `url` is `None`, the operator creates a token.
    pub(super) fn discover(&mut self, url: Option<&str>) {
        let local = url.is_none().then(LocalDiscovery::default);
        let url = url.map(str::to_owned);
        self.spec.bootstrap =
            Some(BootstrapSource { discovery: Some(Discovery { url, local }), restore: None });
    }

    /// Enables or disables peer TLS in the spec. Changes the template only if the CA was rotated.
    pub(super) fn toggle_tls(&mut self) {
        self.template += u32::from(self.authority.was_rotated());
        let source = CertificateSource {
            managed: Some(ManagedCertificate::default()),
            ..CertificateSource::default()
        };
        self.spec.tls = match self.spec.tls {
            Some(_) => None,
            None => Some(Tls { peer: Some(PeerTlsSource { source }), client: None }),
        };
    }

    /// Requests a random size from 8 to 15 GiB, unless the current size is at least as large.
    fn grow(&mut self) {
        let size = 8 + self.random.below(8);
        if let Some(storage) = self
            .spec
            .storage
            .as_mut()
            .filter(|storage| storage.size.is_some())
        {
            let old = storage
                .size
                .as_ref()
                .and_then(ByteQuantity::bytes)
                .unwrap_or_default();
            if old < size << 30 {
                storage.size = Some(ByteQuantity(format!("{size}Gi")));
            }
        }
    }
}

pub(super) fn disk() -> Option<Storage> {
    Some(Storage {
        size: Some(ByteQuantity("8Gi".to_owned())),
        ..Storage::default()
    })
}
