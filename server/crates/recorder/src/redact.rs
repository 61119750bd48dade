//! Redacts commands for a recording: replaces values with zeros of the same length, so that entries and messages keep their
//! sizes. Always replaces passwords and users' tokens. Keeps values and discovery tokens if values are recorded in plaintext.

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

/// Zeros that replace any value up to this length.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The value of each byte in the replacement of a command that this release does not know.
const UNKNOWN_COMMAND: u8 = 0xfe;

/// Directory of the discovery service in the v2 tree. The next path element is a token with which anyone can register.
const REGISTRY: &[u8] = b"/_etcd/registry/";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Redaction {
    pub(crate) values_in_clear: bool,
}

impl Redaction {
    /// Redacts and encodes a command that has no stamp yet.
    pub(crate) fn encode(self, entry: &Entry) -> Bytes {
        let mut entry = entry.clone();
        self.redact(&mut entry);
        entry.encode_to_vec().into()
    }

    /// Redacts an encoded command from the log or from a message. If the command cannot be decoded, or contains fields from a
    /// later release, replaces it with undecodable bytes of the same length.
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

    /// Replaces users' passwords and tokens. Unless values are recorded in plaintext, also replaces values and discovery
    /// tokens.
    fn redact(self, entry: &mut Entry) {
        let replaces_values = !self.values_in_clear;
        match &mut entry.command {
            Some(Command::Auth(command)) => redact_auth(command.operation.as_mut()),
            Some(Command::Follow(command)) => match &mut command.operation {
                Some(FollowOperation::Users(users)) => {
                    for record in &mut users.records {
                        hide_password(&record.key, &mut record.value);
                    }
                }
                Some(FollowOperation::Revisions(followed)) if replaces_values => {
                    let revisions = followed.revisions.iter_mut();
                    revisions
                        .flat_map(|revision| &mut revision.writes)
                        .for_each(|write| erase(&mut write.value));
                }
                Some(
                    FollowOperation::Revisions(_)
                    | FollowOperation::Compact(_)
                    | FollowOperation::Leases(_)
                    | FollowOperation::CutOver(_)
                    | FollowOperation::BeginCutOver(_)
                    | FollowOperation::FenceAgain(_)
                    | FollowOperation::SourceGone(_),
                )
                | None => {}
            },
            Some(Command::Kv(command)) if replaces_values => match &mut command.operation {
                Some(KvOperation::Put(put)) => erase(&mut put.value),
                Some(KvOperation::Txn(txn)) => redact_txn(txn),
                Some(KvOperation::Delete(_) | KvOperation::Compact(_) | KvOperation::Sweep(_))
                | None => {}
            },
            Some(Command::Tree(command)) if replaces_values => {
                command.operation.iter_mut().for_each(redact_tree);
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
}

/// Replaces a value with zeros of the same length, without an allocation for a short value.
fn erase(value: &mut Bytes) {
    *value = match ZEROS.get(..value.len()) {
        Some(zeros) => Bytes::from_static(zeros),
        None => vec![0; value.len()].into(),
    };
}

/// Replaces passwords and tokens.
fn redact_auth(operation: Option<&mut AuthOperation>) {
    match operation {
        Some(AuthOperation::UserAdd(user)) => erase(&mut user.password),
        Some(AuthOperation::UserPassword(user)) => erase(&mut user.password),
        // This value and the entry's index form a token.
        Some(AuthOperation::Authenticate(login)) => {
            login.prefix = "0".repeat(login.prefix.len());
        }
        Some(AuthOperation::Paths(paths)) => match &mut paths.operation {
            Some(PathAuthOperation::UserCreate(user)) => erase(&mut user.password),
            Some(PathAuthOperation::UserUpdate(user)) => erase(&mut user.password),
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
    }
}

/// Replaces all values that a transaction, or a transaction nested in it, writes or compares.
fn redact_txn(txn: &mut Txn) {
    for compare in &mut txn.compare {
        if let Some(TargetValue::Value(value)) = &mut compare.value {
            erase(value);
        }
    }
    for operation in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut operation.kind {
            Some(TxnOpKind::Put(put)) => erase(&mut put.value),
            Some(TxnOpKind::Txn(nested)) => redact_txn(nested),
            Some(TxnOpKind::Range(_) | TxnOpKind::Delete(_)) | None => {}
        }
    }
}

/// Replaces the values that a v2 command writes or compares, and a discovery token in its path.
fn redact_tree(operation: &mut TreeOperation) {
    let path = match operation {
        TreeOperation::Set(set) => {
            erase(&mut set.value);
            &mut set.path
        }
        TreeOperation::Create(create) => {
            erase(&mut create.value);
            &mut create.path
        }
        TreeOperation::Update(update) => {
            erase(&mut update.value);
            &mut update.path
        }
        TreeOperation::CompareAndSwap(swap) => {
            erase(&mut swap.value);
            swap.prev_value.iter_mut().for_each(erase);
            &mut swap.path
        }
        TreeOperation::CompareAndDelete(delete) => {
            delete.prev_value.iter_mut().for_each(erase);
            &mut delete.path
        }
        TreeOperation::Delete(delete) => &mut delete.path,
        TreeOperation::Expire(_) => return,
    };
    let Some(rest) = path.strip_prefix(REGISTRY) else {
        return;
    };
    // The token keeps its length, so that entries and messages keep their sizes.
    let token = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
    let below = &rest[token.len()..];
    *path = [REGISTRY, "0".repeat(token.len()).as_bytes(), below]
        .concat()
        .into();
}
