//! The changes that a restore applies after its snapshot. The changes are in a directory that `witan-operator backup fetch`
//! wrote.

use std::{collections::BTreeMap, fs, io, path::Path};

use witan_api::changes::{LogReader, SegmentId, TARGET, Target, Unreadable};
use witan_machine::{
    Reply, StateMachine,
    command::Entry,
    follow::{FollowError, FollowLeases, FollowOperation, FollowRevisions, FollowedRevision},
    lease::{LeaseGrant, TTL_MAX_S},
    revision::Revision,
};

/// The reason why changes were not applied.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    #[error("{path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{0} does not name a revision; fetch the backup and its changes again")]
    NoTarget(String),
    #[error("{path}: {why}")]
    Unreadable { path: String, why: Unreadable },
    #[error(
        "{folder}: the changes begin with revision {first}, but the snapshot has revision {last}; fetch the changes again"
    )]
    Later {
        folder: String,
        first: i64,
        last: i64,
    },
    #[error(
        "{folder}: the changes end at revision {last}, before the target revision {target}; fetch the changes again"
    )]
    Short {
        folder: String,
        last: i64,
        target: i64,
    },
    #[error("{path} does not fit the snapshot: {source}")]
    Refused { path: String, source: FollowError },
}

#[derive(Debug)]
pub(super) struct ChangesFolder<'a> {
    folder: &'a Path,
    target: Target,
}

impl<'a> ChangesFolder<'a> {
    /// Opens a directory of changes and reads its target revision.
    pub(super) fn open(folder: &'a Path) -> Result<Self, ChangesError> {
        let path = folder.join(TARGET);
        let json = fs::read(&path).map_err(unread(&path))?;
        let target = serde_json::from_slice(&json).ok();
        let target = target.ok_or_else(|| ChangesError::NoTarget(path.display().to_string()))?;
        Ok(Self { folder, target })
    }

    /// Returns the last revision to use from the snapshot, or `None` to use the entire snapshot.
    pub(super) fn up_to(&self) -> Option<Revision> {
        (!self.target.at_least).then_some(Revision(self.target.revision))
    }

    /// Applies the changes after the state's revision up to the target revision. Fails if the changes start later or end
    /// earlier, or if a file cannot be read or does not fit the state. Ignores files that are not segments. Calls `after_file`
    /// after each segment. After an error, `machine` is incomplete and must not be used.
    pub(super) fn apply<E: From<ChangesError>>(
        &self,
        machine: &mut StateMachine,
        after_file: &mut dyn FnMut(&StateMachine) -> Result<(), E>,
    ) -> Result<(), E> {
        let target = self.target.revision;
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.folder).map_err(unread(self.folder))? {
            let name = entry.map_err(unread(self.folder))?.file_name();
            ids.extend(name.to_str().and_then(SegmentId::parse));
        }
        ids.sort_unstable();
        let folder = || self.folder.display().to_string();
        let last = machine.kv.revision().0;
        if let Some(first) = ids.first().map(|id| id.first)
            && first > last + 1
            && last < target
        {
            return Err(ChangesError::Later { folder: folder(), first, last }.into());
        }
        // The state machine accepts another cluster's revisions only while `follows` is set.
        machine.members.follows = true;
        let mut log = LogReader::default();
        for id in ids {
            self.apply_file(id, &mut log, machine)?;
            after_file(machine)?;
        }
        machine.members.follows = false;
        let last = machine.kv.revision().0;
        match last >= target {
            true => Ok(()),
            false => Err(ChangesError::Short { folder: folder(), last, target }.into()),
        }
    }

    /// Applies the revisions in a file up to the target revision.
    fn apply_file(
        &self,
        id: SegmentId,
        log: &mut LogReader,
        machine: &mut StateMachine,
    ) -> Result<(), ChangesError> {
        let path = self.folder.join(id.file_name());
        let bytes = fs::read(&path).map_err(unread(&path))?;
        let shown = || path.display().to_string();
        let segment = log.read(id, &bytes);
        let segment = segment.map_err(|why| ChangesError::Unreadable { path: shown(), why })?;
        let leases = segment.leases.iter().map(|lease| (lease.id, lease.ttl_s));
        let leases: BTreeMap<i64, i64> = leases.collect();
        let mut revisions = Vec::new();
        for event in segment.groups.into_iter().flat_map(|group| group.events) {
            witan_follow::add_event(&mut revisions, event);
        }
        for revision in revisions {
            if revision.revision > self.target.revision {
                break;
            }
            apply_revision(machine, revision, &leases)
                .map_err(|source| ChangesError::Refused { path: shown(), source })?;
        }
        Ok(())
    }
}

