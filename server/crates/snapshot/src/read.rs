//! Reads the state from a snapshot of Witan or of any version of etcd. Skips the membership, because a restore starts a new
//! cluster.

use std::path::Path;

use prost::Message as _;
use witan_api::v3::{authpb, etcdserverpb::AlarmMember, mvccpb};
use witan_bolt::{BoltError, BoltFile, Bucket, VisitRecord};
use witan_machine::{
    StateMachine, alarm,
    auth::{Auth, Permission, Role, User},
    command::{Command, Entry},
    kv::{ImportedVersion, Kv},
    lease::{Lease, LeaseId},
    levels, record,
    revision::Revision,
};

use super::{
    file::{WITAN_BUCKET, decode_witan_record},
    level,
    record::parse_revision,
    schema::{
        self, AUTH, AUTH_ENABLED, AUTH_REVISION, AUTH_ROLES, AUTH_USERS, FINISHED_COMPACT, KEY,
        LEASE, META, SCHEDULED_COMPACT,
    },
};

/// The contents of a snapshot.
#[derive(Debug)]
pub struct ImportedSnapshot {
    /// The state. Its registry has the cluster's feature level, and no members.
    pub machine: StateMachine,
    /// Whether the snapshot contains Witan's own bucket, and therefore a v2 tree.
    pub has_tree: bool,
}

/// Callback after each imported record of the key space, with the state built so far and the size of the record in bytes. An
/// error that it returns ends the import.
pub type OnRecordBuilt<'a, E> = dyn FnMut(&StateMachine, usize) -> Result<(), E> + 'a;

/// Reads a snapshot from the first `length` bytes of a file. Omits revisions after `up_to`. Fails if the snapshot was compacted
/// at a later revision. Fails with `Later` if this release does not know the cluster's feature level or one of Witan's own
/// records. Returns the first error of `built`.
pub fn read<E: From<BoltError>>(
    path: &Path,
    length: u64,
    up_to: Option<Revision>,
    built: &mut OnRecordBuilt<'_, E>,
) -> Result<ImportedSnapshot, E> {
    let file = SnapshotBuckets::open(path, length)?;
    file.read(up_to.unwrap_or(Revision(i64::MAX)), true, built)
}

/// Reads the users and roles of a snapshot, but not its keys. Arguments and errors have the same meaning as in [`read`].
pub fn read_auth(path: &Path, length: u64) -> Result<Auth, BoltError> {
    let machine = SnapshotBuckets::open(path, length)?.read_other_buckets()?;
    check(&machine)?;
    Ok(machine.auth)
}

/// Fails if a counter of the imported state is too close to its limit.
fn check(machine: &StateMachine) -> Result<(), BoltError> {
    let checked = machine.check_import();
    checked.map_err(|error| BoltError::Invalid(error.to_string()))
}

/// An open snapshot file and its buckets, by name.
pub(super) struct SnapshotBuckets {
    file: BoltFile,
    buckets: Vec<(Vec<u8>, Bucket)>,
}

impl SnapshotBuckets {
    /// Reads the list of buckets of the snapshot in the first `length` bytes of a file. Fails if these bytes are not a valid
    /// bbolt file.
    pub(super) fn open(path: &Path, length: u64) -> Result<Self, BoltError> {
        let file = BoltFile::open(path, length)?;
        let buckets = file.buckets()?;
        Ok(Self { file, buckets })
    }

    /// Returns the bucket with this name, or `None` if the file does not contain it.
    fn find(&self, name: &str) -> Option<&Bucket> {
        let mut buckets = self.buckets.iter();
        let found = buckets.find(|(known, _)| known == name.as_bytes());
        found.map(|(_, bucket)| bucket)
    }

    /// Calls `each` with every record of a bucket. A missing bucket is treated as empty.
    fn records(&self, name: &str, each: &mut VisitRecord<'_>) -> Result<(), BoltError> {
        let bucket = self.find(name);
        bucket.map_or(Ok(()), |bucket| self.file.records(bucket, each))
    }

    /// Calls `each` with every record of the bucket of keys. Fails if the bucket is missing.
    pub(super) fn keys(&self, each: &mut VisitRecord<'_>) -> Result<(), BoltError> {
        let missing = || BoltError::Invalid("the snapshot has no bucket \"key\"".into());
        let keys = self.find(KEY).ok_or_else(missing)?;
        self.file.records(keys, each)
    }

    /// Reads users, roles and Witan's own bucket into a state without keys, leases and alarms.
    fn read_other_buckets(&self) -> Result<StateMachine, BoltError> {
        let auth = self.auth()?;
        let mut machine = StateMachine { auth, ..StateMachine::default() };
        self.import_witan_records(&mut machine)?;
        Ok(machine)
    }

