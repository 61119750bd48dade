//! Commands without their values: a value becomes its length and a hash, of which a replay makes other bytes of that length.
//! So entries and messages have the sizes that they had, and values that are equal stay equal. The hash has a key that is
//! forgotten with the process: values cannot be guessed by their hashes. Connections of clients are hidden in the same way.
//! Passwords' hashes become zeros, with any settings.

use std::{mem, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use witan_machine::{
    auth::{AuthOperation, hide_password, path_permissions::PathAuthOperation},
    command::{Command, Entry},
    follow::FollowOperation,
    kv::{KvOperation, TargetValue, Txn, TxnOpKind},
};
use witan_replica::host::Connection;
use witan_tree::TreeOperation;

use crate::{bounds, value_hash::ValueHash};

/// The first byte of an encoded command that this release knows, as in the log.
pub(crate) const KNOWN: u8 = 1;
/// The first byte of one that it does not know; its length follows in four bytes, lowest first.
const UNKNOWN: u8 = 0xfe;

/// Bytes of a hidden value: its length and its hash.
const HIDDEN_BYTES: usize = 12;

/// Bytes of values that a replay makes up for one core: so much memory its keys take, whatever a file says.
const FILLED_BYTES_MAX: usize = 1 << 30;

/// Where the discovery service keeps new clusters, in the tree of v2. The next part of a path is the token of one: who knows it
/// may register there.
const REGISTRY: &[u8] = b"/_etcd/registry/";

/// Hides values on their way into a file.
#[derive(Clone, Debug)]
pub struct Hider {
    /// `None` if values stay as they are.
    hash: Option<Arc<ValueHash>>,
}

impl Hider {
    /// Begins to hide values under a new key, unless they stay in clear.
    pub fn new(values_in_clear: bool) -> Self {
        let hash = (!values_in_clear).then(|| Arc::new(ValueHash::new()));
        Self { hash }
    }

    /// Hides what a command holds, in place.
    pub(crate) fn hide(&self, entry: &mut Entry) {
        hide_secrets(entry);
        if let Some(hash) = &self.hash {
            each_value(entry, &mut |value| *value = length_and_hash(hash, value));
            if let Some(path) = path_with_token(entry) {
                *path = without_token(hash, path);
            }
        }
    }

    /// Calls `with` with the command as [`Self::hide`] leaves it, which then is as it was: a copy costs more.
    pub(crate) fn with_hidden(&self, entry: &mut Entry, with: impl FnOnce(&Entry)) {
        let is_rare = matches!(&entry.command, Some(Command::Auth(_) | Command::Follow(_)));
        if is_rare || path_with_token(entry).is_some() {
            let mut copy = entry.clone();
            self.hide(&mut copy);
            return with(&copy);
        }
        let Some(hash) = &self.hash else {
            return with(entry);
        };
        // most commands have one value
        let (mut first, mut more) = (None, Vec::new());
        each_value(entry, &mut |value| {
            let hidden = length_and_hash(hash, value);
            let value = mem::replace(value, hidden);
            match first {
                None => first = Some(value),
                Some(_) => more.push(value),
            }
        });
        with(entry);
        let mut values = first.into_iter().chain(more);
        each_value(entry, &mut |value| {
            *value = values.next().unwrap_or_default()
        });
    }

    /// A number in the place of that of a connection, which is made of the address of its client. Equal ones stay equal,
    /// and nothing else counts.
    pub(crate) fn hide_connection(&self, Connection(number): Connection) -> Connection {
        let hidden = |hash: &Arc<ValueHash>| hash.of_number(number).into();
        Connection(self.hash.as_ref().map_or(number, hidden))
    }

    /// Hides what an encoded command holds. One that does not decode, or of which not all is known, becomes its length.
    pub(crate) fn hide_encoded(&self, data: &Bytes) -> Bytes {
        let whole = |entry: &Entry| 1 + entry.encoded_len() == data.len();
        let known = data.first() == Some(&KNOWN);
        let decoded = known.then(|| Entry::decode(data.slice(1..)).ok().filter(whole));
        let mut hidden = BytesMut::with_capacity(64);
        match decoded.flatten() {
            Some(mut entry) => {
                self.hide(&mut entry);
                hidden.put_u8(KNOWN);
                entry.encode_raw(&mut hidden);
            }
            None => {
                hidden.put_u8(UNKNOWN);
                hidden.put_u32_le(u32::try_from(data.len()).unwrap_or(u32::MAX));
            }
        }
        hidden.freeze()
    }
}

/// Makes up the values that a recording holds as lengths and hashes.
#[derive(Clone, Debug)]
pub(crate) struct Filler {
    /// Whether nothing is to be made up.
    values_in_clear: bool,
    /// Bytes that may be made up.
    left: usize,
}

impl Filler {
    pub(crate) fn new(values_in_clear: bool) -> Self {
        Self { values_in_clear, left: FILLED_BYTES_MAX }
    }

    /// Whether a value was left out, because values together have more bytes than [`FILLED_BYTES_MAX`].
    pub(crate) fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    /// Replaces the hidden values of a command by bytes of their lengths.
    pub(crate) fn fill(&mut self, entry: &mut Entry) {
        if !self.values_in_clear {
            each_value(entry, &mut |value| *value = self.filled(value));
        }
    }

    /// Replaces the hidden values of an encoded command by bytes of their lengths. A command that was hidden as a whole,
    /// or that has too many fields, becomes a command that no release knows. Data that does not decode is returned as it is.
    pub(crate) fn fill_encoded(&mut self, data: &Bytes) -> Bytes {
        match data.split_first() {
            Some((&UNKNOWN, length)) => {
                let length = length.try_into().map_or(0, u32::from_le_bytes) as usize;
                vec![UNKNOWN; self.take(length)].into()
            }
            Some((&KNOWN, _)) if bounds::check_command(data).is_err() => {
                vec![UNKNOWN; self.take(data.len())].into()
            }
            Some((&KNOWN, _)) => {
                let Ok(mut entry) = Entry::decode(data.slice(1..)) else {
                    return data.clone();
                };
                self.fill(&mut entry);
                let mut filled = BytesMut::with_capacity(1 + entry.encoded_len());
                filled.put_u8(KNOWN);
                entry.encode_raw(&mut filled);
                filled.freeze()
            }
            Some(_) | None => data.clone(),
        }
    }

    /// Returns bytes of the length that a hidden value has, which repeat its hash.
    fn filled(&mut self, hidden: &Bytes) -> Bytes {
        let Some((length, hash)) = hidden.split_at_checked(4) else {
            return hidden.clone();
        };
        let length = length.try_into().map_or(0, u32::from_le_bytes) as usize;
        let hash = hash.iter().copied().cycle();
        hash.take(self.take(length)).collect()
    }

    /// Takes so many bytes of those that are left; if there are too few, none, and none is left.
    fn take(&mut self, bytes: usize) -> usize {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.map_or(0, |_| bytes)
    }
}

/// Returns what is recorded instead of a value: its length and its hash.
fn length_and_hash(hash: &ValueHash, value: &Bytes) -> Bytes {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    let mut hidden = [0; HIDDEN_BYTES];
    hidden[..4].copy_from_slice(&length.to_le_bytes());
    hidden[4..].copy_from_slice(&hash.of_value(value).to_le_bytes());
    Bytes::copy_from_slice(&hidden)
}

/// Returns the path of a command of v2, if it names a discovery token.
fn path_with_token(entry: &mut Entry) -> Option<&mut Bytes> {
    let Some(Command::Tree(command)) = &mut entry.command else {
        return None;
    };
    let path = match command.operation.as_mut()? {
        TreeOperation::Set(set) => &mut set.path,
        TreeOperation::Create(create) => &mut create.path,
        TreeOperation::Update(update) => &mut update.path,
        TreeOperation::CompareAndSwap(swap) => &mut swap.path,
        TreeOperation::CompareAndDelete(delete) => &mut delete.path,
        TreeOperation::Delete(delete) => &mut delete.path,
        TreeOperation::Expire(_) => return None,
    };
    path.starts_with(REGISTRY).then_some(path)
}

/// A path with the digits of a hash in the place of its token, as many as that has: a replay executes it as it is.
fn without_token(hash: &ValueHash, path: &Bytes) -> Bytes {
    let (registry, rest) = path.split_at(REGISTRY.len());
    let slash = rest.iter().position(|byte| *byte == b'/');
    let (token, below) = rest.split_at(slash.unwrap_or(rest.len()));
    let digits = format!("{:016x}", hash.of_value(token)).into_bytes();
    let digits = digits.iter().cycle().take(token.len());
    registry
        .iter()
        .chain(digits)
        .chain(below)
        .copied()
        .collect()
}

/// Hides passwords and tokens, which only commands of users and those of a cluster that follows hold.
fn hide_secrets(entry: &mut Entry) {
    let zeros = |password: &Bytes| Bytes::from(vec![0; password.len()]);
    match &mut entry.command {
        Some(Command::Auth(command)) => match &mut command.operation {
            Some(AuthOperation::UserAdd(user)) => user.password = zeros(&user.password),
            Some(AuthOperation::UserPassword(user)) => user.password = zeros(&user.password),
            // with the index of its entry it is a token
            Some(AuthOperation::Authenticate(login)) => {
                login.prefix = "0".repeat(login.prefix.len());
            }
            Some(AuthOperation::Paths(paths)) => match &mut paths.operation {
                Some(PathAuthOperation::UserCreate(user)) => user.password = zeros(&user.password),
                Some(PathAuthOperation::UserUpdate(user)) => user.password = zeros(&user.password),
                Some(
                    PathAuthOperation::Enable(_)
                    | PathAuthOperation::Disable(_)
                    | PathAuthOperation::UserDelete(_)
                    | PathAuthOperation::RoleCreate(_)
                    | PathAuthOperation::RoleUpdate(_)
                    | PathAuthOperation::RoleDelete(_),
                )
                | None => {}
            },
            Some(
                AuthOperation::Enable(_)
                | AuthOperation::Disable(_)
                | AuthOperation::UserDelete(_)
                | AuthOperation::UserGrant(_)
                | AuthOperation::UserRevoke(_)
                | AuthOperation::RoleAdd(_)
                | AuthOperation::RoleDelete(_)
                | AuthOperation::RoleGrant(_)
                | AuthOperation::RoleRevoke(_),
            )
            | None => {}
        },
        Some(Command::Follow(command)) => {
            if let Some(FollowOperation::Users(users)) = &mut command.operation {
                for record in &mut users.records {
                    hide_password(&record.key, &mut record.value);
                }
            }
        }
        Some(
            Command::Kv(_)
            | Command::Tree(_)
            | Command::Publish(_)
            | Command::ClusterVersion(_)
            | Command::Alarm(_)
            | Command::PeerUrls(_)
            | Command::Lease(_)
            | Command::Members(_)
            | Command::Downgrade(_),
        )
        | None => {}
    }
}

/// Calls `visit` with each value of a command.
fn each_value(entry: &mut Entry, visit: &mut dyn FnMut(&mut Bytes)) {
    match &mut entry.command {
        Some(Command::Kv(command)) => match &mut command.operation {
            Some(KvOperation::Put(put)) => visit(&mut put.value),
            Some(KvOperation::Txn(txn)) => values_of_txn(txn, visit),
            Some(KvOperation::Delete(_) | KvOperation::Compact(_) | KvOperation::Sweep(_))
            | None => {}
        },
        Some(Command::Tree(command)) => values_of_tree(command.operation.as_mut(), visit),
        Some(Command::Follow(command)) => {
            if let Some(FollowOperation::Revisions(followed)) = &mut command.operation {
                let revisions = followed.revisions.iter_mut();
                revisions
                    .flat_map(|revision| &mut revision.writes)
                    .for_each(|write| visit(&mut write.value));
            }
        }
        Some(
            Command::Publish(_)
            | Command::ClusterVersion(_)
            | Command::Alarm(_)
            | Command::PeerUrls(_)
            | Command::Lease(_)
            | Command::Auth(_)
            | Command::Members(_)
            | Command::Downgrade(_),
        )
        | None => {}
    }
}

fn values_of_txn(txn: &mut Txn, visit: &mut dyn FnMut(&mut Bytes)) {
    for compare in &mut txn.compare {
        if let Some(TargetValue::Value(value)) = &mut compare.value {
            visit(value);
        }
    }
    for operation in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut operation.kind {
            Some(TxnOpKind::Put(put)) => visit(&mut put.value),
            Some(TxnOpKind::Txn(nested)) => values_of_txn(nested, visit),
            Some(TxnOpKind::Range(_) | TxnOpKind::Delete(_)) | None => {}
        }
    }
}

fn values_of_tree(operation: Option<&mut TreeOperation>, visit: &mut dyn FnMut(&mut Bytes)) {
    match operation {
        Some(TreeOperation::Set(set)) => visit(&mut set.value),
        Some(TreeOperation::Create(create)) => visit(&mut create.value),
        Some(TreeOperation::Update(update)) => visit(&mut update.value),
        Some(TreeOperation::CompareAndSwap(swap)) => {
            visit(&mut swap.value);
            swap.prev_value.iter_mut().for_each(visit);
        }
        Some(TreeOperation::CompareAndDelete(delete)) => {
            delete.prev_value.iter_mut().for_each(visit);
        }
        Some(TreeOperation::Delete(_) | TreeOperation::Expire(_)) | None => {}
    }
}
