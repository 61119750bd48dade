//! The invariants of every run, one file each. Section numbers refer to the extended Raft paper (Ongaro and Ousterhout, 2014).
//!
//! An invariant receives [`Fact`]s in the order in which they happen and inspects the [`Scene`]. It never sees the inside of a
//! replica, so a bug of the replica cannot deceive it. The world itself detects the violations of invariants that have only a
//! name here.

mod applied_once;
mod commands_admitted;
mod commands_known;
mod committed_on_quorum;
mod configuration_agrees;
mod durability_of_acked;
mod elected_by_voters;
mod election_safety;
mod followers_keep_up;
mod forced_alone;
mod layout_equality;
mod leader_completeness;
mod leader_followed;
mod lease_answers;
mod leases_kept;
mod linearizable_reads;
mod log_matching;
mod no_silent_fork;
mod one_lineage;
mod pairs_written;
mod proposal_liveness;
mod read_liveness;
mod rebuilds_end;
mod removed_members_end;
mod revision_monotone;
mod state_machine_equality;
mod watch_complete;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
pub(crate) use elected_by_voters::Vote;
use witan_machine::{
    command::Entry, kv::KeyValue, lease::LeaseId, revision::Revision, versions::Release, view::View,
};
use witan_replica::{
    host::{Applied, LeaseAnswer, LogRecord},
    replica::Status,
    wire,
};

use crate::{
    disk::Disk,
    oracle::{Ask, Op, Oracle},
    rng::Fnv,
    workload,
    world::Truth,
};

/// No member receives a feature level that its release does not support, because its process would stop and could not start
/// again. The leader raises the level only if all members support it. An administrator returns to an earlier release only while
/// the cluster has a level of that release.
pub(crate) const LEVEL_KNOWN: &str = "level_known";

/// Persistence (§5.1, §7): a member starts from any disk that a crash leaves. If the core refused a healthy disk, the member
/// would be down permanently.
pub(crate) const RECOVERY_ACCEPTED: &str = "recovery_accepted";

/// Persistence on real storage: after a power cut, it keeps the durable state, with or without the interrupted step. After a
/// flipped bit, it keeps the entire state or refuses to start.
pub(crate) const STORAGE_FAITHFUL: &str = "storage_faithful";

/// Values on disk: the record at the place of each block contains the block's values. A state has the same hash after its
/// values have been dropped from memory.
///
/// A process that cannot read a record ends. On a disk without planned damage, `disk` reports this as a violation of this
/// invariant. If the run is not durable yet, or was removed while a block had a place in it, the violated invariant is
/// `places_durable` or `runs_kept`.
pub(crate) const PLACES_TRUE: &str = "places_true";

/// An event of a run.
#[derive(Debug)]
pub(crate) enum Fact<'a> {
    /// A member finished a turn.
    Turned {
        member: u64,
        status: Status,
        /// The voters that the member knew before and after the turn.
        voters: &'a [Vec<u64>; 2],
    },
    /// Records were written to a member's disk.
    Written {
        member: u64,
        records: &'a [LogRecord],
        /// The member's term, vote and commit index that were written with them.
        hard_state: Option<&'a Bytes>,
    },
    /// A member executed entries and returned the results.
    Executed {
        member: u64,
        /// The release that its process runs.
        release: Release,
        /// The entries, ascending.
        batch: &'a [Applied],
        /// The state after the last entry.
        view: &'a View,
        fingerprint: u64,
    },
    /// A client received the answer to its write.
    Acknowledged {
        /// The operation, which has ended.
        op: &'a Op,
    },
    /// A client received the answer to its read.
    Answered {
        /// The operation, which has not ended yet.
        op: &'a Op,
        view: &'a View,
    },
    /// A client received the answer to its request about a lease.
    LeaseAnswered {
        lease: LeaseId,
        answer: LeaseAnswer,
        asked: u64,
    },
    /// A member received a leader's message.
    Heard {
        member: u64,
        leader: u64,
        /// The term that the sender leads.
        term: u64,
        /// The election timeout in units.
        timeout: u64,
        status: Status,
    },
    /// An older copy that the member recognizes, or an empty disk, replaced a member's disk.
    OlderDisk { member: u64 },
    /// A member received the command to replace its state with the leader's state.
    Rebuilds { member: u64 },
    /// A member read its disk at startup, or received a snapshot.
    Restored {
        member: u64,
        /// Whether the member starts; otherwise it received a snapshot.
        starts: bool,
        view: &'a View,
        fingerprint: u64,
    },
    /// A member continues alone (`--force-new-cluster`), and the history forks.
    Forced {
        member: u64,
        /// The index of the last executed entry that the member also has.
        kept: u64,
        /// The revision after that entry.
        revision: Revision,
        /// Number of later entries that others have executed.
        lost: u64,
        /// The entries after the member's checkpoint that must stay in its log.
        log: &'a BTreeMap<u64, Ident>,
        /// The index and identity of the member's later removal. The log must not contain this removal.
        dropped: Option<(u64, Ident)>,
        /// Members of the old cluster, including pending ones. They never return.
        outside: &'a BTreeSet<u64>,
    },
    /// The members have settled after the faults, or the time to settle is over. There must be a leader.
    Settled {
        /// The status of every member.
        statuses: &'a [Status],
    },
    /// The run is over.
    Ended {
        /// The members of the cluster and their states.
        views: &'a [(u64, View)],
        /// Running members that the cluster has removed and that should know of it.
        unaware: &'a [u64],
        /// The leader, or 0 if there is none.
        leader: u64,
    },
}