    /// Reads the state. `up_to` and `built` have the same meaning as in [`read`]. If `values` is false, all values are empty.
    pub(super) fn read<E: From<BoltError>>(
        &self,
        up_to: Revision,
        values: bool,
        built: &mut OnRecordBuilt<'_, E>,
    ) -> Result<ImportedSnapshot, E> {
        // Read the other buckets before the keys, so that a file from a later release is refused early.
        let mut machine = self.read_other_buckets()?;
        self.import_keys((up_to, values), &mut machine, built)?;
        let [finished, scheduled] = self.compactions()?;
        let compacted = finished.max(scheduled);
        if compacted > up_to {
            let text = format!(
                "the snapshot is compacted up to revision {compacted}, so revision {up_to} cannot be restored"
            );
            return Err(BoltError::Invalid(text).into());
        }
        self.import_leases(&mut machine.kv)?;
        let finish = machine.kv.finish_import(finished, scheduled);
        finish.map_err(refused)?;
        self.import_alarms(&mut machine)?;
        check(&machine)?;
        let has_tree = self.find(WITAN_BUCKET).is_some();
        Ok(ImportedSnapshot { machine, has_tree })
    }

    /// Imports all versions of all keys up to the revision `up_to`, with empty values if `values` is false. Fails if a record
    /// is invalid or out of order, or if `built` fails.
    fn import_keys<E: From<BoltError>>(
        &self,
        (up_to, values): (Revision, bool),
        machine: &mut StateMachine,
        built: &mut OnRecordBuilt<'_, E>,
    ) -> Result<(), E> {
        let (mut last, mut stopped) = ((Revision::NONE, 0), None);
        let read = self.keys(&mut |key, value| {
            let wrong =
                |what: &str| BoltError::Invalid(format!("record {}: {what}", key.escape_ascii()));
            let (main, sub, deletes) =
                parse_revision(key).ok_or_else(|| wrong("its key is not a revision"))?;
            if (main, sub) <= last {
                return Err(wrong("its revision is duplicate or out of order"));
            }
            last = (main, sub);
            if main > up_to {
                return Ok(());
            }
            let pair = mvccpb::KeyValue::decode(value)
                .map_err(|error| wrong(&format!("its value is not a key-value pair: {error}")))?;
            let of_other = pair.mod_revision != main.0 && !deletes && !pair.key.is_empty();
            if of_other {
                return Err(wrong("its key-value pair has another revision"));
            }
            let version = ImportedVersion {
                main,
                sub,
                deletes,
                key: &pair.key,
                value: if values { &pair.value } else { &[] },
                create_revision: Revision(pair.create_revision),
                version: pair.version,
                lease: LeaseId(pair.lease),
            };
            machine.kv.import_version(&version).map_err(refused)?;
            built(machine, key.len() + value.len()).map_err(|error| {
                stopped = Some(error);
                BoltError::Invalid("the caller has stopped".into())
            })
        });
        match stopped {
            Some(error) => Err(error),
            None => Ok(read?),
        }
    }

