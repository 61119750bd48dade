//! Makes a member the only member of its cluster when all other members are lost (`--force-new-cluster`, `witan export`). This
//! module appends entries that remove all other members, as if the cluster had accepted them.
//!
//! Log entries that are not known to be committed are kept, because a quorum may have acknowledged them. If such an entry
//! removes this member or cannot be decoded, that entry and all later entries are dropped.

use std::collections::BTreeSet;

use raft::eraftpb::{Entry as RaftEntry, HardState};

use super::Replica;
use crate::{
    host::{LogBatch, Recovered},
    wire::{self, EntryError},
};
use witan_machine::{
    StateMachine,
    command::{ChangeMembers, Command, Entry},
    kv::ReadResults,
    levels::{self, Level},
    member::{MemberId, MemberRegistry},
    record::CorruptRecord,
    view::{Position, View},
};

/// The changes that make a member the only member of its cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ForcedCluster {
    /// The records that must be on disk before the member starts.
    pub batch: LogBatch,
    /// Ids of the removed members, including members that uncommitted entries remove.
    pub removed: Vec<MemberId>,
    /// Peer URLs of all other members in the checkpoint and in the log after it. With them, the caller finds members that still
    /// run, which must not be removed.
    pub peer_urls: BTreeSet<String>,
    /// The registry without the removed members.
    pub members: MemberRegistry,
}

/// The reason why a member cannot become the only member of its cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForceError {
    /// A committed entry cannot be decoded or is from a later release, or the cluster has a later feature level.
    #[error(transparent)]
    Corrupt(#[from] CorruptRecord),
    /// The member joined but has not received the state of its cluster.
    #[error("this member has not received the state of its cluster")]
    NoState,
}

impl Replica {
    /// Appends entries to the recovered state that make `own` the only member and returns them for the disk. Raises the term,
    /// votes for `own`, and commits all entries that stay. Returns `None` if there is no checkpoint, or if `own` is already the
    /// only member or was removed. Fails with `NoState` if this member never received the cluster's state. Also fails if a
    /// record or a committed entry cannot be decoded, or if the state or an entry has a feature level above `level`.
    pub fn force_new_cluster(
        recovered: &mut Recovered,
        own: MemberId,
        level: Level,
    ) -> Result<Option<ForcedCluster>, ForceError> {
        let Some(checkpoint) = &recovered.checkpoint else {
            return Ok(None);
        };
        let place = &checkpoint.position;
        // A joining member starts with the names of all members and no voters. Its state arrives as a snapshot with voters,
        // because no log contains the beginning of a cluster (`genesis`).
        if place.voters.is_empty() {
            return Err(ForceError::NoState);
        }
        let mut hard_state = match &recovered.hard_state {
            Some(bytes) => wire::decode_hard_state(bytes)?,
            None => HardState::default(),
        };
        let mut machine = checkpoint.machine.clone();
        let mut committed = None;
        let mut last = (place.index, place.term);
        for record in recovered.records.iter().filter(|r| r.index > place.index) {
            let entry = wire::decode_record(record)?;
            let is_committed = record.index <= hard_state.commit;
            if !is_committed {
                committed.get_or_insert_with(|| machine.members.clone());
            }
            if !replay(&mut machine, &entry, (!is_committed).then_some(own))? {
                break;
            }
            last = (record.index, record.term);
        }
        // The level includes uncommitted entries that raise it, because members may have applied them.
        levels::check(machine.members.level(), level)?;
        if !machine.members.by_id.contains_key(&own) {
            return Ok(None);
        }
        let latest = machine.members.clone();
        let before = committed.unwrap_or_else(|| latest.clone());
        // An old leader that is still running may have other entries of its term at these indexes. The higher term excludes
        // that leader.
        let (mut index, term) = (last.0, last.1.max(hard_state.term) + 1);
        let mut batch = LogBatch { must_sync: true, ..LogBatch::default() };
        for change in removals(&latest, own) {
            index += 1;
            let command = Entry { command: Some(Command::Members(change)), ..Entry::default() };
            let entry = wire::raft_entry(index, term, &command);
            replay(&mut machine, &entry, None)?;
            batch.records.push(wire::encode_record(&entry));
        }
        let now = machine.members.removed_ids.iter().copied();
        let removed: Vec<MemberId> = now.filter(|id| !before.removed_ids.contains(id)).collect();
        // Members that uncommitted entries remove are included, because only this member can still commit these entries.
        if removed.is_empty() {
            return Ok(None);
        }
        let peer_urls = [&checkpoint.machine.members, &before, &latest]
            .into_iter()
            .flat_map(|members| members.by_id.values())
            .filter(|member| member.member_id() != own)
            .flat_map(|member| member.peer_urls.iter().cloned())
            .collect();
        (hard_state.term, hard_state.vote, hard_state.commit) = (term, own.0, index);
        batch.hard_state = Some(wire::encode_hard_state(&hard_state));
        recovered.hard_state.clone_from(&batch.hard_state);
        recovered.records.retain(|record| record.index <= last.0);
        recovered.records.extend(batch.records.iter().cloned());
        Ok(Some(ForcedCluster {
            batch,
            removed,
            peer_urls,
            members: machine.members,
        }))
    }