impl Fact<'_> {
    /// Returns the member that acted or answered. Returns `None` for facts that concern all members.
    pub(crate) fn acts(&self) -> Option<u64> {
        match self {
            Self::Turned { member, .. }
            | Self::Written { member, .. }
            | Self::Executed { member, .. }
            | Self::Heard { member, .. }
            | Self::OlderDisk { member }
            | Self::Rebuilds { member }
            | Self::Restored { member, .. } => Some(*member),
            Self::Acknowledged { op } | Self::Answered { op, .. } => Some(op.member),
            Self::LeaseAnswered { .. }
            | Self::Forced { .. }
            | Self::Settled { .. }
            | Self::Ended { .. } => None,
        }
    }
}

/// The parts of the simulation that an invariant may inspect.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    /// Virtual time in units.
    pub(crate) now: u64,
    /// The members' disks. The disk of member `n` is at `n - 1`.
    pub(crate) disks: &'a [Disk],
    /// The requests of clients and their answers.
    pub(crate) oracle: &'a Oracle,
    /// The entries that the cluster has executed, and its voters.
    pub(crate) truth: &'a Truth,
    /// Whether most disks are lost and one member is about to continue alone.
    pub(crate) forces: bool,
}

impl Scene<'_> {
    pub(crate) fn disk(&self, member: u64) -> Option<&Disk> {
        self.disks.get((member - 1) as usize)
    }

    /// Returns the identity of the entry that `member` holds at `index`.
    pub(crate) fn ident(&self, member: u64, index: u64) -> Option<Ident> {
        self.disk(member)?.entry(index).map(Ident::of)
    }

    /// Returns the operation that wrote the value of `pair`, or `None` if no operation puts this value for this key.
    pub(crate) fn writer(&self, pair: &KeyValue) -> Option<&Op> {
        let writer = self.oracle.op(workload::writer(&pair.value)?)?;
        match &writer.ask {
            Ask::Write(command) if workload::may_put(command, &pair.key, &pair.value) => {
                Some(writer)
            }
            Ask::Write(_) | Ask::Read(_) => None,
        }
    }

    /// Returns the command entry that `member` holds at `index`. Returns `None` for a membership change, which has its
    /// command in another field.
    pub(crate) fn command(&self, member: u64, index: u64) -> Option<Entry> {
        let record = self.disk(member)?.entry(index)?;
        wire::decode_entry(&record.payload.slice(1..)).ok()
    }
}

/// An invariant.
pub(crate) trait Invariant: std::fmt::Debug {
    /// Checks a fact. Fails with a description of the violation.
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String>;
}

/// Returns all invariants, each with the name of its file.
pub(crate) fn all() -> Vec<(&'static str, Box<dyn Invariant>)> {
    macro_rules! named {
        ($($file:ident::$rule:ident,)*) => {
            vec![$((stringify!($file), Box::<$file::$rule>::default()),)*]
        };
    }
    named![
        election_safety::ElectionSafety,
        elected_by_voters::ElectedByVoters,
        configuration_agrees::ConfigurationAgrees,
        log_matching::LogMatching,
        leader_completeness::LeaderCompleteness,
        committed_on_quorum::CommittedOnQuorum,
        state_machine_equality::StateMachineEquality,
        layout_equality::LayoutEquality,
        applied_once::AppliedOnce,
        commands_admitted::CommandsAdmitted,
        commands_known::CommandsKnown,
        durability_of_acked::DurabilityOfAcked,
        linearizable_reads::LinearizableReads,
        pairs_written::PairsWritten,
        revision_monotone::RevisionMonotone,
        forced_alone::ForcedAlone,
        no_silent_fork::NoSilentFork,
        leases_kept::LeasesKept,
        lease_answers::LeaseAnswers,
        leader_followed::LeaderFollowed,
        rebuilds_end::RebuildsEnd,
        one_lineage::OneLineage,
        watch_complete::WatchComplete,
        followers_keep_up::FollowersKeepUp,
        removed_members_end::RemovedMembersEnd,
        read_liveness::ReadLiveness,
        proposal_liveness::ProposalLiveness,
    ]
}

