//! Leases: their TTL and the keys attached to them.
//!
//! The state machine never expires a lease by itself (I6): the leader tracks the lease's time (`lessor`) and proposes the
//! expiration. `kv/lease.rs` implements the effects on the key space.

use std::fmt;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet, ordmap::DiffItem};

use super::{
    auth_error,
    record::{self, CorruptRecord, Emit, RecordChange},
};

/// The id of a lease, chosen by the client or the server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// The id that means "no lease".
    pub const NONE: Self = Self(0);
}

/// Formats the id as sixteen hexadecimal digits, as in etcd's messages.
impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Maximum TTL in seconds, as in etcd. The maximum in nanoseconds fits into 63 bits.
pub const TTL_MAX_S: i64 = 9_000_000_000;

/// Number of bytes that a lease adds to the size of the key space. The number approximates the memory of a lease.
pub const LEASE_BYTES: u64 = 256;

/// A lease command as stored in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseCommand {
    /// The operation.
    #[prost(oneof = "LeaseOperation", tags = "1, 2, 3, 4")]
    pub operation: Option<LeaseOperation>,
}

/// The operations on leases.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum LeaseOperation {
    /// Grants a lease to a client.
    #[prost(message, tag = "1")]
    Grant(LeaseGrant),
    /// Revokes a lease for a client.
    #[prost(message, tag = "2")]
    Revoke(LeaseRevoke),
    /// Removes expired leases; proposed by the leader.
    #[prost(message, tag = "3")]
    Expire(LeaseExpire),
    /// Records the remaining TTL of leases; proposed by the leader.
    #[prost(message, tag = "4")]
    Checkpoint(LeaseCheckpoint),
}

/// Grants a lease.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LeaseGrant {
    /// The id, which the client or the server chose; not [`LeaseId::NONE`].
    #[prost(sfixed64, tag = "1")]
    pub id: i64,
    /// TTL in seconds. The TTL is at least the proposer's minimum.
    #[prost(int64, tag = "2")]
    pub ttl_s: i64,
}

impl LeaseGrant {
    /// Returns the id as a [`LeaseId`].
    pub fn lease_id(&self) -> LeaseId {
        LeaseId(self.id)
    }
}

/// Revokes a lease and deletes its keys in one revision.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LeaseRevoke {
    /// Id of the lease.
    #[prost(sfixed64, tag = "1")]
    pub id: i64,
}

impl LeaseRevoke {
    /// Returns the id as a [`LeaseId`].
    pub fn lease_id(&self) -> LeaseId {
        LeaseId(self.id)
    }
}

/// Removes expired leases and their keys, each lease at a separate revision. Unknown leases are ignored.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LeaseExpire {
    /// Lease ids, in the order of removal.
    #[prost(sfixed64, repeated, tag = "1")]
    pub ids: Vec<i64>,
}

impl LeaseExpire {
    /// Returns the leases in the order of removal.
    pub fn lease_ids(&self) -> impl Iterator<Item = LeaseId> {
        self.ids.iter().map(|id| LeaseId(*id))
    }
}

/// Records the remaining TTL of leases. Unknown leases are ignored.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LeaseCheckpoint {
    /// The remaining TTLs.
    #[prost(message, repeated, tag = "1")]
    pub remaining: Vec<RemainingTtl>,
}

/// The remaining TTL of one lease.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RemainingTtl {
    /// Id of the lease.
    #[prost(sfixed64, tag = "1")]
    pub id: i64,
    /// Remaining seconds. 0 means the full TTL, after a keep-alive.
    #[prost(int64, tag = "2")]
    pub seconds: i64,
}

impl RemainingTtl {
    /// Returns the id as a [`LeaseId`].
    pub fn lease_id(&self) -> LeaseId {
        LeaseId(self.id)
    }
}

/// Result of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// TTL of the lease in seconds.
    pub ttl_s: i64,
}

/// Result of a successful lease command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseReply {
    /// The lease was granted.
    Granted(Granted),
    /// The lease and its keys were removed.
    Revoked,
    /// These leases and their keys were removed.
    Expired {
        /// The ids of the leases that existed.
        ids: Vec<LeaseId>,
    },
    /// The remaining TTLs were recorded.
    Checkpointed,
}

/// The reason why a lease command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// A lease with this id exists.
    #[error("lease already exists")]
    Exists,
    /// The lease does not exist.
    #[error("requested lease not found")]
    NotFound,
    /// The TTL exceeds [`TTL_MAX_S`].
    #[error("too large lease TTL")]
    TtlTooLarge,
    /// A member's quota is exhausted.
    #[error("database space exceeded")]
    NoSpace,
    /// Members have different data.
    #[error("corrupt cluster")]
    Corrupt,
    /// The caller lacks permission.
    #[error(transparent)]
    Denied(#[from] auth_error::AuthError),
}

/// One lease.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Lease {
    /// TTL in seconds, which each keep-alive renews.
    #[prost(int64, tag = "1")]
    pub ttl_s: i64,
    /// Remaining seconds at the last checkpoint; 0 for the full TTL.
    #[prost(int64, tag = "2")]
    pub remaining_ttl_s: i64,
}

impl Lease {
    /// Returns the seconds that a new leader gives the lease: the remaining TTL of the last checkpoint, or the full TTL.
    pub fn remaining_s(&self) -> i64 {
        if self.remaining_ttl_s > 0 {
            self.remaining_ttl_s
        } else {
            self.ttl_s
        }
    }

    /// Returns whether both values are at most [`TTL_MAX_S`] and the remaining TTL is not negative.
    pub(super) fn is_sound(&self) -> bool {
        self.ttl_s <= TTL_MAX_S && (0..=TTL_MAX_S).contains(&self.remaining_ttl_s)
    }
}