    /// Returns the state after all recovered entries, or `None` if there is no checkpoint or `own` is not its only member.
    /// Fails if an entry cannot be decoded. Call [`Self::force_new_cluster`] first, which also checks the feature level.
    pub fn state_alone(recovered: &Recovered, own: MemberId) -> Result<Option<View>, ForceError> {
        let Some(mut view) = recovered.checkpoint.clone() else {
            return Ok(None);
        };
        let (mut index, mut term) = (view.position.index, view.position.term);
        let after = recovered.records.iter();
        for record in after.filter(|record| record.index > view.position.index) {
            replay(&mut view.machine, &wire::decode_record(record)?, None)?;
            (index, term) = (record.index, record.term);
        }
        let members = &view.machine.members.by_id;
        if members.len() != 1 || !members.contains_key(&own) {
            return Ok(None);
        }
        view.position = Position { index, term, voters: vec![own.0], ..Position::default() };
        Ok(Some(view))
    }
}

/// Applies an entry and returns `true`. `undecided_of` is set if the entry may be uncommitted. In that case, returns `false`
/// and applies nothing if the entry cannot be decoded or removes the member `undecided_of`. Fails if a committed entry cannot
/// be decoded.
fn replay(
    machine: &mut StateMachine,
    entry: &RaftEntry,
    undecided_of: Option<MemberId>,
) -> Result<bool, CorruptRecord> {
    let index = entry.index;
    let (command, change) = match wire::decode_raft_entry(entry) {
        Ok(decoded) => decoded,
        Err(_) if undecided_of.is_some() => return Ok(false),
        Err(EntryError::Corrupt(corrupt)) => return Err(corrupt),
        Err(EntryError::Unknown) => {
            return Err(CorruptRecord::later(format!(
                "entry {index} of the raft log has unknown parts"
            )));
        }
    };
    let removed = change
        .filter(wire::is_removal)
        .map(|change| MemberId(change.node_id));
    if removed.is_some() && removed == undecided_of {
        return Ok(false);
    }
    machine.apply_with(&command, ReadResults::Discard);
    Ok(true)
}

