//! The lease operations on the key space: grant, revoke, expire, checkpoint.
//!
//! `machine/lease.rs` contains the table of leases. [`Kv::write`] attaches each written key to its lease.

use bytes::Bytes;

use super::{KeyRange, Kv, ReadBudget, ReadResults};
use crate::lease::{
    Granted, Lease, LeaseCommand, LeaseError, LeaseGrant, LeaseId, LeaseOperation, LeaseReply,
    Leases, TTL_MAX_S,
};

impl Kv {
    /// Executes a committed lease command (I2), after a step of an unfinished sweep. Fails if a lease to revoke does not exist
    /// or a lease cannot be granted. Expirations and checkpoints ignore unknown leases.
    pub fn apply_lease(&mut self, command: &LeaseCommand) -> Result<LeaseReply, LeaseError> {
        self.continue_sweep();
        match &command.operation {
            Some(LeaseOperation::Grant(grant)) => Ok(LeaseReply::Granted(self.grant(*grant)?)),
            Some(LeaseOperation::Revoke(revoke)) => {
                let ended = self.end_lease(revoke.lease_id());
                ended
                    .then_some(LeaseReply::Revoked)
                    .ok_or(LeaseError::NotFound)
            }
            Some(LeaseOperation::Expire(expire)) => {
                let ids = expire.lease_ids();
                let ids = ids.filter(|id| self.end_lease(*id)).collect();
                Ok(LeaseReply::Expired { ids })
            }
            Some(LeaseOperation::Checkpoint(checkpoint)) => {
                for left in &checkpoint.remaining {
                    self.leases.checkpoint(*left);
                }
                Ok(LeaseReply::Checkpointed)
            }
            // Every proposed command has an operation. Decoding refuses the operations of later releases.
            None => Ok(LeaseReply::Checkpointed),
        }
    }

    /// Returns the leases of this key space.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Adds a lease. Fails if the id is [`LeaseId::NONE`] (`NotFound`) or exists, or if the TTL exceeds [`TTL_MAX_S`].
    fn grant(&mut self, grant: LeaseGrant) -> Result<Granted, LeaseError> {
        let (id, ttl_s) = (grant.lease_id(), grant.ttl_s);
        if id == LeaseId::NONE {
            return Err(LeaseError::NotFound);
        }
        if ttl_s > TTL_MAX_S {
            return Err(LeaseError::TtlTooLarge);
        }
        if self.leases.get(id).is_some() {
            return Err(LeaseError::Exists);
        }
        self.leases.insert(id, Lease { ttl_s, remaining_ttl_s: 0 });
        Ok(Granted { ttl_s })
    }

    /// Removes a lease and deletes its keys, in key order, at one revision. A lease without keys creates no revision. Returns
    /// whether the lease existed.
    fn end_lease(&mut self, id: LeaseId) -> bool {
        if !self.leases.remove(id) {
            return false;
        }
        let keys: Vec<Bytes> = self.leases.keys(id).cloned().collect();
        let reads = ReadBudget::of_command(self.pacing, false, ReadResults::Discard);
        let mut batch = self.begin_write(reads);
        for key in &keys {
            self.write(&mut batch, key, None);
        }
        self.revision = self.revision_within(&batch);
        true
    }

    /// Attaches all live keys to their leases, after a checkpoint has been loaded or versions have been imported. If a lease
    /// does not exist, returns `false` but still attaches the keys of that lease.
    pub(super) fn attach_leased_keys(&mut self) -> bool {
        let mut found = Vec::new();
        self.index.visit(&KeyRange::From(b""), &mut |key, entry| {
            let version = self.history.get(entry.location);
            if let Some((_, version)) = version.filter(|_| !entry.tombstone)
                && version.lease != LeaseId::NONE
            {
                found.push((version.lease, Bytes::copy_from_slice(key)));
            }
            true
        });
        let known = found.iter().all(|(id, _)| self.leases.get(*id).is_some());
        for (id, key) in found {
            self.leases.reattach(&key, LeaseId::NONE, id);
        }
        known
    }
}