/// All leases and the keys attached to them. A clone takes O(1).
#[derive(Clone, Default)]
pub struct Leases {
    by_id: OrdMap<LeaseId, Lease>,
    /// Live keys by lease. They are derived from the key space, so no checkpoint contains them.
    attached: OrdSet<(LeaseId, Bytes)>,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases")
            .field("len", &self.by_id.len())
            .field("attached", &self.attached.len())
            .finish_non_exhaustive()
    }
}

impl Leases {
    /// Returns a lease, or `None` if the lease does not exist.
    pub fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.by_id.get(&id)
    }

    /// Returns all leases in ascending order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.by_id.iter().map(|(id, lease)| (*id, lease))
    }

    /// Returns the number of leases.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns whether there are no leases.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Returns a lease's keys in ascending order.
    pub fn keys(&self, id: LeaseId) -> impl Iterator<Item = &Bytes> {
        self.attached
            .range((id, Bytes::new())..)
            .take_while(move |(of, _)| *of == id)
            .map(|(_, key)| key)
    }

    /// Returns the first key of a lease at or above `from`, or `None` if there is no such key.
    pub(super) fn key_from(&self, id: LeaseId, from: &Bytes) -> Option<&Bytes> {
        let (of, key) = self.attached.range((id, from.clone())..).next()?;
        (*of == id).then_some(key)
    }

    /// Returns the leases that have keys, in ascending order.
    pub(super) fn with_keys(&self) -> impl Iterator<Item = LeaseId> {
        let first_from = |id: LeaseId| Some(self.attached.range((id, Bytes::new())..).next()?.0);
        std::iter::successors(first_from(LeaseId(i64::MIN)), move |id| {
            first_from(LeaseId(id.0.checked_add(1)?))
        })
    }

    /// Returns the number of keys that have a lease.
    pub fn attached(&self) -> usize {
        self.attached.len()
    }

    pub(super) fn insert(&mut self, id: LeaseId, lease: Lease) {
        self.by_id.insert(id, lease);
    }

    /// Removes a lease but does not detach its keys. Returns `false` if the lease does not exist.
    pub(super) fn remove(&mut self, id: LeaseId) -> bool {
        self.by_id.remove(&id).is_some()
    }

    /// Records the remaining TTL of a lease, clamped to a value between 0 and [`TTL_MAX_S`] seconds. Ignores an unknown lease.
    pub(super) fn checkpoint(&mut self, left: RemainingTtl) {
        if let Some(lease) = self.by_id.get_mut(&left.lease_id()) {
            lease.remaining_ttl_s = left.seconds.clamp(0, TTL_MAX_S);
        }
    }

    /// Clears the remaining TTL of all leases, so that each lease has its full TTL.
    pub(super) fn clear_checkpoints(&mut self) {
        let noted = self
            .by_id
            .iter()
            .filter(|(_, lease)| lease.remaining_ttl_s > 0);
        let full = noted.map(|(id, lease)| (*id, Lease { remaining_ttl_s: 0, ..*lease }));
        let full: Vec<(LeaseId, Lease)> = full.collect();
        self.by_id.extend(full);
    }

    /// Moves a key from one lease to another. Either lease may be [`LeaseId::NONE`].
    pub(super) fn reattach(&mut self, key: &[u8], from: LeaseId, to: LeaseId) {
        if from == to {
            return;
        }
        if from != LeaseId::NONE {
            self.attached.remove(&(from, Bytes::copy_from_slice(key)));
        }
        if to != LeaseId::NONE {
            self.attached.insert((to, Bytes::copy_from_slice(key)));
        }
    }

    /// Creates the missing leases of attached keys with a TTL of [`TTL_MAX_S`].
    pub(super) fn create_missing(&mut self) {
        for (id, _) in &self.attached {
            if !self.by_id.contains_key(id) {
                let lease = Lease { ttl_s: TTL_MAX_S, remaining_ttl_s: 0 };
                self.by_id.insert(*id, lease);
            }
        }
    }

    /// Returns a copy without the attached keys, to pass to a later [`Leases::changes`].
    pub(super) fn diff_base(&self) -> Leases {
        Leases { by_id: self.by_id.clone(), attached: OrdSet::default() }
    }

    /// Emits the leases that changed since `since`, or all leases for `None`. Each record has the lease id as its key.
    pub(crate) fn changes(&self, since: Option<&Leases>, emit: &mut Emit<'_>) {
        let mut put = |id: LeaseId, lease: &Lease| {
            emit(RecordChange::Put {
                key: id.0.to_be_bytes().to_vec(),
                value: prost::Message::encode_to_vec(lease),
            });
        };
        let Some(since) = since else {
            self.by_id.iter().for_each(|(id, lease)| put(*id, lease));
            return;
        };
        let mut removed = Vec::new();
        for item in since.by_id.diff(&self.by_id) {
            match item {
                DiffItem::Add(id, lease) | DiffItem::Update { new: (id, lease), .. } => {
                    put(*id, lease)
                }
                DiffItem::Remove(id, _) => removed.push(*id),
            }
        }
        for id in removed {
            emit(RecordChange::Delete { key: id.0.to_be_bytes().to_vec() });
        }
    }

    /// Loads the record of a lease. Fails if the id or a value is invalid, or if a later release wrote the record.
    pub(crate) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptRecord> {
        let id = key.try_into().map(i64::from_be_bytes);
        let id = id.map_or(LeaseId::NONE, LeaseId);
        let lease: Lease = record::decode(format_args!("lease {id}"), value)?;
        if id == LeaseId::NONE || !lease.is_sound() {
            return Err(CorruptRecord::new(format!("lease {id}: {lease:?}")));
        }
        self.by_id.insert(id, lease);
        Ok(())
    }
}
