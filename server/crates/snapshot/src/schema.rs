//! The buckets of etcd 3.6's store, built from a frozen view, with the names and contents of etcd's `storage/schema`. `file`
//! adds the state that etcd does not have.

use std::io;

use prost::Message as _;
use witan_api::{
    peer,
    v3::{
        authpb::{Permission, Role, User, UserAddOptions},
        etcdserverpb::AlarmMember,
    },
};
use witan_base::version;
use witan_etcd::ConfState;
use witan_gocompat::json;
use witan_machine::{
    member::{Member, MemberId},
    revision::Revision,
    view::View,
};

use super::record::{KeyRecord, Values, revision};

// Names of buckets.
pub(super) const KEY: &str = "key";
pub(super) const AUTH: &str = "auth";
pub(super) const AUTH_ROLES: &str = "authRoles";
pub(super) const AUTH_USERS: &str = "authUsers";
pub(super) const LEASE: &str = "lease";
pub(super) const META: &str = "meta";

// Keys in the `auth` bucket. The revision is the number of changes to users and roles.
pub(super) const AUTH_ENABLED: &str = "authEnabled";
pub(super) const AUTH_REVISION: &str = "authRevision";

// Keys in the `meta` bucket: index and term of the last applied log entry, the version of this layout, and the revisions of the
// last scheduled and last finished compactions.
pub(super) const CONSISTENT_INDEX: &str = "consistent_index";
pub(super) const TERM: &str = "term";
pub(super) const STORAGE_VERSION: &str = "storageVersion";
pub(super) const SCHEDULED_COMPACT: &str = "scheduledCompactRev";
pub(super) const FINISHED_COMPACT: &str = "finishedCompactRev";

/// Receives buckets in order, each with its records in key order.
pub(super) trait BucketSink {
    /// Starts the next bucket.
    fn bucket(&mut self, name: &str) -> io::Result<()>;

    /// Adds a record to the current bucket.
    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()>;
}

/// Passes etcd's buckets and records to `sink` in the order of their names and keys, with this cluster version. `values` says
/// what the records contain for the values of keys. Fails with `BrokenPipe` soon after `must_end` returns true.
pub(super) fn walk(
    view: &View,
    cluster_version: &str,
    values: Values,
    must_end: &dyn Fn() -> bool,
    sink: &mut dyn BucketSink,
) -> io::Result<()> {
    alarms(view, sink)?;
    auth(view, sink)?;
    cluster(cluster_version, sink)?;
    keys(view, values, must_end, sink)?;
    leases(view, sink)?;
    members(view, sink)?;
    meta(view, sink)
}

/// Passes the bucket of raised alarms.
fn alarms(view: &View, sink: &mut dyn BucketSink) -> io::Result<()> {
    sink.bucket("alarm")?;
    let messages = view
        .machine
        .alarms
        .list(None)
        .map(|alarm| AlarmMember { member_id: alarm.member.0, alarm: alarm.kind });
    let mut keys: Vec<Vec<u8>> = messages.map(|alarm| alarm.encode_to_vec()).collect();
    keys.sort_unstable();
    keys.iter().try_for_each(|key| sink.record(key, &[]))
}

/// Passes the buckets of v3 authentication, roles and users.
fn auth(view: &View, sink: &mut dyn BucketSink) -> io::Result<()> {
    let auth = &view.machine.auth;
    sink.bucket(AUTH)?;
    if auth.enabled() {
        sink.record(AUTH_ENABLED.as_bytes(), &[1])?;
    }
    sink.record(AUTH_REVISION.as_bytes(), &auth.revision().to_be_bytes())?;
    sink.bucket(AUTH_ROLES)?;
    for role in auth.roles() {
        let permissions = role.permissions.iter().map(|permission| Permission {
            perm_type: permission.kind,
            key: permission.key.clone(),
            range_end: permission.range_end.clone(),
        });
        let stored = Role {
            name: role.name.clone().into(),
            key_permission: permissions.collect(),
        };
        sink.record(role.name.as_bytes(), &stored.encode_to_vec())?;
    }
    sink.bucket(AUTH_USERS)?;
    for user in auth.users() {
        let stored = User {
            name: user.name.clone().into(),
            password: user.password.clone(),
            roles: user.roles.clone(),
            options: Some(UserAddOptions { no_password: user.no_password }),
        };
        sink.record(user.name.as_bytes(), &stored.encode_to_vec())?;
    }
    Ok(())
}