/// The identity of an entry, by which logs distinguish entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ident {
    pub(crate) term: u64,
    pub(crate) payload: u64,
}

impl Ident {
    pub(crate) fn of(record: &LogRecord) -> Self {
        Self {
            term: record.term,
            payload: Fnv::default().bytes(&record.payload).finish(),
        }
    }
}

/// The first value observed for each index, with its member.
#[derive(Debug)]
pub(crate) struct ByIndex<T> {
    seen: BTreeMap<u64, (T, u64)>,
}

impl<T> Default for ByIndex<T> {
    fn default() -> Self {
        Self { seen: BTreeMap::new() }
    }
}

impl<T: PartialEq + Clone> ByIndex<T> {
    /// Removes all values after `index`.
    pub(crate) fn cut(&mut self, index: u64) {
        self.seen.split_off(&(index + 1));
    }

    /// Records `value` for `index`. If the first value at this index differs, fails with that value and its member.
    pub(crate) fn agree(&mut self, index: u64, value: &T, member: u64) -> Result<(), (T, u64)> {
        match self.seen.get(&index) {
            None => {
                self.seen.insert(index, (value.clone(), member));
                Ok(())
            }
            Some((first, _)) if first == value => Ok(()),
            Some(other) => Err(other.clone()),
        }
    }
}

/// Returns the fingerprint of everything that replicas must agree on, except the layout, which `layout_equality` compares. Reads
/// all values, so members with different values in memory and on disk are compared.
pub(crate) fn fingerprint(view: &View) -> u64 {
    let machine = &view.machine;
    let mut hash = Fnv::default()
        .number(witan_machine::fingerprint::of(&machine.kv))
        .number(witan_machine::fingerprint::of(&machine.tree))
        .number(machine.kv.revision().0 as u64)
        .number(machine.kv.compacted().0 as u64)
        .number(machine.kv.len() as u64)
        .number(machine.kv.size_bytes())
        .number(machine.kv.live_size_bytes())
        .number(machine.tree.index())
        .number(machine.tree.next_expiration_ns().unwrap_or(-1) as u64)
        .number(machine.members.cluster_id)
        .bytes(machine.members.cluster_version.as_bytes())
        .bytes(machine.members.downgrade_target.as_bytes())
        .number(machine.members.level().into());
    // Raft's order of members differs between replicas.
    for ids in [&view.position.voters, &view.position.learners] {
        let ids: BTreeSet<u64> = ids.iter().copied().collect();
        hash = ids.into_iter().fold(hash.number(0), Fnv::number);
    }
    let auth = &machine.auth;
    hash = hash
        .number(u64::from(auth.enabled()))
        .number(auth.revision());
    for user in auth.users() {
        hash = hash.bytes(user.name.as_bytes()).bytes(&user.password);
        hash = hash.number(u64::from(user.no_password));
        for role in &user.roles {
            hash = hash.bytes(role.as_bytes());
        }
    }
    for role in auth.roles() {
        hash = hash.bytes(role.name.as_bytes());
        for permission in &role.permissions {
            hash = hash.bytes(&prost::Message::encode_to_vec(permission));
        }
    }
    for alarm in machine.alarms.list(None) {
        hash = hash.number(alarm.member.0).number(alarm.kind as u64);
    }
    for (id, lease) in machine.kv.leases().iter() {
        hash = hash
            .number(id.0 as u64)
            .number(lease.ttl_s as u64)
            .number(lease.remaining_ttl_s as u64);
        for key in machine.kv.leases().keys(id) {
            hash = hash.bytes(key);
        }
    }
    for member in machine.members.by_id.values() {
        hash = hash.bytes(&prost::Message::encode_to_vec(member));
    }
    for removed in &machine.members.removed_ids {
        hash = hash.number(removed.0);
    }
    hash.finish()
}