/// Returns the membership changes that leave `own` as the only voter, in an order that the registry accepts.
fn removals(members: &MemberRegistry, own: MemberId) -> Vec<ChangeMembers> {
    let change = ChangeMembers { voters: true, ..ChangeMembers::default() };
    let promotion = members
        .is_learner(own)
        .then(|| ChangeMembers { promote: own.0, ..change.clone() });
    let others = members.by_id.keys().filter(|id| **id != own);
    let removals = others.map(|id| ChangeMembers { remove: id.0, ..change.clone() });
    promotion.into_iter().chain(removals).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::LogRecord, replica::genesis};
    use witan_machine::{
        command::{ClusterVersion, UpdatePeerUrls},
        kv,
        levels::OWN,
        member::Member,
    };

    fn put(index: u64, key: &'static str) -> LogRecord {
        let put = kv::KvOperation::Put(kv::Put { key: key.into(), ..kv::Put::default() });
        let entry = Entry { command: Some(put.into()), ..Entry::default() };
        wire::log_record(index, 3, &entry)
    }

    fn change(index: u64, change: ChangeMembers) -> LogRecord {
        let command = Command::Members(ChangeMembers { voters: true, ..change });
        let entry = Entry { command: Some(command), ..Entry::default() };
        wire::log_record(index, 3, &entry)
    }

    fn removal(index: u64, remove: u64) -> LogRecord {
        change(index, ChangeMembers { remove, ..ChangeMembers::default() })
    }

    fn state(learner: Option<u64>) -> View {
        let member = |id| Member { id, learner: Some(id) == learner, ..Member::default() };
        genesis(1, [1, 2, 3].into_iter().map(member).collect())
    }

    /// Returns a disk with these records and this commit index, on which the member has voted for member 2 in term 4.
    fn recovered(checkpoint: View, commit: u64, records: &[LogRecord]) -> Recovered {
        let hard_state = HardState { term: 4, vote: 2, commit, ..HardState::default() };
        Recovered {
            checkpoint: Some(checkpoint),
            hard_state: Some(wire::encode_hard_state(&hard_state)),
            records: records.to_vec(),
        }
    }

    fn forced(recovered: &mut Recovered, own: u64) -> ForcedCluster {
        let forced = Replica::force_new_cluster(recovered, MemberId(own), OWN);
        forced
            .expect("the log decodes")
            .expect("the cluster has other members")
    }

    fn is_alone(recovered: &mut Recovered, own: u64) -> bool {
        Replica::force_new_cluster(recovered, MemberId(own), OWN) == Ok(None)
    }

    #[test]
    fn the_others_are_removed_after_all_entries_that_may_be_acknowledged() {
        let records = [put(2, "a"), put(3, "b"), put(4, "c")];
        let mut recovered = recovered(state(None), 2, &records);
        let forced = forced(&mut recovered, 2);
        assert_eq!(forced.removed, [1, 3].map(MemberId));
        let indexes: Vec<u64> = forced.batch.records.iter().map(|r| r.index).collect();
        assert_eq!(indexes, [5, 6]);
        assert_eq!(recovered.records.len(), 5);
        let hard_state = forced.batch.hard_state.expect("the batch has a hard state");
        let hard_state = wire::decode_hard_state(&hard_state).expect("the bytes decode");
        let HardState { term, vote, commit, .. } = hard_state;
        assert_eq!((term, vote, commit), (5, 2, 6));
        assert!(
            forced
                .batch
                .records
                .iter()
                .all(|record| record.term == term)
        );
        assert_eq!(forced.members.by_id.len(), 1);
        assert!(
            [1, 3]
                .map(MemberId)
                .iter()
                .all(|id| forced.members.removed_ids.contains(id))
        );
        assert!(is_alone(&mut recovered, 2));
    }

    #[test]
    fn the_peer_urls_are_from_the_checkpoint_and_the_log_after_it() {
        let member =
            |id, url: &str| Member { id, peer_urls: vec![url.to_owned()], ..Member::default() };
        let checkpoint = genesis(1, vec![member(1, "http://own"), member(2, "http://old")]);
        let add = |added| ChangeMembers { add: Some(added), ..ChangeMembers::default() };
        let moved = UpdatePeerUrls { id: 2, peer_urls: vec!["http://moved".to_owned()] };
        let moved = Entry { command: Some(Command::PeerUrls(moved)), ..Entry::default() };
        let records = [
            change(2, add(member(3, "http://committed"))),
            wire::log_record(3, 3, &moved),
            change(4, add(member(4, "http://added"))),
        ];
        for commit in [1, 3, 4] {
            let mut recovered = recovered(checkpoint.clone(), commit, &records);
            let forced = forced(&mut recovered, 1);
            let names: Vec<&str> = forced.peer_urls.iter().map(|url| &url[7..]).collect();
            assert_eq!(names, ["added", "committed", "moved", "old"]);
        }
    }

    #[test]
    fn the_state_of_the_only_member_has_all_entries() {
        let records = [put(2, "a"), put(3, "b")];
        let mut recovered = recovered(state(None), 2, &records);
        let alone = |recovered: &Recovered| {
            Replica::state_alone(recovered, MemberId(2)).expect("the log decodes")
        };
        assert!(alone(&recovered).is_none());
        forced(&mut recovered, 2);
        recovered.records.insert(0, put(1, "executed"));
        let View { machine, position } = alone(&recovered).expect("the other members are removed");
        assert_eq!(
            (position.index, position.term, &*position.voters),
            (5, 5, &[2][..])
        );
        assert_eq!((machine.kv.len(), machine.members.by_id.len()), (2, 1));
        assert!(alone(&Recovered::default()).is_none());
    }

    #[test]
    fn an_uncommitted_removal_of_another_member_and_later_entries_stay() {
        let records = [put(2, "a"), removal(3, 1), put(4, "b")];
        let mut recovered = recovered(state(None), 2, &records);
        let forced = forced(&mut recovered, 2);
        assert_eq!(forced.removed, [1, 3].map(MemberId));
        assert_eq!(forced.batch.records.len(), 1);
        assert_eq!(recovered.records[..3], records);
        assert!(forced.members.removed_ids.contains(&MemberId(1)));
    }

    #[test]
    fn uncommitted_removals_of_all_others_are_committed() {
        let records = [put(2, "a"), removal(3, 1), removal(4, 3), put(5, "b")];
        let mut recovered = recovered(state(None), 2, &records);
        let forced = forced(&mut recovered, 2);
        assert_eq!(
            (forced.removed.as_slice(), forced.batch.records.len()),
            (&[1, 3].map(MemberId)[..], 0)
        );
        assert_eq!(recovered.records, records);
        let hard_state = forced.batch.hard_state.expect("the batch has a hard state");
        assert_eq!(
            wire::decode_hard_state(&hard_state)
                .expect("the bytes decode")
                .commit,
            5
        );
        assert!(is_alone(&mut recovered, 2));
    }

    #[test]
    fn its_own_uncommitted_removal_and_later_entries_are_dropped() {
        let records = [put(2, "a"), removal(3, 2), put(4, "b")];
        let mut undecided = recovered(state(None), 2, &records);
        let dropped = forced(&mut undecided, 2);
        assert_eq!(dropped.removed, [1, 3].map(MemberId));
        assert_eq!(dropped.batch.records[0].index, 3);
        assert_eq!(undecided.records.len(), 3);
        // A committed removal of this member cannot be undone.
        let mut removed = recovered(state(None), 4, &records);
        assert!(is_alone(&mut removed, 2));
    }

    /// Raft would refuse to remove the last voter of an empty configuration, and a learner would serve an empty cluster.
    #[test]
    fn a_member_that_joined_but_has_no_state_is_refused() {
        for learner in [None, Some(3)] {
            let mut joined = View::default();
            joined.machine.members = state(learner).machine.members;
            let mut recovered = Recovered { checkpoint: Some(joined), ..Recovered::default() };
            assert_eq!(
                Replica::force_new_cluster(&mut recovered, MemberId(3), OWN),
                Err(ForceError::NoState)
            );
            assert!(recovered.records.is_empty() && recovered.hard_state.is_none());
        }
    }

    #[test]
    fn a_state_or_an_entry_above_the_level_of_this_release_is_refused() {
        let raise = |level| {
            let raise = ClusterVersion { version: String::new(), level };
            let command = Some(Command::ClusterVersion(raise));
            wire::log_record(2, 3, &Entry { command, ..Entry::default() })
        };
        let mut later = state(None);
        later.machine.members.raised_level = OWN + 1;
        let own = recovered(state(None), 2, &[raise(OWN)]);
        let of_later_state = recovered(later, 1, &[put(2, "a")]);
        let committed = recovered(state(None), 2, &[raise(OWN + 1), put(3, "a")]);
        let uncommitted = recovered(state(None), 1, &[raise(OWN + 1)]);
        for (mut found, taken) in [
            (own, true),
            (of_later_state, false),
            (committed, false),
            (uncommitted, false),
        ] {
            let before = (found.records.clone(), found.hard_state.clone());
            match Replica::force_new_cluster(&mut found, MemberId(2), OWN) {
                Ok(forced) => assert!(taken && forced.is_some(), "{forced:?}"),
                Err(ForceError::Corrupt(error)) => {
                    assert!(!taken && error.is_later(), "{error}");
                    assert!(error.to_string().contains("feature level"), "{error}");
                    assert_eq!((found.records, found.hard_state), before);
                }
                Err(error @ ForceError::NoState) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_learner_becomes_the_voter() {
        let mut recovered = recovered(state(Some(3)), 1, &[]);
        let forced = forced(&mut recovered, 3);
        assert_eq!(forced.removed, [1, 2].map(MemberId));
        assert_eq!(forced.batch.records.len(), 3);
        assert!(!forced.members.by_id[&MemberId(3)].learner);
        assert!(is_alone(&mut Recovered::default(), 3));
        // An uncommitted promotion of this member is kept.
        let promotion = ChangeMembers { promote: 3, ..ChangeMembers::default() };
        let mut promoted = super::tests::recovered(state(Some(3)), 1, &[change(2, promotion)]);
        let forced = super::tests::forced(&mut promoted, 3);
        let indexes = forced.batch.records.iter().map(|record| record.index);
        assert_eq!(Vec::from_iter(indexes), [3, 4]);
        let mut alone = state(None);
        let members = &mut alone.machine.members.by_id;
        *members = members.without(&MemberId(2)).without(&MemberId(3));
        alone.position = Position { index: 1, voters: vec![1], ..Position::default() };
        let mut alone = super::tests::recovered(alone, 1, &[put(2, "a")]);
        assert!(is_alone(&mut alone, 1));
    }
}