/// Passes the bucket of the cluster version, without a record if `version` is empty.
fn cluster(version: &str, sink: &mut dyn BucketSink) -> io::Result<()> {
    sink.bucket("cluster")?;
    if !version.is_empty() {
        sink.record(b"clusterVersion", version.as_bytes())?;
    }
    Ok(())
}

/// Passes the bucket of keys, with all versions that etcd would still have. Fails with `BrokenPipe` once `must_end` returns
/// true.
fn keys(
    view: &View,
    values: Values,
    must_end: &dyn Fn() -> bool,
    sink: &mut dyn BucketSink,
) -> io::Result<()> {
    sink.bucket(KEY)?;
    let mut record = KeyRecord::default();
    for written in view.machine.kv.retained_versions() {
        if must_end() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        record.fill(&written, values);
        sink.record(&record.key, &record.value)?;
    }
    Ok(())
}

/// Passes the bucket of leases. Omits the remaining TTLs, so that a restored lease has its full TTL, as in etcd by default.
/// Without the feature gate `LeaseCheckpoint`, etcd would renew a lease with its remaining TTL. Clients with a longer
/// keep-alive interval would then lose the lease.
fn leases(view: &View, sink: &mut dyn BucketSink) -> io::Result<()> {
    sink.bucket(LEASE)?;
    let leases = view.machine.kv.leases();
    // In byte order, negative ids come last.
    let others = leases.iter().filter(|(id, _)| id.0 >= 0);
    for (id, lease) in others.chain(leases.iter().filter(|(id, _)| id.0 < 0)) {
        let stored = LeaseMessage { id: id.0, ttl_s: lease.ttl_s, remaining_ttl_s: 0 };
        sink.record(&id.0.to_be_bytes(), &stored.encode_to_vec())?;
    }
    Ok(())
}

/// Passes the buckets of members and of the ids of removed members.
fn members(view: &View, sink: &mut dyn BucketSink) -> io::Result<()> {
    let members = &view.machine.members;
    sink.bucket("members")?;
    // The keys are strings, which sort differently from numbers.
    let mut known: Vec<(String, &Member)> = members
        .by_id
        .values()
        .map(|member| (member.member_id().to_string(), member))
        .collect();
    known.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (id, member) in known {
        sink.record(id.as_bytes(), &json::encode(&shown_member(member.clone())))?;
    }
    sink.bucket("members_removed")?;
    let mut removed: Vec<String> = members
        .removed_ids
        .iter()
        .map(MemberId::to_string)
        .collect();
    removed.sort_unstable();
    removed
        .iter()
        .try_for_each(|id| sink.record(id.as_bytes(), b"removed"))
}

/// Passes the bucket of raft's configuration and position, the compacted revision and the storage version.
fn meta(view: &View, sink: &mut dyn BucketSink) -> io::Result<()> {
    let position = &view.position;
    let configuration = ConfState {
        voters: sorted(&position.voters),
        learners: sorted(&position.learners),
        voters_outgoing: sorted(&position.voters_outgoing),
        learners_next: sorted(&position.learners_next),
        auto_leave: position.auto_leave,
    };
    let compacted = view.machine.kv.compacted();
    sink.bucket(META)?;
    sink.record(b"confState", &json::encode(&configuration))?;
    sink.record(CONSISTENT_INDEX.as_bytes(), &position.index.to_be_bytes())?;
    if compacted > Revision::NONE {
        sink.record(FINISHED_COMPACT.as_bytes(), &revision(compacted, 0))?;
        sink.record(SCHEDULED_COMPACT.as_bytes(), &revision(compacted, 0))?;
    }
    sink.record(STORAGE_VERSION.as_bytes(), version::SNAPSHOT.as_bytes())?;
    sink.record(TERM.as_bytes(), &position.term.to_be_bytes())
}

fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct LeaseMessage {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
    #[prost(int64, tag = "2")]
    pub(super) ttl_s: i64,
    #[prost(int64, tag = "3")]
    pub(super) remaining_ttl_s: i64,
}

/// Converts a member to etcd's JSON form, which has no store id.
pub fn shown_member(member: Member) -> peer::Member {
    let Member { id, name, peer_urls, client_urls, learner, store_id: _ } = member;
    peer::Member { id, peer_urls, is_learner: learner, name, client_urls }
}

/// Converts a member from etcd's JSON form. The store id is 0.
pub fn known_member(shown: peer::Member) -> Member {
    let peer::Member { id, peer_urls, is_learner, name, client_urls } = shown;
    let learner = is_learner;
    Member {
        id,
        name,
        peer_urls,
        client_urls,
        learner,
        ..Member::default()
    }
}
