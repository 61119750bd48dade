//! Converts an entry of etcd's log to an entry of Witan's log.
//!
//! The result depends only on the entry and the cluster id: members are adopted separately, and all of them must get the same
//! log.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use witan_api::v3::etcdserverpb::AlarmRequest;
use witan_auth::password;
use witan_etcd::{
    ConfChange, ConfChangeKind, EntryPayload, InternalRaftRequest, LogEntry, MemberContext,
    RequestV2,
};
use witan_machine::{
    alarm::{AlarmAction, AlarmCommand},
    auth::{
        AuthOperation, Caller, Disable, Enable, RoleAdd, RoleDelete, RoleGrant, RoleRevoke,
        UserAdd, UserDelete, UserGrant, UserPassword, UserRevoke,
    },
    command::{
        ChangeMembers, ClusterVersion, Command, Downgrade, Entry, PublishAttributes, Stamp,
        UpdatePeerUrls,
    },
    kv::{Compact, KvOperation, TxnOp, TxnOpKind},
    lease::{LeaseCheckpoint, LeaseGrant, LeaseOperation, LeaseRevoke, RemainingTtl},
    member::Member,
};
use witan_snapshot::{
    self as snapshot,
    v2_store::{self, V2Change},
};
use witan_v3::operation;

use super::AdoptError;

/// The shortest TTL that etcd grants with the default election timeout, in seconds.
const LEASE_TTL_MIN_S: i64 = 2;

const SECOND_NS: i64 = 1_000_000_000;

/// The default of etcd's `--bcrypt-cost`.
const BCRYPT_COST: u32 = 10;

#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// The entry changes nothing, for example a read, a login or the first entry of a leader.
    None,
    /// The entry changes v2 users, which Witan's log cannot express.
    PathAuth,
    /// An entry of Witan's log with the same effect.
    Entry(Box<Entry>),
}

impl Change {
    fn command(command: Command) -> Self {
        Self::Entry(Entry::unstamped(command, None))
    }
}

/// Converts an entry of the log of cluster `cluster_id`. Fails for an entry that is invalid or that etcd never writes.
pub(super) fn of(log: &LogEntry, cluster_id: u64) -> Result<Change, AdoptError> {
    match &log.payload {
        EntryPayload::Empty => Ok(Change::None),
        EntryPayload::Request(request) => of_v3(request, log.index, cluster_id),
        EntryPayload::RequestV2(request) => of_v2(request, log.index),
        EntryPayload::ConfChange(change) => members(change, log.index).map(Change::command),
        EntryPayload::ConfChangeV2 => Err(AdoptError::entry(
            log.index,
            "it changes several members together, which etcd never does",
        )),
    }
}

/// Converts a v2 request. The stamp of an operation on keys contains the request's time. Fails for an invalid request.
fn of_v2(request: &RequestV2, index: u64) -> Result<Change, AdoptError> {
    let change = v2_store::as_witan_change(request);
    let change = change.map_err(|error| AdoptError::entry(index, error.to_string()))?;
    Ok(match change {
        V2Change::Tree(operation) => Change::Entry(Box::new(Entry {
            stamp: Some(Stamp { now_ns: v2_time_ns(request), ..Stamp::default() }),
            command: Some(operation.into()),
            caller: None,
        })),
        V2Change::Publish(publish) => Change::command(Command::Publish(publish)),
        V2Change::ClusterVersion(version) => Change::command(Command::ClusterVersion(version)),
        V2Change::Auth => Change::PathAuth,
        V2Change::Nothing => Change::None,
    })
}

/// Returns a v2 request's time in Unix nanoseconds. A SYNC request contains its time. The time of any other request is 1 second
/// before the key expires, or 0 if the key never expires.
fn v2_time_ns(request: &RequestV2) -> i64 {
    match request.method.as_str() {
        "SYNC" => request.time,
        _ => request.expiration.saturating_sub(SECOND_NS).max(0),
    }
}