/// Returns a function that creates [`ChangesError::Read`] for `path`, for `map_err`.
fn unread(path: &Path) -> impl FnOnce(io::Error) -> ChangesError {
    let path = path.display().to_string();
    move |source| ChangesError::Read { path, source }
}

/// Applies a revision. First ends the leases of keys that the revision creates, except leases that have keys or are not in
/// `leases`. Then grants missing leases. `leases` contains the TTLs in seconds by lease id; any other lease gets the maximum
/// TTL.
fn apply_revision(
    machine: &mut StateMachine,
    revision: FollowedRevision,
    leases: &BTreeMap<i64, i64>,
) -> Result<(), FollowError> {
    // A lease that was granted again may have a different TTL, so its old grant ends first. A lease that still has keys does
    // not end.
    let created = revision.writes.iter().filter(|write| write.version == 1);
    let leased = created.map(|write| write.lease);
    let ended: Vec<i64> = leased.filter(|id| leases.contains_key(id)).collect();
    if !ended.is_empty() {
        let leases = FollowLeases { granted: Vec::new(), ended };
        apply_operation(machine, FollowOperation::Leases(leases))?;
    }
    let operation = FollowOperation::Revisions(FollowRevisions { revisions: vec![revision] });
    loop {
        match apply_operation(machine, operation.clone()) {
            Err(FollowError::LeaseNotFound { lease }) => {
                let ttl_s = leases.get(&lease.0).copied().unwrap_or(TTL_MAX_S);
                let granted = vec![LeaseGrant { id: lease.0, ttl_s }];
                let leases = FollowLeases { granted, ended: Vec::new() };
                apply_operation(machine, FollowOperation::Leases(leases))?;
            }
            outcome => return outcome,
        }
    }
}

