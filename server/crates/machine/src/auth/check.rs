//! Permission checks, in etcd's order.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Auth, AuthError, Caller, ROOT, User, range_set::RangeSet};
use crate::{
    kv,
    lease::{self, LeaseId, Leases},
};

/// The permission checks for one caller. All checks succeed while v3 authentication is disabled.
#[derive(Clone, Copy)]
pub struct AccessCheck<'a> {
    auth: &'a Auth,
    caller: Option<&'a Caller>,
    leases: &'a Leases,
}

impl std::fmt::Debug for AccessCheck<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

enum AccessKind {
    Read,
    Write,
}

impl Auth {
    /// Fails unless the caller has the root role, or both v2 and v3 authentication are disabled. Ignores the caller's auth
    /// revision. The error is `UserEmpty` if there is no caller or its name is empty, `UserNotFound` for an unknown user, and
    /// otherwise `PermissionDenied`.
    pub fn check_admin(&self, caller: Option<&Caller>) -> Result<(), AuthError> {
        if !self.enabled && !self.paths.enabled {
            return Ok(());
        }
        let caller = caller.filter(|caller| !caller.user.is_empty());
        let caller = caller.ok_or(AuthError::UserEmpty)?;
        let user = self.user(&caller.user).ok_or(AuthError::UserNotFound)?;
        if user.has(ROOT) {
            Ok(())
        } else {
            Err(AuthError::PermissionDenied)
        }
    }

    /// Returns the caller's user. Fails with `UserEmpty` if there is no caller or the auth revision is 0. Fails with
    /// `OldRevision` if the revision is outdated, and with `PermissionDenied` for an unknown user.
    fn authenticated_user(&self, caller: Option<&Caller>) -> Result<&User, AuthError> {
        let caller = caller.filter(|caller| caller.revision > 0);
        let caller = caller.ok_or(AuthError::UserEmpty)?;
        if caller.revision < self.revision {
            return Err(AuthError::OldRevision);
        }
        self.user(&caller.user).ok_or(AuthError::PermissionDenied)
    }
}

impl<'a> AccessCheck<'a> {
    /// Creates the permission checks for a caller. `None` is an unauthenticated caller.
    pub fn new(auth: &'a Auth, caller: Option<&'a Caller>, leases: &'a Leases) -> Self {
        Self { auth, caller, leases }
    }