/// Converts a change of raft's configuration. Witan's limit on learners does not apply, because etcd has already executed the
/// change. Fails for an unknown type of change or an invalid member.
pub(super) fn members(change: &ConfChange, index: u64) -> Result<Command, AdoptError> {
    let kind = ConfChangeKind::try_from(change.kind);
    let kind = kind.map_err(|_| AdoptError::entry(index, "it has an unknown change type"))?;
    let asked = ChangeMembers {
        learners_max: u32::MAX,
        voters: true,
        ..ChangeMembers::default()
    };
    let id = change.node_id;
    let context = || {
        let read = MemberContext::parse(&change.context);
        read.ok_or_else(|| AdoptError::entry(index, "it contains a member that cannot be parsed"))
    };
    Ok(match kind {
        ConfChangeKind::RemoveNode => Command::Members(ChangeMembers { remove: id, ..asked }),
        ConfChangeKind::UpdateNode => {
            Command::PeerUrls(UpdatePeerUrls { id, peer_urls: context()?.member.peer_urls })
        }
        ConfChangeKind::AddNode | ConfChangeKind::AddLearnerNode => {
            let MemberContext { member: shown, is_promote } = context()?;
            if is_promote {
                return Ok(Command::Members(ChangeMembers { promote: id, ..asked }));
            }
            let member = Member {
                id,
                learner: kind == ConfChangeKind::AddLearnerNode,
                ..snapshot::known_member(shown)
            };
            Command::Members(ChangeMembers { add: Some(member), ..asked })
        }
    })
}

/// Converts a v3 request. The caller is the user that etcd logged. Fails for an invalid password, or for a permission of an
/// unknown type, which Witan's log must not contain.
fn of_v3(request: &InternalRaftRequest, index: u64, cluster_id: u64) -> Result<Change, AdoptError> {
    let command = keys(request)
        .or_else(|| leases(request))
        .or_else(|| cluster(request));
    let command = match command {
        Some(command) => Some(command),
        None => auth(request, index, cluster_id)?.map(Command::from),
    };
    let Some(command) = command else {
        return Ok(Change::None);
    };
    if !command.is_known() {
        return Err(AdoptError::entry(
            index,
            "it grants a permission of an unknown type",
        ));
    }
    let header = request.header.as_ref();
    let caller = header.filter(|header| !header.username.is_empty());
    let caller = caller.map(|header| Caller {
        user: header.username.clone(),
        revision: header.auth_revision,
    });
    Ok(Change::Entry(Entry::unstamped(command, caller)))
}

/// Converts a put, deletion, transaction or compaction. Witan's read limits do not apply, because etcd has already executed the
/// request. Returns `None` for any other request.
fn keys(request: &InternalRaftRequest) -> Option<Command> {
    let operation = if let Some(put) = &request.put {
        KvOperation::Put(operation::put(put.clone()))
    } else if let Some(delete) = &request.delete_range {
        let mut delete = operation::delete_range(delete.clone());
        delete.bounded = false;
        KvOperation::Delete(delete)
    } else if let Some(txn) = &request.txn {
        let mut txn = operation::txn(txn.clone());
        lift_read_limits(&mut txn);
        KvOperation::Txn(txn)
    } else {
        let revision = request.compaction.as_ref()?.revision;
        KvOperation::Compact(Compact { revision })
    };
    Some(operation.into())
}

/// Removes Witan's read limits from a transaction and from the deletions and transactions in it.
fn lift_read_limits(txn: &mut witan_machine::kv::Txn) {
    txn.bounded = false;
    for TxnOp { kind } in txn.success.iter_mut().chain(&mut txn.failure) {
        match kind {
            Some(TxnOpKind::Delete(delete)) => delete.bounded = false,
            Some(TxnOpKind::Txn(txn)) => lift_read_limits(txn),
            Some(TxnOpKind::Range(_) | TxnOpKind::Put(_)) | None => {}
        }
    }
}

/// Converts a grant, revocation or checkpoint of leases. A TTL below [`LEASE_TTL_MIN_S`] is raised to this minimum. Returns
/// `None` for other requests.
fn leases(request: &InternalRaftRequest) -> Option<Command> {
    let operation = if let Some(grant) = &request.lease_grant {
        let ttl_s = grant.ttl.max(LEASE_TTL_MIN_S);
        LeaseOperation::Grant(LeaseGrant { id: grant.id, ttl_s })
    } else if let Some(revoke) = &request.lease_revoke {
        LeaseOperation::Revoke(LeaseRevoke { id: revoke.id })
    } else {
        let checkpoints = request.lease_checkpoint.as_ref()?.checkpoints.iter();
        let remaining =
            checkpoints.map(|lease| RemainingTtl { id: lease.id, seconds: lease.remaining_ttl });
        LeaseOperation::Checkpoint(LeaseCheckpoint { remaining: remaining.collect() })
    };
    Some(operation.into())
}

/// Converts a request that changes alarms, the cluster version, a downgrade or a member's attributes. Returns `None` for other
/// requests and for alarms of an unknown type.
fn cluster(request: &InternalRaftRequest) -> Option<Command> {
    if let Some(alarm) = &request.alarm {
        return alarm_command(alarm).map(Command::Alarm);
    }
    if let Some(set) = &request.cluster_version_set {
        let version = set.version.clone();
        return Some(Command::ClusterVersion(ClusterVersion::of(version)));
    }
    if let Some(set) = &request.downgrade_info_set {
        let target = if set.enabled {
            set.version.clone()
        } else {
            String::new()
        };
        return Some(Command::Downgrade(Downgrade { target }));
    }
    let set = request.cluster_member_attr_set.as_ref()?;
    let attributes = set.attributes.clone().unwrap_or_default();
    Some(Command::Publish(PublishAttributes {
        id: set.member_id,
        name: attributes.name,
        client_urls: attributes.client_urls,
        ..PublishAttributes::default()
    }))
}

