//! Events of the fake cluster that no step causes: pods start and terminate, and members start and elect a leader.

use std::collections::BTreeSet;

use witan_crd::READINESS_PATH;

use super::world::{FakeMember, FakePod, World};
use crate::model::{Bootstrap, MemberId, Ordinal, PeerTls};

impl World {
    /// Advances the clock second by second, with the events of each second.
    pub(super) fn elapse(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += 1;
            let now = self.now;
            self.pods
                .retain(|_, pod| pod.gone_at.is_none_or(|at| at > now));
            let pods: BTreeSet<_> = self.pods.keys().copied().collect();
            self.claims
                .retain(|ordinal, claim| !claim.deleting || pods.contains(ordinal));
            let missing = self.missing_secret;
            self.pods.values_mut().for_each(|pod| pod.waits &= missing);
            for ordinal in pods {
                self.boot(ordinal);
            }
            self.carry_secrets();
            self.elect();
            self.probe();
        }
    }

    /// Lets a running pod without data form or join a cluster, if it can. A forced member with data removes all other members.
    fn boot(&mut self, ordinal: Ordinal) {
        if !self.runs(ordinal) {
            return;
        }
        if let Some(id) = self.disk(ordinal) {
            let forced = |pod: &FakePod| pod.bootstrap == Bootstrap::Forced;
            if self.pods.get(&ordinal).is_some_and(forced) {
                self.members.retain(|member| member.id == id);
            }
            return;
        }
        let quorate = self.has_quorum();
        let Some(pod) = self.pods.get(&ordinal) else {
            return;
        };
        let https = pod.peer_tls == PeerTls::On;
        let id = match &pod.bootstrap {
            Bootstrap::New { first, members } if self.members.is_empty() => {
                self.form(*first, *members, https);
                1000 + u64::from(ordinal)
            }
            Bootstrap::Discovery { .. } if self.members.is_empty() => {
                if !self.all_have_come() {
                    return;
                }
                let members = self.status.bootstrap_members.unwrap_or_default();
                self.form(0, u32::try_from(members).unwrap_or_default(), https);
                1000 + u64::from(ordinal)
            }
            Bootstrap::Join { members } if quorate => {
                let ids: BTreeSet<_> = members.iter().map(|member| member.id).collect();
                let now: BTreeSet<_> = self.members.iter().map(|member| member.id).collect();
                let own = self
                    .member(ordinal)
                    .filter(|own| !own.started && ids == now);
                let Some(own) = own else { return };
                own.id
            }
            Bootstrap::New { .. } | Bootstrap::Discovery { .. }
                if self.member(ordinal).is_some_and(|own| !own.started) =>
            {
                1000 + u64::from(ordinal)
            }
            Bootstrap::New { .. }
            | Bootstrap::Join { .. }
            | Bootstrap::Discovery { .. }
            | Bootstrap::Forced
            | Bootstrap::Restart => return,
        };
        self.write(ordinal, id);
    }

    /// Marks a member as started, and writes its id to its claim, or to its pod if the spec has no claims.
    fn write(&mut self, ordinal: Ordinal, id: MemberId) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.started = true;
        }
        if self.spec.is_durable() {
            if let Some(claim) = self.claims.get_mut(&ordinal) {
                claim.data = Some(id);
            }
        } else if let Some(pod) = self.pods.get_mut(&ordinal) {
            pod.data = Some(id);
        }
    }

    /// Returns whether all initial members run, as a discovery token requires.
    fn all_have_come(&self) -> bool {
        let come = self.pods.keys().filter(|ordinal| self.runs(**ordinal));
        i32::try_from(come.count()).ok() == self.status.bootstrap_members
    }

    /// Forms the cluster of `members` consecutive ordinals, starting at `first`. `https` says whether their peer URLs use TLS.
    fn form(&mut self, first: Ordinal, members: u32, https: bool) {
        assert!(self.status.cluster_id.is_none(), "a cluster is formed once");
        self.members = (first..first + members)
            .map(|ordinal| FakeMember {
                id: 1000 + u64::from(ordinal),
                ordinal: Some(ordinal),
                https,
                started: false,
                learner: false,
                corrupt: false,
                caught_up_at: 0,
            })
            .collect();
    }

    /// Keeps a leader that still serves. Otherwise, elects a random serving voter, or no leader if there is no quorum.
    pub(super) fn elect(&mut self) {
        let leads = |world: &Self, id| {
            let mut members = world.members.iter();
            members.any(|member| member.id == id && !member.learner && world.serves(member))
        };
        if !self.has_quorum() {
            self.leader = None;
        } else if self.leader.is_none_or(|id| !leads(self, id)) {
            let candidates: Vec<_> = self.members.iter().map(|member| member.id).collect();
            let candidates: Vec<_> = candidates
                .into_iter()
                .filter(|id| leads(self, *id))
                .collect();
            self.leader = self.random.pick(&candidates);
        }
    }

    /// Sets the readiness of pods as the kubelet does: voters that serve and have a leader are ready. If the probe checks for
    /// CORRUPT alarms, one alarm makes every pod unready, because every member reports it.
    pub(super) fn probe(&mut self) {
        let corrupt = self.members.iter().any(|member| member.corrupt);
        let alarmed = corrupt || self.undecided || !self.stale_corrupt.is_empty();
        let checks = !READINESS_PATH.contains("exclude=data_corruption");
        let passes = self.leader.is_some() && !(alarmed && checks);
        let ordinals: Vec<_> = self.pods.keys().copied().collect();
        for ordinal in ordinals {
            let member = self.member(ordinal);
            let ready = member.is_some_and(|member| !member.learner && self.serves(member));
            let now = self.now;
            if let Some(pod) = self.pods.get_mut(&ordinal)
                && pod.ready != (ready && passes && !pod.cut)
            {
                pod.ready = ready && passes && !pod.cut;
                pod.ready_changed = now;
            }
        }
    }
}
