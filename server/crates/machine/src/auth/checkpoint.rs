//! Users and roles as checkpoint records. The v3 flag and the auth revision share a record. The v2 flag, each role, each user,
//! and each role's v2 patterns have separate records.

use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, ordmap::DiffItem};
use prost::Message as _;

use super::{Auth, Permission, Role, User, path_permissions::PathPatterns};
use crate::{
    record::{self, COUNT_MAX, CorruptRecord, Emit, RecordChange},
    secrets::debug_without_secrets,
};

/// First bytes of the record keys, one for each kind of record.
const META: u8 = b'm';
const PATHS_META: u8 = b'n';
const PATTERNS: u8 = b'p';
const ROLE: u8 = b'r';
const USER: u8 = b'u';

#[derive(Clone, PartialEq, prost::Message)]
struct StoredAuthMeta {
    #[prost(bool, tag = "1")]
    enabled: bool,
    #[prost(uint64, tag = "2")]
    revision: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct StoredUser {
    #[prost(bytes = "bytes", tag = "1")]
    password: Bytes,
    #[prost(string, repeated, tag = "2")]
    roles: Vec<String>,
    #[prost(bool, tag = "3")]
    no_password: bool,
}

debug_without_secrets!(StoredUser);

#[derive(Clone, PartialEq, prost::Message)]
struct StoredRole {
    #[prost(message, repeated, tag = "1")]
    permissions: Vec<Permission>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredPaths {
    #[prost(bool, tag = "1")]
    enabled: bool,
    #[prost(bool, tag = "2")]
    written: bool,
}

/// Overwrites the password hash in a user's record with zeros. `key` excludes the section byte. Empties a user's record that
/// cannot be decoded. Does not change other records.
pub fn hide_password(key: &[u8], value: &mut Vec<u8>) {
    if key.first() != Some(&USER) {
        return;
    }
    *value = StoredUser::decode(&value[..]).map_or_else(
        |_| Vec::new(),
        |mut user| {
            user.password = vec![0; user.password.len()].into();
            user.encode_to_vec()
        },
    );
}

impl Auth {
    /// Emits the records of v2 authentication that differ from `since`. `None` means an empty state.
    pub(crate) fn path_auth_changes(&self, since: Option<&Auth>, emit: &mut Emit<'_>) {
        let empty = Auth::default();
        let since = since.unwrap_or(&empty);
        let meta =
            |auth: &Auth| StoredPaths { enabled: auth.paths.enabled, written: auth.paths.written };
        if meta(self) != meta(since) {
            emit(RecordChange::Put { key: vec![PATHS_META], value: meta(self).encode_to_vec() });
        }
        let patterns = (&since.paths.patterns, &self.paths.patterns);
        changed_entries(PATTERNS, patterns, emit, PathPatterns::encode_to_vec);
    }

    /// Emits all records of users, roles and authentication that differ from `since`. `None` means an empty state.
    pub(crate) fn changes(&self, since: Option<&Auth>, emit: &mut Emit<'_>) {
        let empty = Auth::default();
        let since = since.unwrap_or(&empty);
        let meta = |auth: &Auth| StoredAuthMeta { enabled: auth.enabled, revision: auth.revision };
        if meta(self) != meta(since) {
            emit(RecordChange::Put { key: vec![META], value: meta(self).encode_to_vec() });
        }
        changed_entries(ROLE, (&since.roles, &self.roles), emit, |role| {
            let stored = StoredRole { permissions: role.permissions.clone() };
            stored.encode_to_vec()
        });
        self.path_auth_changes(Some(since), emit);
        changed_entries(USER, (&since.users, &self.users), emit, |user| {
            let stored = StoredUser {
                password: user.password.clone(),
                roles: user.roles.clone(),
                no_password: user.no_password,
            };
            stored.encode_to_vec()
        });
    }

    /// Loads one checkpoint record. [`Self::finish_load`] must follow the last record. Fails if the record is invalid or from a
    /// later release.
    pub(crate) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptRecord> {
        match key.split_first() {
            Some((&META, [])) => {
                let stored: StoredAuthMeta = record::decode("v3 authentication", value)?;
                if stored.revision == 0 || stored.revision > COUNT_MAX {
                    return Err(CorruptRecord::new("auth: invalid revision"));
                }
                self.enabled = stored.enabled;
                self.revision = stored.revision;
            }
            Some((&PATHS_META, [])) => {
                let stored: StoredPaths = record::decode("v2 authentication", value)?;
                self.paths.enabled = stored.enabled;
                self.paths.written = stored.written;
            }
            Some((&PATTERNS, name)) => {
                let patterns = record::decode("v2 patterns of a role", value)?;
                self.insert_patterns(text(name)?, patterns);
            }
            Some((&ROLE, name)) => {
                let stored: StoredRole = record::decode("role", value)?;
                let role = Role { name: text(name)?, permissions: stored.permissions };
                self.insert_role(role);
            }
            Some((&USER, name)) => {
                let stored: StoredUser = record::decode("user", value)?;
                let user = User {
                    name: text(name)?,
                    password: stored.password,
                    roles: stored.roles,
                    no_password: stored.no_password,
                };
                self.insert_user(user);
            }
            Some(_) => {
                let name = key.escape_ascii();
                return Err(CorruptRecord::later(format!(
                    "auth record {name} is unknown"
                )));
            }
            None => return Err(CorruptRecord::new("auth: empty key")),
        }
        Ok(())
    }

