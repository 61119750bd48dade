//! Builds the state of an etcd member at the last entry that is known to be committed, from its backend and log.

use std::collections::BTreeSet;

use witan_etcd::{BackendMeta, ConfChangeKind, EntryPayload, EtcdDirectory, LogEntry};
use witan_machine::{
    StateMachine,
    command::Command,
    kv::ReadResults,
    member::{Member, MemberId, MemberRegistry},
    view::{Position, View},
};
use witan_snapshot::{self as snapshot, OnRecordBuilt, v2_store::V2Store};

use super::{
    AdoptError, entry,
    refused::{current_members, is_refused},
};

/// Returns the state and the names of users and roles that were merged because both v2 and v3 had them. After each backend
/// record, calls `built` with the state and the record's size in bytes. After each applied entry of the log, calls `built` with
/// size 0.
pub(super) fn committed(
    etcd: &EtcdDirectory,
    built: &mut OnRecordBuilt<'_, AdoptError>,
) -> Result<(View, Vec<String>), AdoptError> {
    let backend = &etcd.backend;
    let mut machine = snapshot::read(&backend.path, backend.length, None, built)?.machine;
    let mut v2 = match &etcd.snapshot {
        Some(snapshot) if !snapshot.data.is_empty() => V2Store::read(&snapshot.data)?,
        Some(_) | None => V2Store::default(),
    };
    // etcd keeps Witan's bucket when it restores a snapshot, so the backend can contain a feature level.
    let raised_level = machine.members.raised_level;
    machine.members = MemberRegistry { raised_level, ..registry(backend) };
    // A leader may apply an entry before it writes the entry to its log.
    let last = etcd.hard_state.commit.max(backend.consistent_index);
    let mut refused = BTreeSet::new();
    for log in etcd.entries.iter().filter(|log| log.index <= last) {
        let change = entry::of(log, etcd.cluster_id)?;
        let command = match &change {
            entry::Change::Entry(entry) => entry.command.as_ref(),
            entry::Change::None | entry::Change::PathAuth => None,
        };
        if let Some(command @ (Command::Members(_) | Command::PeerUrls(_))) = command
            && is_refused(
                command,
                log.index,
                backend,
                &current_members(backend, &v2, &machine.members)?,
            )
        {
            refused.insert(log.index);
        } else {
            apply_v2(&mut v2, log, &change);
        }
        if let entry::Change::Entry(entry) = change
            && log.index > backend.consistent_index
        {
            machine.apply_with(&entry, ReadResults::Discard);
            // The adopted state has no watchers that read the states before compactions.
            machine.kv.clear_states_before_compaction();
            built(&machine, 0)?;
        }
    }
    // etcd up to 3.5 reads its members from the v2 store. After `etcdctl snapshot restore`, the backend contains another
    // cluster's members.
    if backend.storage_version.is_none() {
        let downgrade_target = std::mem::take(&mut machine.members.downgrade_target);
        machine.members = MemberRegistry { downgrade_target, raised_level, ..v2.members()? };
    }
    machine.members.cluster_id = etcd.cluster_id;
    machine.tree = v2.keys();
    let shared_names = v2.import_auth(&mut machine.auth)?;
    let position = position(etcd, last, &machine, &refused)?;
    Ok((View { machine, position }, shared_names))
}

/// Builds the member registry from the backend, without the cluster id and the feature level.
pub(super) fn registry(backend: &BackendMeta) -> MemberRegistry {
    let members = backend.members.iter().cloned();
    let members = members.map(|shown| (MemberId(shown.id), snapshot::known_member(shown)));
    let downgrade = backend.downgrade.as_ref().filter(|it| it.enabled);
    MemberRegistry {
        cluster_version: backend.cluster_version.clone().unwrap_or_default(),
        downgrade_target: downgrade.map_or_else(String::new, |it| it.target_version.clone()),
        by_id: members.collect(),
        removed_ids: backend.removed.iter().copied().map(MemberId).collect(),
        ..MemberRegistry::default()
    }
}