    /// Fails unless the caller has `wish` access to every key in the range. Succeeds while v3 authentication is disabled.
    fn check_range(
        &self,
        wish: &AccessKind,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), AuthError> {
        match self.granted(wish)? {
            Some(spans) if !spans.cover(key, range_end) => Err(AuthError::PermissionDenied),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the keys to which the caller has `wish` access. `None` means all keys: v3 authentication is disabled, or the
    /// caller has the root role. Fails like [`Auth::authenticated_user`].
    fn granted(&self, wish: &AccessKind) -> Result<Option<&'a RangeSet>, AuthError> {
        if !self.auth.enabled {
            return Ok(None);
        }
        let user = self.auth.authenticated_user(self.caller)?;
        if user.has(ROOT) {
            return Ok(None);
        }
        let grants = self.auth.grants.get(&user.name);
        let grants = grants.ok_or(AuthError::PermissionDenied)?;
        Ok(Some(match wish {
            AccessKind::Read => &grants.read,
            AccessKind::Write => &grants.write,
        }))
    }

    /// Fails unless the caller has `wish` access to every key of a lease. As in etcd, succeeds for a lease without keys, and
    /// for an administrator with an outdated auth revision.
    fn check_lease_keys(&self, wish: &AccessKind, lease: LeaseId) -> Result<(), AuthError> {
        let first_from = |from: &Bytes| self.leases.key_from(lease, from);
        if self.is_admin() || first_from(&Bytes::new()).is_none() {
            return Ok(());
        }
        match self.granted(wish)? {
            Some(spans) if !spans.cover_all(first_from) => Err(AuthError::PermissionDenied),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns whether the caller has the root role, or both v2 and v3 authentication are disabled.
    fn is_admin(&self) -> bool {
        self.auth.check_admin(self.caller).is_ok()
    }

    /// Fails unless the caller can read every key in the range. Succeeds while v3 authentication is disabled.
    pub fn read(&self, key: &[u8], range_end: &[u8]) -> Result<(), AuthError> {
        self.check_range(&AccessKind::Read, key, range_end)
    }

    /// Fails unless the caller can write every key in the range. Succeeds while v3 authentication is disabled.
    pub fn write(&self, key: &[u8], range_end: &[u8]) -> Result<(), AuthError> {
        self.check_range(&AccessKind::Write, key, range_end)
    }

    /// Fails unless the caller can write every key of a lease, because ending the lease deletes them. Succeeds for a lease
    /// without keys and for `LeaseId::NONE`.
    pub fn end_lease(&self, lease: LeaseId) -> Result<(), AuthError> {
        if lease == LeaseId::NONE {
            return Ok(());
        }
        self.check_lease_keys(&AccessKind::Write, lease)
    }

    /// Fails unless the caller can read every key of a lease. Succeeds for a lease that has no keys or does not exist.
    pub fn list_lease(&self, lease: LeaseId) -> Result<(), AuthError> {
        self.check_lease_keys(&AccessKind::Read, lease)
    }

    /// Fails unless the caller is an administrator or can read the keys of all leases.
    pub fn list_leases(&self) -> Result<(), AuthError> {
        if self.is_admin() {
            return Ok(());
        }
        let mut leases = self.leases.with_keys();
        leases.try_for_each(|lease| self.list_lease(lease))
    }

    /// Fails if the caller lacks permission for a lease command. Checks only revocations: as in etcd, every user may grant
    /// leases, and only the leader proposes expirations and checkpoints.
    pub fn lease_command(&self, command: &lease::LeaseCommand) -> Result<(), AuthError> {
        match &command.operation {
            Some(lease::LeaseOperation::Revoke(revoke)) => self.end_lease(revoke.lease_id()),
            Some(
                lease::LeaseOperation::Grant(_)
                | lease::LeaseOperation::Expire(_)
                | lease::LeaseOperation::Checkpoint(_),
            )
            | None => Ok(()),
        }
    }

    /// Fails if the caller lacks permission for a command on the key space. As in etcd, every user may compact. Succeeds while
    /// v3 authentication is disabled.
    pub fn command(&self, command: &kv::KvCommand) -> Result<(), AuthError> {
        match &command.operation {
            _ if !self.auth.enabled => Ok(()),
            Some(kv::KvOperation::Put(put)) => self.put(put),
            Some(kv::KvOperation::Delete(delete)) => self.delete(delete),
            Some(kv::KvOperation::Txn(txn)) => self.txn(txn),
            Some(kv::KvOperation::Compact(_) | kv::KvOperation::Sweep(_)) | None => Ok(()),
        }
    }

    /// Fails unless the caller can write the key and every key of the attached lease. If the put returns the previous pair, the
    /// caller must also be able to read the key.
    pub fn put(&self, put: &kv::Put) -> Result<(), AuthError> {
        self.check_put(put, &mut BTreeSet::new())
    }

    /// Fails unless the caller can write the range and, if the deletion returns the deleted pairs, read it.
    pub fn delete(&self, delete: &kv::DeleteRange) -> Result<(), AuthError> {
        self.write(&delete.key, &delete.range_end)?;
        if delete.prev_kv {
            self.read(&delete.key, &delete.range_end)?;
        }
        Ok(())
    }

    /// Fails unless the caller can read all compared keys and execute all operations, in both branches and in nested
    /// transactions.
    pub fn txn(&self, txn: &kv::Txn) -> Result<(), AuthError> {
        let mut leases = BTreeSet::new();
        for compare in txn.comparisons() {
            self.read(&compare.key, &compare.range_end)?;
        }
        for operation in txn.operations() {
            match operation {
                kv::TxnOpKind::Range(range) => self.read(&range.key, &range.range_end)?,
                kv::TxnOpKind::Put(put) => self.check_put(put, &mut leases)?,
                kv::TxnOpKind::Delete(delete) => self.delete(delete)?,
                kv::TxnOpKind::Txn(_) => {}
            }
        }
        Ok(())
    }

    /// Like [`Self::put`], but checks the lease only if `leases` does not contain it. Adds the lease to `leases`. A lease may
    /// have many keys, and many puts of a transaction may use the same lease.
    fn check_put(&self, put: &kv::Put, leases: &mut BTreeSet<LeaseId>) -> Result<(), AuthError> {
        self.write(&put.key, b"")?;
        if leases.insert(put.lease_id()) {
            self.end_lease(put.lease_id())?;
        }
        if put.prev_kv {
            self.read(&put.key, b"")?;
        }
        Ok(())
    }
}