/// Converts an alarm request. Returns `None` for a list request and for an alarm of an unknown type, which does not block
/// requests in etcd.
fn alarm_command(request: &AlarmRequest) -> Option<AlarmCommand> {
    use witan_api::v3::etcdserverpb::alarm_request::AlarmAction as Asked;
    let action = match request.action() {
        Asked::Get => return None,
        Asked::Activate => AlarmAction::Activate,
        Asked::Deactivate => AlarmAction::Deactivate,
    };
    let command = AlarmCommand {
        action: action as i32,
        member: request.member_id,
        kind: request.alarm,
    };
    Some(command).filter(|command| Command::Alarm(*command).is_known())
}

/// Converts a change of v3 users or roles, or a request that enables or disables authentication. Returns `None` for other
/// requests. Fails for an invalid password.
fn auth(
    request: &InternalRaftRequest,
    index: u64,
    cluster_id: u64,
) -> Result<Option<AuthOperation>, AdoptError> {
    let hash = |hashed: &str, clear: &str| password_hash(hashed, clear, index, cluster_id);
    let operation = if request.auth_enable.is_some() {
        AuthOperation::Enable(Enable {})
    } else if request.auth_disable.is_some() {
        AuthOperation::Disable(Disable {})
    } else if let Some(asked) = &request.auth_user_add {
        let options = asked.options.as_ref();
        let no_password = options.is_some_and(|options| options.no_password);
        let password = match no_password {
            true => Bytes::new(),
            false => hash(&asked.hashed_password, &asked.password)?,
        };
        AuthOperation::UserAdd(UserAdd { name: asked.name.clone(), password, no_password })
    } else if let Some(asked) = &request.auth_user_change_password {
        let password = hash(&asked.hashed_password, &asked.password)?;
        AuthOperation::UserPassword(UserPassword { name: asked.name.clone(), password })
    } else if let Some(asked) = request.auth_user_delete.clone() {
        AuthOperation::UserDelete(UserDelete { name: asked.name })
    } else if let Some(asked) = request.auth_user_grant_role.clone() {
        AuthOperation::UserGrant(UserGrant { user: asked.user, role: asked.role })
    } else if let Some(asked) = request.auth_user_revoke_role.clone() {
        AuthOperation::UserRevoke(UserRevoke { user: asked.name, role: asked.role })
    } else if let Some(asked) = request.auth_role_add.clone() {
        AuthOperation::RoleAdd(RoleAdd { name: asked.name })
    } else if let Some(asked) = request.auth_role_delete.clone() {
        AuthOperation::RoleDelete(RoleDelete { name: asked.role })
    } else if let Some(asked) = request.auth_role_grant_permission.clone() {
        let permission = asked.perm.map(operation::permission);
        AuthOperation::RoleGrant(RoleGrant { role: asked.name, permission })
    } else if let Some(asked) = request.auth_role_revoke_permission.clone() {
        AuthOperation::RoleRevoke(RoleRevoke {
            role: asked.role,
            key: asked.key,
            range_end: asked.range_end,
        })
    } else {
        return Ok(None);
    };
    Ok(Some(operation))
}

/// Returns the bcrypt hash of the password in the entry at `index`: `hashed`, which is in base64, or else a new hash of
/// `clear`. etcd 3.4 logs the password itself. The salt is derived from the cluster id and the index, so that all members get
/// the same hash. Fails if `hashed` is not base64 or `clear` is too long.
fn password_hash(
    hashed: &str,
    clear: &str,
    index: u64,
    cluster_id: u64,
) -> Result<Bytes, AdoptError> {
    if !hashed.is_empty() {
        let decoded = STANDARD.decode(hashed).map(Bytes::from);
        return decoded.map_err(|_| AdoptError::entry(index, "its password is not valid base64"));
    }
    let mut place = Sha256::new();
    place.update(cluster_id.to_be_bytes());
    place.update(index.to_be_bytes());
    let digest = place.finalize();
    let salt = std::array::from_fn(|at| digest[at]);
    let new = password::hash(clear, BCRYPT_COST, salt).map(Bytes::from);
    new.map_err(|_| AdoptError::entry(index, "its password is too long"))
}

#[cfg(test)]
mod tests;
