//! Leases: which there are, how long each of them lasts, and which keys go with it.
//!
//! What does not live here: clocks. A lease of the state machine never runs out by itself (I6): the
//! leader counts (`timers`) and proposes its end. What the verbs do to the key space stands in
//! `kv/lease.rs`.

use bytes::Bytes;
use imbl::{OrdMap, OrdSet, ordmap::DiffItem};

use super::{
    auth_error,
    record::{Change, Corrupt},
};

/// No lease: neither a put's nor a grant's.
pub const NONE: i64 = 0;

/// Seconds that a lease may last, as in etcd: they fit into 63 bits as nanoseconds.
pub const TTL_MAX_S: i64 = 9_000_000_000;

/// Bytes that a lease counts in the size of the key space: about what it takes in memory.
pub const LEASE_BYTES: u64 = 256;

/// A lease command as it stands in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    /// What is to be done.
    #[prost(oneof = "Verb", tags = "1, 2, 3, 4")]
    pub verb: Option<Verb>,
}

/// What can be done to leases.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Verb {
    /// A client wants a lease.
    #[prost(message, tag = "1")]
    Grant(Grant),
    /// A client ends a lease.
    #[prost(message, tag = "2")]
    Revoke(Revoke),
    /// The leader ends leases whose time is over.
    #[prost(message, tag = "3")]
    Expire(Expire),
    /// The leader notes how much time leases have left.
    #[prost(message, tag = "4")]
    Checkpoint(Checkpoint),
}

/// Begin a lease.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Grant {
    /// Chosen by the client or, for it, by its server; not [`NONE`].
    #[prost(sfixed64, tag = "1")]
    pub id: i64,
    /// Seconds, at least the shortest time that the proposer grants.
    #[prost(int64, tag = "2")]
    pub ttl_s: i64,
}

/// End a lease, and with it its keys in one revision.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Revoke {
    /// Which.
    #[prost(sfixed64, tag = "1")]
    pub id: i64,
}

/// End leases, each with its keys in a revision of its own; unknown ones are passed over.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Expire {
    /// Which, in the order in which they are ended.
    #[prost(sfixed64, repeated, tag = "1")]
    pub ids: Vec<i64>,
}

/// Note what leases have left; unknown ones are passed over.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Checkpoint {
    /// One by one.
    #[prost(message, repeated, tag = "1")]
    pub left: Vec<Left>,
}

/// What one lease has left.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Left {
    /// Which lease.
    #[prost(sfixed64, tag = "1")]
    pub id: i64,
    /// Seconds; 0 for all of its time, after it was kept alive.
    #[prost(int64, tag = "2")]
    pub seconds: i64,
}

/// Answer of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Seconds of the lease.
    pub ttl_s: i64,
}

/// Answer of a successful lease command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The lease has begun.
    Granted(Granted),
    /// The lease and its keys are gone.
    Revoked,
    /// These leases and their keys are gone.
    Expired {
        /// Those of the command that there were.
        ids: Vec<i64>,
    },
    /// What is left was noted.
    Noted,
}

/// Why a lease command did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is a lease of this id.
    #[error("lease already exists")]
    Exists,
    /// There is none.
    #[error("requested lease not found")]
    NotFound,
    /// More than [`TTL_MAX_S`].
    #[error("too large lease TTL")]
    TtlTooLarge,
    /// A member's quota is used up.
    #[error("database space exceeded")]
    NoSpace,
    /// Members disagree about the data.
    #[error("corrupt cluster")]
    Corrupt,
    /// The caller may not do that.
    #[error(transparent)]
    Denied(#[from] auth_error::Error),
}

/// One lease.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Lease {
    /// Seconds that it lasts after each sign of life.
    #[prost(int64, tag = "1")]
    pub ttl_s: i64,
    /// Seconds that it had left when that was last noted, 0 if it had all of them.
    #[prost(int64, tag = "2")]
    pub left_s: i64,
}

impl Lease {
    /// Seconds that whoever begins to count now has to give it.
    pub fn remaining_s(&self) -> i64 {
        if self.left_s > 0 {
            self.left_s
        } else {
            self.ttl_s
        }
    }

    /// Whether a machine could hold it.
    pub(super) fn is_sound(&self) -> bool {
        self.ttl_s <= TTL_MAX_S && (0..=TTL_MAX_S).contains(&self.left_s)
    }
}

