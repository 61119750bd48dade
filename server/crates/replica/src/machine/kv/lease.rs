//! The lease operations on the key space: grant, revoke, expire, checkpoint.
//!
//! What does not live here: the table of leases (`machine/lease.rs`), attaching and detaching (each
//! write does it, see [`Kv::write`]).

use bytes::Bytes;

use super::{Answers, Kv, ReadBudget, Span};
use crate::machine::lease::{
    Command, Error, Grant, Granted, Lease, Leases, NONE, Reply, TTL_MAX_S, Verb,
};

impl Kv {
    /// Executes one committed lease command (I2).
    pub fn apply_lease(&mut self, command: &Command) -> Result<Reply, Error> {
        self.sweep_on();
        match &command.verb {
            Some(Verb::Grant(grant)) => Ok(Reply::Granted(self.grant(*grant)?)),
            Some(Verb::Revoke(revoke)) => {
                let ended = self.end_lease(revoke.id);
                ended.then_some(Reply::Revoked).ok_or(Error::NotFound)
            }
            Some(Verb::Expire(expire)) => {
                let mut ids = expire.ids.clone();
                ids.retain(|id| self.end_lease(*id));
                Ok(Reply::Expired { ids })
            }
            Some(Verb::Checkpoint(checkpoint)) => {
                for left in &checkpoint.left {
                    self.leases.note(*left);
                }
                Ok(Reply::Noted)
            }
            // Never proposed; an older member may read an operation of a newer release here.
            None => Ok(Reply::Noted),
        }
    }

    /// The leases of this key space.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    fn grant(&mut self, Grant { id, ttl_s }: Grant) -> Result<Granted, Error> {
        if id == NONE {
            return Err(Error::NotFound);
        }
        if ttl_s > TTL_MAX_S {
            return Err(Error::TtlTooLarge);
        }
        if self.leases.get(id).is_some() {
            return Err(Error::Exists);
        }
        self.leases.insert(id, Lease { ttl_s, left_s: 0 });
        Ok(Granted { ttl_s })
    }

    /// Removes a lease and deletes its keys, in order, in one revision. Returns whether there was
    /// such a lease.
    fn end_lease(&mut self, id: i64) -> bool {
        if !self.leases.remove(id) {
            return false;
        }
        let keys: Vec<Bytes> = self.leases.keys(id).cloned().collect();
        let mut batch = self.batch(ReadBudget::of_command(false, Answers::Omit));
        for key in &keys {
            self.write(&mut batch, key, None);
        }
        self.revision = self.current(&batch);
        true
    }

    /// Attaches live keys to their leases after a checkpoint was loaded. `false` if a lease does
    /// not exist.
    pub(super) fn attach_all(&mut self) -> bool {
        let mut found = Vec::new();
        self.index.visit(&Span::From(b""), &mut |key, entry| {
            let version = self.history.get(entry.place);
            if let Some((_, version)) = version.filter(|_| !entry.tombstone)
                && version.lease != NONE
            {
                found.push((version.lease, Bytes::copy_from_slice(key)));
            }
            true
        });
        let known = found.iter().all(|(id, _)| self.leases.get(*id).is_some());
        for (id, key) in found {
            self.leases.moved(&key, NONE, id);
        }
        known
    }
}