/// Applies an entry to the v2 store, if the entry concerns the store.
fn apply_v2(v2: &mut V2Store, log: &LogEntry, change: &entry::Change) {
    if let EntryPayload::RequestV2(request) = &log.payload {
        v2.apply(request);
        return;
    }
    let entry::Change::Entry(entry) = change else {
        return;
    };
    match &entry.command {
        Some(Command::Members(asked)) => v2.change_members(asked),
        Some(Command::PeerUrls(asked)) => v2.set_peer_urls(asked),
        Some(Command::Publish(asked)) => v2.publish(asked),
        Some(Command::ClusterVersion(asked)) => v2.set_cluster_version(asked),
        Some(
            Command::Kv(_)
            | Command::Lease(_)
            | Command::Tree(_)
            | Command::Alarm(_)
            | Command::Auth(_)
            | Command::Downgrade(_)
            | Command::Follow(_),
        )
        | None => {}
    }
}

/// Returns the position of the state in the log, including its voters and learners. Fails if raft's configuration differs from
/// the member list, this member was removed, or the term at `index` is unknown. `refused` contains the indexes of the changes
/// that etcd has refused.
fn position(
    etcd: &EtcdDirectory,
    index: u64,
    machine: &StateMachine,
    refused: &BTreeSet<u64>,
) -> Result<Position, AdoptError> {
    let member_id = MemberId(etcd.member_id);
    let members = &machine.members.by_id;
    if !members.contains_key(&member_id) {
        return Err(AdoptError::Removed { member_id });
    }
    let (learners, voters): (Vec<&Member>, Vec<&Member>) =
        members.values().partition(|member| member.learner);
    let ids = |members: Vec<&Member>| members.iter().map(|member| member.id).collect();
    let registered = [ids(voters), ids(learners)];
    let in_raft = configuration(etcd, index, refused);
    if registered != in_raft {
        return Err(AdoptError::Members { registered, in_raft });
    }
    let [voters, learners] = registered;
    Ok(Position {
        index,
        term: term(etcd, index)?,
        voters,
        learners,
        ..Position::default()
    })
}

/// Returns the voters and the learners of raft's configuration at entry `index`, each in ascending order. Skips the changes at
/// the indexes `refused`.
fn configuration(etcd: &EtcdDirectory, index: u64, refused: &BTreeSet<u64>) -> [Vec<u64>; 2] {
    let [mut voters, mut learners] = [BTreeSet::new(), BTreeSet::new()];
    if let Some(snapshot) = &etcd.snapshot {
        voters.extend(&snapshot.conf_state.voters);
        learners.extend(&snapshot.conf_state.learners);
    }
    let is_executed = |log: &&LogEntry| log.index <= index && !refused.contains(&log.index);
    for log in etcd.entries.iter().filter(is_executed) {
        let EntryPayload::ConfChange(change) = &log.payload else {
            continue;
        };
        let id = change.node_id;
        match ConfChangeKind::try_from(change.kind) {
            Ok(ConfChangeKind::AddNode) => {
                learners.remove(&id);
                voters.insert(id);
            }
            Ok(ConfChangeKind::AddLearnerNode) => {
                learners.insert(id);
            }
            Ok(ConfChangeKind::RemoveNode) => {
                voters.remove(&id);
                learners.remove(&id);
            }
            Ok(ConfChangeKind::UpdateNode) | Err(_) => {}
        }
    }
    [voters, learners].map(|ids| ids.into_iter().collect())
}

/// Returns the term of the entry at `index` from the log, the snapshot or the backend. Fails if none of them contains it.
fn term(etcd: &EtcdDirectory, index: u64) -> Result<u64, AdoptError> {
    let entries = etcd.entries.iter().map(|log| (log.index, log.term));
    let snapshot = etcd.snapshot.iter();
    let snapshot = snapshot.map(|snapshot| (snapshot.index, snapshot.term));
    let backend = (etcd.backend.consistent_index, etcd.backend.term);
    let mut known = entries.chain(snapshot).chain([backend]);
    known
        .find(|(at, _)| *at == index)
        .map(|(_, term)| term)
        .filter(|term| *term != 0)
        .ok_or_else(|| {
            AdoptError::entry(
                index,
                "it is in the backend, but not in the log; use another member's directory",
            )
        })
}