/// All leases and the keys attached to them. Cloning is O(1).
#[derive(Clone, Default)]
pub struct Leases {
    book: OrdMap<i64, Lease>,
    /// Every live key with a lease, by that. Not in a checkpoint: the keys say it themselves.
    attached: OrdSet<(i64, Bytes)>,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases")
            .field("len", &self.book.len())
            .field("attached", &self.attached.len())
            .finish_non_exhaustive()
    }
}

impl Leases {
    /// One lease.
    pub fn get(&self, id: i64) -> Option<&Lease> {
        self.book.get(&id)
    }

    /// All of them by id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.book.iter().map(|(id, lease)| (*id, lease))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.book.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.book.is_empty()
    }

    /// The keys of a lease, in ascending order.
    pub fn keys(&self, id: i64) -> impl Iterator<Item = &Bytes> {
        self.attached
            .range((id, Bytes::new())..)
            .take_while(move |(of, _)| *of == id)
            .map(|(_, key)| key)
    }

    /// The first key of a lease at or above a key.
    pub(super) fn key_from(&self, id: i64, from: &Bytes) -> Option<&Bytes> {
        let (of, key) = self.attached.range((id, from.clone())..).next()?;
        (*of == id).then_some(key)
    }

    /// The leases that have keys, in ascending order.
    pub(super) fn with_keys(&self) -> impl Iterator<Item = i64> {
        let first_from = |id: i64| Some(self.attached.range((id, Bytes::new())..).next()?.0);
        std::iter::successors(first_from(i64::MIN), move |id| {
            first_from(id.checked_add(1)?)
        })
    }

    /// Number of keys that have a lease.
    pub fn attached(&self) -> usize {
        self.attached.len()
    }

    pub(super) fn insert(&mut self, id: i64, lease: Lease) {
        self.book.insert(id, lease);
    }

    pub(super) fn remove(&mut self, id: i64) -> bool {
        self.book.remove(&id).is_some()
    }

    pub(super) fn note(&mut self, left: Left) {
        if let Some(lease) = self.book.get_mut(&left.id) {
            lease.left_s = left.seconds.clamp(0, TTL_MAX_S);
        }
    }

    /// A key that was attached to one lease is attached to another one now.
    pub(super) fn moved(&mut self, key: &[u8], from: i64, to: i64) {
        if from == to {
            return;
        }
        if from != NONE {
            self.attached.remove(&(from, Bytes::copy_from_slice(key)));
        }
        if to != NONE {
            self.attached.insert((to, Bytes::copy_from_slice(key)));
        }
    }

    /// Keys that were attached to leases that there are not get leases that never end.
    pub(super) fn adopt_unknown(&mut self) {
        for (id, _) in &self.attached {
            if !self.book.contains_key(id) {
                let lease = Lease {
                    ttl_s: TTL_MAX_S,
                    left_s: 0,
                };
                self.book.insert(*id, lease);
            }
        }
    }

    /// As much as [`Leases::changes`] needs of the leases before.
    pub(super) fn for_changes(&self) -> Leases {
        Leases {
            book: self.book.clone(),
            attached: OrdSet::default(),
        }
    }

    /// Emits what changed since `since`. A record per lease, its id its key.
    pub(crate) fn changes(&self, since: Option<&Leases>, emit: &mut dyn FnMut(Change)) {
        let mut put = |id: i64, lease: &Lease| {
            emit(Change::Put {
                key: id.to_be_bytes().to_vec(),
                value: prost::Message::encode_to_vec(lease),
            });
        };
        let Some(since) = since else {
            self.book.iter().for_each(|(id, lease)| put(*id, lease));
            return;
        };
        let mut gone = Vec::new();
        for item in since.book.diff(&self.book) {
            match item {
                DiffItem::Add(id, lease)
                | DiffItem::Update {
                    new: (id, lease), ..
                } => put(*id, lease),
                DiffItem::Remove(id, _) => gone.push(*id),
            }
        }
        for id in gone {
            emit(Change::Delete {
                key: id.to_be_bytes().to_vec(),
            });
        }
    }

    /// Takes one record back.
    pub(crate) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Corrupt> {
        let id = key.try_into().map(i64::from_be_bytes).unwrap_or(NONE);
        let lease: Lease = prost::Message::decode(value)
            .map_err(|e| Corrupt::new(format!("lease {id:016x}: {e}")))?;
        if id == NONE || !lease.is_sound() {
            return Err(Corrupt::new(format!("lease {id:016x}: {lease:?}")));
        }
        self.book.insert(id, lease);
        Ok(())
    }
}