    /// Returns the revisions of the last finished and the last scheduled compaction; 0 means that there was none. Fails if a
    /// value is not a revision.
    fn compactions(&self) -> Result<[Revision; 2], BoltError> {
        let mut found = [Revision::NONE; 2];
        self.records(META, &mut |key, value| {
            let names = [FINISHED_COMPACT, SCHEDULED_COMPACT];
            if let Some(at) = names.iter().position(|name| name.as_bytes() == key) {
                let (main, ..) = parse_revision(value).ok_or_else(|| {
                    BoltError::Invalid(format!("{}: its value is not a revision", names[at]))
                })?;
                found[at] = main;
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Imports all leases. Fails if a record cannot be decoded or its id differs from its key.
    fn import_leases(&self, kv: &mut Kv) -> Result<(), BoltError> {
        self.records(LEASE, &mut |key, value| {
            let stored: schema::LeaseMessage = decode("a lease", value)?;
            let id = LeaseId(stored.id);
            if key != stored.id.to_be_bytes() {
                let text = format!("lease {id}: its record has another id");
                return Err(BoltError::Invalid(text));
            }
            let lease = Lease { ttl_s: stored.ttl_s, remaining_ttl_s: stored.remaining_ttl_s };
            kv.import_lease(id, lease).map_err(refused)
        })
    }

    /// Reads the v3 users and roles, the auth revision (1 if it is missing), and whether authentication is enabled. Fails if a
    /// record cannot be decoded.
    fn auth(&self) -> Result<Auth, BoltError> {
        let (mut enabled, mut revision) = (false, 1);
        self.records(AUTH, &mut |key, value| {
            if key == AUTH_ENABLED.as_bytes() {
                enabled = value == [1];
            } else if key == AUTH_REVISION.as_bytes() {
                let number = value.try_into().map(u64::from_be_bytes);
                revision = number.map_err(|_| {
                    BoltError::Invalid(format!("{AUTH_REVISION}: its value is not a number"))
                })?;
            }
            Ok(())
        })?;
        let mut roles = Vec::new();
        self.records(AUTH_ROLES, &mut |key, value| {
            let stored: authpb::Role = decode("a role", value)?;
            let permissions = stored.key_permission.into_iter();
            roles.push(Role {
                name: name(key, &stored.name)?,
                permissions: permissions
                    .map(|permission| Permission {
                        kind: permission.perm_type,
                        key: permission.key,
                        range_end: permission.range_end,
                    })
                    .collect(),
            });
            Ok(())
        })?;
        let mut users = Vec::new();
        self.records(AUTH_USERS, &mut |key, value| {
            let stored: authpb::User = decode("a user", value)?;
            let mut roles = stored.roles;
            roles.sort_unstable();
            users.push(User {
                name: name(key, &stored.name)?,
                password: stored.password,
                roles,
                no_password: stored.options.is_some_and(|options| options.no_password),
            });
            Ok(())
        })?;
        Ok(Auth::restored(enabled, revision, users, roles))
    }

    /// Raises the snapshot's alarms in `machine`. Fails if an alarm cannot be decoded.
    fn import_alarms(&self, machine: &mut StateMachine) -> Result<(), BoltError> {
        self.records("alarm", &mut |key, _| {
            let alarm: AlarmMember = decode("an alarm", key)?;
            let raise = alarm::AlarmCommand {
                action: alarm::AlarmAction::Activate as i32,
                member: alarm.member_id,
                kind: alarm.alarm,
            };
            machine.apply(&Entry {
                stamp: None,
                command: Some(Command::Alarm(raise)),
                caller: None,
            });
            Ok(())
        })
    }

    /// Imports the feature level, the v2 tree and v2 authentication from Witan's own bucket. Fails with `Later` if this release
    /// does not know the level or a record, and with `Invalid` if a record is damaged.
    fn import_witan_records(&self, machine: &mut StateMachine) -> Result<(), BoltError> {
        self.records(WITAN_BUCKET, &mut |_, value| {
            if let Some(found) = level::read(value, levels::OWN)? {
                machine.members.raised_level = found;
                return Ok(());
            }
            let (key, value) = decode_witan_record(value).ok_or_else(|| {
                BoltError::Invalid(
                    "a record in the bucket of Witan's own state cannot be decoded".into(),
                )
            })?;
            match key.first() {
                Some(&(record::TREE | record::AUTH)) => machine.load(key, value).map_err(refused),
                Some(section) => Err(refused(record::CorruptRecord::later(format!(
                    "a record has the unknown section {section}"
                )))),
                None => Err(BoltError::Invalid("a record has an empty key".into())),
            }
        })?;
        let loaded = machine.tree.finish_load();
        loaded.map_err(|error| refused(error.into()))
    }
}

/// Decodes a record or its key. `name` describes the record in the error.
fn decode<M: prost::Message + Default>(name: &str, bytes: &[u8]) -> Result<M, BoltError> {
    let decoded = M::decode(bytes);
    decoded.map_err(|error| BoltError::Invalid(format!("{name} cannot be decoded: {error}")))
}

/// Returns the name of a user or role as a string. Fails if the name is empty, not UTF-8 or different from its key.
fn name(key: &[u8], name: &[u8]) -> Result<String, BoltError> {
    let text = std::str::from_utf8(name).ok().filter(|_| key == name);
    let text = text.filter(|text| !text.is_empty());
    let wrong = || {
        BoltError::Invalid(format!(
            "{}: its name is empty, not UTF-8 or different from its key",
            key.escape_ascii()
        ))
    };
    text.map(str::to_owned).ok_or_else(wrong)
}

/// Converts the refusal of a record to `Later` or `Invalid`.
fn refused(error: record::CorruptRecord) -> BoltError {
    match error.is_later() {
        true => BoltError::Later(error.to_string()),
        false => BoltError::Invalid(error.to_string()),
    }
}

/// Adds `by` to the revision and compacts the key space at the new revision. Like etcdutl, adds a version without a key at the
/// new revision. Fails if the new revision is too high.
pub fn bump_revision(kv: &mut Kv, by: u64) -> Result<(), BoltError> {
    let latest = kv.revision();
    let raised = i64::try_from(by)
        .ok()
        .and_then(|by| latest.0.checked_add(by));
    let main = raised.ok_or_else(|| BoltError::Invalid("the revision is too high".into()))?;
    let main = Revision(main);
    let nothing = ImportedVersion { main, ..ImportedVersion::default() };
    kv.import_version(&nothing).map_err(refused)?;
    kv.finish_import(Revision::NONE, main).map_err(refused)
}