/// Applies a follow operation without a stamp. Fails if the state machine refuses the operation.
fn apply_operation(
    machine: &mut StateMachine,
    operation: FollowOperation,
) -> Result<(), FollowError> {
    let entry = Entry::unstamped(operation.into(), None);
    let Reply::Followed(outcome) = machine.apply(&entry).reply else {
        unreachable!("the reply belongs to another command");
    };
    outcome
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use bytes::Bytes;
    use witan_api::{
        changes::{self, ChangeGroup, GrantedLease, Segment},
        v3::mvccpb::{Event, KeyValue, event::EventType},
    };
    use witan_machine::kv::{Kv, Range};

    use super::*;

    /// Returns a put, or a deletion if `version` is 0. The key `leased` has the lease 9.
    fn event(key: &'static str, mod_revision: i64, version: i64) -> Event {
        let kind = if version == 0 {
            EventType::Delete
        } else {
            EventType::Put
        };
        let value = if version == 0 { "" } else { "v" };
        let kv = KeyValue {
            key: key.into(),
            value: value.into(),
            mod_revision,
            version,
            lease: 9 * i64::from(key == "leased"),
            ..KeyValue::default()
        };
        Event { r#type: kind as i32, kv: Some(kv), ..Event::default() }
    }

    /// Returns the newest version of a key. Panics if the key does not exist.
    fn newest(kv: &Kv, key: &'static [u8]) -> witan_machine::kv::KeyValue {
        let range = Range { key: key.into(), ..Range::default() };
        kv.range(&range, witan_machine::kv::ValueSource::Memory)
            .unwrap()
            .kvs
            .remove(0)
    }

    struct Folder(PathBuf);

    impl Folder {
        /// Creates a directory with revisions 2 to 5 in two segments, and this target revision.
        fn new(name: &str, target: i64) -> Self {
            let path = format!("witan-changes-{name}-{}", std::process::id());
            let folder = Self(std::env::temp_dir().join(path));
            drop(fs::remove_dir_all(&folder.0));
            fs::create_dir_all(&folder.0).unwrap();
            folder.put(
                2,
                vec![event("a", 2, 1), event("leased", 2, 1), event("a", 3, 2)],
            );
            folder.put(
                4,
                vec![event("a", 4, 0), event("b", 4, 1), event("a", 5, 1)],
            );
            let json = serde_json::to_vec(&Target { revision: target, at_least: false });
            fs::write(folder.0.join(TARGET), json.unwrap()).unwrap();
            folder
        }

        fn put(&self, first: i64, events: Vec<Event>) {
            self.put_with(first, events, 60);
        }

        /// Writes a segment in which the lease 9 has this TTL.
        fn put_with(&self, first: i64, events: Vec<Event>, ttl_s: i64) {
            let before = fs::read(self.segment(2)).ok().filter(|_| first > 2);
            let segment = Segment {
                cluster_id: 7,
                groups: vec![ChangeGroup { time_ms: 1, events }],
                leases: vec![GrantedLease { id: 9, ttl_s }],
                previous: before.map_or(Bytes::new(), |bytes| changes::digest(&bytes)),
                covered_ms: 0,
            };
            fs::write(self.segment(first), changes::encode(&segment)).unwrap();
        }

        fn segment(&self, first: i64) -> PathBuf {
            let id = SegmentId { generation: 1, first, number: 0 };
            self.0.join(id.file_name())
        }

        fn apply(&self) -> Result<StateMachine, String> {
            let mut machine = StateMachine::default();
            let changes = ChangesFolder::open(&self.0).map_err(|error| error.to_string())?;
            let applied = changes.apply(&mut machine, &mut |_| Ok::<(), ChangesError>(()));
            applied.map(|()| machine).map_err(|error| error.to_string())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn changes_are_applied_up_to_the_target_revision() {
        let kv = Folder::new("all", 5).apply().unwrap().kv;
        let shown = |key: &'static [u8]| {
            let pair = newest(&kv, key);
            (
                pair.create_revision.0,
                pair.mod_revision.0,
                pair.version,
                pair.lease.0,
            )
        };
        assert_eq!((shown(b"a"), shown(b"b")), ((5, 5, 1, 0), (4, 4, 1, 0)));
        assert_eq!(shown(b"leased"), (2, 2, 1, 9));
        let lease = kv.leases().get(witan_machine::lease::LeaseId(9));
        assert_eq!(lease.map(|lease| lease.ttl_s), Some(60));
        assert_eq!(
            kv.leases().keys(witan_machine::lease::LeaseId(9)).count(),
            1
        );
        let kv = Folder::new("some", 3).apply().unwrap().kv;
        let a = newest(&kv, b"a");
        assert_eq!((kv.revision().0, a.version), (3, 2));
    }

    #[test]
    fn a_lease_that_was_granted_again_has_its_new_ttl() {
        let ttl_s = |events| {
            let folder = Folder::new("again", 5);
            folder.put_with(4, events, 10);
            let kv = folder.apply().unwrap().kv;
            let lease = kv.leases().get(witan_machine::lease::LeaseId(9));
            lease.map(|lease| lease.ttl_s)
        };
        let again = vec![event("leased", 4, 0), event("leased", 5, 1)];
        assert_eq!(ttl_s(again), Some(10));
        let lived_on = vec![event("a", 4, 0), event("leased", 5, 2)];
        assert_eq!(ttl_s(lived_on), Some(60));
    }

    #[test]
    fn errors_name_missing_and_broken_changes() {
        let refused = |name, words: &str, harm: &dyn Fn(&Folder)| {
            let folder = Folder::new(name, 5);
            harm(&folder);
            let error = folder.apply().unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        let rewrite = |folder: &Folder, change: &dyn Fn(&mut Vec<u8>)| {
            let path = folder.segment(4);
            let mut bytes = fs::read(&path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        };
        refused("flip", "do not match the digest", &|folder| {
            rewrite(folder, &|bytes| bytes[30] ^= 1)
        });
        refused("cut", "is broken", &|folder| {
            rewrite(folder, &|bytes| bytes.truncate(20))
        });
        refused(
            "end",
            "end at revision 3, before the target revision 5",
            &|folder| {
                fs::remove_file(folder.segment(4)).unwrap();
            },
        );
        refused(
            "hole",
            "begin with revision 4, but the snapshot has revision 1",
            &|folder| {
                fs::remove_file(folder.segment(2)).unwrap();
            },
        );
        refused(
            "target",
            "fetch the backup and its changes again",
            &|folder| {
                fs::write(folder.0.join(TARGET), "5").unwrap();
            },
        );
        refused("other", "does not fit the snapshot", &|folder| {
            folder.put(4, vec![event("a", 4, 1), event("a", 5, 2)]);
        });
    }
}
