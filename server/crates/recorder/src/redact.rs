//! Redacts commands for a recording: replaces values with zeros of the same length, so that entries and messages keep their
//! sizes. Always replaces passwords and users' tokens. Keeps values and discovery tokens if values are recorded in clear.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use witan_machine::{
    auth::{AuthOperation, hide_password, path_permissions::PathAuthOperation},
    command::{Command, Entry},
    follow::FollowOperation,
    kv::{KvOperation, TargetValue, Txn, TxnOpKind},
};
use witan_replica::wire::COMMAND_V1;
use witan_tree::TreeOperation;

/// Zeros for all values up to this length.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// First byte of the entry that replaces a command unknown to this release.
const UNKNOWN_COMMAND: u8 = 0xfe;

/// Directory of the discovery service in the v2 tree. The next path element is a token with which anyone can register.
const REGISTRY: &[u8] = b"/_etcd/registry/";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Redaction {
    pub(crate) values_in_clear: bool,
}

impl Redaction {
    /// Encodes and redacts a command that has no stamp yet.
    pub(crate) fn encode(self, entry: &Entry) -> Bytes {
        let mut entry = entry.clone();
        self.redact(&mut entry);
        entry.encode_to_vec().into()
    }

    /// Redacts an encoded command from the log or from a message. If it cannot be decoded, or contains fields from a later
    /// release, replaces it with a command that no release supports.
    pub(crate) fn redact_encoded(self, data: &Bytes) -> Bytes {
        let known = data.first() == Some(&COMMAND_V1);
        let decoded = known.then(|| Entry::decode(data.slice(1..)).ok()).flatten();
        let Some(mut entry) = decoded.filter(|entry| 1 + entry.encoded_len() == data.len()) else {
            let mut unknown = data.to_vec();
            unknown.fill(UNKNOWN_COMMAND);
            return unknown.into();
        };
        self.redact(&mut entry);
        let mut redacted = BytesMut::with_capacity(data.len());
        redacted.put_u8(COMMAND_V1);
        entry.encode_raw(&mut redacted);
        redacted.freeze()
    }

    /// Replaces secrets, and also values and discovery tokens unless they are recorded in clear.
    fn redact(self, entry: &mut Entry) {
        redact_secrets(entry);
        if !self.values_in_clear {
            each_value(entry, &mut |value| *value = zeros(value));
            if let Some(path) = path_with_token(entry) {
                *path = without_token(path);
            }
        }
    }
}

/// Returns zeros in the length of `value`, without an allocation for a short one.
fn zeros(value: &Bytes) -> Bytes {
    match ZEROS.get(..value.len()) {
        Some(zeros) => Bytes::from_static(zeros),
        None => vec![0; value.len()].into(),
    }
}

/// Returns the path of a v2 command on one key if it is in the discovery registry and may therefore contain a token.
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

/// Returns the path with zeros in place of its token. The length stays the same, so a replay executes the same command.
fn without_token(path: &Bytes) -> Bytes {
    let (registry, rest) = path.split_at(REGISTRY.len());
    let slash = rest.iter().position(|byte| *byte == b'/');
    let (token, below) = rest.split_at(slash.unwrap_or(rest.len()));
    [registry, "0".repeat(token.len()).as_bytes(), below]
        .concat()
        .into()
}

/// Replaces passwords and tokens, which occur only in auth commands and in commands of a cluster that follows another one.
fn redact_secrets(entry: &mut Entry) {
    let zeros = |password: &Bytes| Bytes::from(vec![0; password.len()]);
    match &mut entry.command {
        Some(Command::Auth(command)) => match &mut command.operation {
            Some(AuthOperation::UserAdd(user)) => user.password = zeros(&user.password),
            Some(AuthOperation::UserPassword(user)) => user.password = zeros(&user.password),
            // This value and the entry's index form a token.
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

/// Calls `visit` with each value that the command writes or compares.
fn each_value(entry: &mut Entry, visit: &mut dyn FnMut(&mut Bytes)) {
    match &mut entry.command {
        Some(Command::Kv(command)) => match &mut command.operation {
            Some(KvOperation::Put(put)) => visit(&mut put.value),
            Some(KvOperation::Txn(txn)) => each_value_of_txn(txn, visit),
            Some(KvOperation::Delete(_) | KvOperation::Compact(_) | KvOperation::Sweep(_))
            | None => {}
        },
        Some(Command::Tree(command)) => each_value_of_tree(command.operation.as_mut(), visit),
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

/// Calls `visit` with each value that a transaction or a nested one writes or compares.
fn each_value_of_txn(txn: &mut Txn, visit: &mut dyn FnMut(&mut Bytes)) {
    for compare in &mut txn.compare {
        if let Some(TargetValue::Value(value)) = &mut compare.value {
            visit(value);
        }
    }
    for operation in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut operation.kind {
            Some(TxnOpKind::Put(put)) => visit(&mut put.value),
            Some(TxnOpKind::Txn(nested)) => each_value_of_txn(nested, visit),
            Some(TxnOpKind::Range(_) | TxnOpKind::Delete(_)) | None => {}
        }
    }
}

/// Calls `visit` with each value that a v2 command writes or compares.
fn each_value_of_tree(operation: Option<&mut TreeOperation>, visit: &mut dyn FnMut(&mut Bytes)) {
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