    /// Computes the merged permissions of all users, after the last record has been loaded.
    pub(crate) fn finish_load(&mut self) {
        self.refresh_where(|_| true);
    }
}

/// Converts the name in a record's key to a string. Fails if the name is not UTF-8.
fn text(name: &[u8]) -> Result<String, CorruptRecord> {
    String::from_utf8(name.to_vec()).map_err(|_| CorruptRecord::new("auth: a name is not UTF-8"))
}

type ByName<T> = OrdMap<String, Arc<T>>;

/// Emits a record for each entry that differs between `old` and `new`: a put with the encoded value, or a deletion. The
/// record's key is `kind` followed by the entry's name.
fn changed_entries<T: PartialEq>(
    kind: u8,
    (old, new): (&ByName<T>, &ByName<T>),
    emit: &mut Emit<'_>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    let key = |name: &String| [&[kind], name.as_bytes()].concat();
    for item in old.diff(new) {
        emit(match item {
            DiffItem::Add(name, value) | DiffItem::Update { new: (name, value), .. } => {
                RecordChange::Put { key: key(name), value: encode(value) }
            }
            DiffItem::Remove(name, _) => RecordChange::Delete { key: key(name) },
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        auth::{AccessCheck, Caller, PermissionType},
        lease::Leases,
    };

    type Records = BTreeMap<Vec<u8>, Vec<u8>>;

    /// Applies the changes since `since` to the records of a checkpoint.
    fn write(records: &mut Records, auth: &Auth, since: Option<&Auth>) {
        auth.changes(since, &mut |change| match change {
            RecordChange::Put { key, value } => drop(records.insert(key, value)),
            RecordChange::Delete { key } => drop(records.remove(&key)),
        });
    }

    fn load(records: &Records) -> Result<Auth, CorruptRecord> {
        let mut auth = Auth::default();
        for (key, value) in records {
            auth.load(key, value)?;
        }
        auth.finish_load();
        Ok(auth)
    }

    /// Returns a state with enabled authentication, two users and a role with v2 and v3 permissions.
    fn sample() -> Auth {
        let user = |name: &str, roles: &[&str]| User {
            name: name.into(),
            password: "hash".into(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            no_password: name == "cert",
        };
        let permission = Permission {
            kind: PermissionType::Read as i32,
            key: "a".into(),
            range_end: "c".into(),
        };
        let role = Role { name: "app".into(), permissions: vec![permission] };
        let users = [user("root", &["root"]), user("cert", &["app"])];
        let mut auth = Auth::restored(true, 9, users, [role]);
        auth.paths.enabled = true;
        let patterns = PathPatterns { read: vec!["/app/*".into()], write: Vec::new() };
        auth.paths.patterns.insert("app".into(), Arc::new(patterns));
        auth
    }

    #[test]
    fn users_and_roles_survive_a_checkpoint() {
        let (auth, mut records) = (sample(), Records::new());
        write(&mut records, &auth, None);
        let loaded = load(&records).unwrap();
        assert!(loaded.enabled() && loaded.revision() == 9);
        assert!(loaded.users().eq(auth.users()) && loaded.roles().eq(auth.roles()));
        assert_eq!(loaded.paths, auth.paths);
        let caller = Caller { user: "cert".into(), revision: 9 };
        let none = Leases::default();
        let check = AccessCheck::new(&loaded, Some(&caller), &none);
        assert!(check.read(b"a", b"c").is_ok() && check.write(b"a", b"").is_err());
    }

    #[test]
    fn only_changed_records_are_written() {
        let (before, mut records) = (sample(), Records::new());
        write(&mut records, &before, None);
        let mut after = before.clone();
        after.users.remove("cert");
        after.paths.patterns.remove("app");
        after.revision += 1;
        let mut changed = Records::new();
        write(&mut changed, &after, Some(&before));
        assert_eq!(changed.keys().collect::<Vec<_>>(), [&[META]]);
        write(&mut records, &after, Some(&before));
        let loaded = load(&records).unwrap();
        assert!(loaded.users().eq(after.users()) && loaded.revision() == 10);
        assert_eq!(loaded.paths, after.paths);
    }

    #[test]
    fn invalid_records_are_refused() {
        for (key, value) in [
            (&b"x"[..], &b""[..]),
            (b"", b""),
            (b"m", b""),
            (b"n", b"x"),
            (b"u\xff", b""),
        ] {
            let mut auth = Auth::default();
            assert!(auth.load(key, value).is_err(), "{key:?}");
        }
    }
}
