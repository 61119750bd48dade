//! The size that counts against `--quota-backend-bytes`: the size of a state, and how much a command may add.
//!
//! `kv/kept.rs` handles values that puts keep, and `witan_node` refuses commands that exceed the quota.

use super::{
    StateMachine,
    command::Command,
    follow::{FollowCommand, FollowOperation, FollowedWrite},
    kv::{KvCommand, Put},
    lease::{LEASE_BYTES, LeaseCommand, LeaseOperation},
};

/// Number of bytes that etcd adds to the key and value of each put in its estimate.
const PUT_BYTES: u64 = 256;

impl StateMachine {
    /// Returns the size of the state in bytes.
    pub fn size_bytes(&self) -> u64 {
        let registered = self.auth.size_bytes() + self.members.size_bytes();
        self.kv.size_bytes() + self.tree.size_bytes() + registered
    }

    /// Returns the number of bytes that this state and its predecessors have dropped since the process loaded a state.
    pub fn dropped_bytes(&self) -> u64 {
        self.kv.dropped_bytes() + self.tree.dropped_bytes()
    }
}

impl Command {
    /// Estimates the number of bytes by which the command increases the size that counts against the quota. Returns 0 for
    /// deletions and for changes to a member's attributes.
    pub fn growth(&self) -> u64 {
        match self {
            Self::Kv(command) => command.growth(),
            Self::Lease(command) => command.growth(),
            Self::Tree(command) => command.growth(),
            Self::Auth(command) => command.growth(),
            Self::Members(change) => change.growth(),
            Self::Follow(command) => command.growth(),
            Self::Publish(_)
            | Self::ClusterVersion(_)
            | Self::Alarm(_)
            | Self::PeerUrls(_)
            | Self::Downgrade(_) => 0,
        }
    }
}

impl KvCommand {
    /// Estimates the growth in bytes (see [`Command::growth`]): the sum over all puts, or over a transaction's larger branch.
    /// Excludes values that puts keep.
    pub(crate) fn growth(&self) -> u64 {
        let of_put = |put: &Put| PUT_BYTES + (put.key.len() + put.value.len()) as u64;
        let operation = self.operation.as_ref();
        operation.map_or(0, |operation| operation.sum_puts(&of_put))
    }
}

impl FollowCommand {
    /// Estimates the growth in bytes (see [`Command::growth`]). Compaction and cut-over add nothing.
    fn growth(&self) -> u64 {
        match &self.operation {
            Some(FollowOperation::Revisions(asked)) => {
                let writes = asked.revisions.iter().flat_map(|revision| &revision.writes);
                let of_write = |write: &FollowedWrite| write.key.len() + write.value.len();
                writes.map(|write| PUT_BYTES + of_write(write) as u64).sum()
            }
            Some(FollowOperation::Leases(leases)) => LEASE_BYTES * leases.granted.len() as u64,
            Some(FollowOperation::Users(users)) => {
                let records = users.records.iter();
                records
                    .map(|record| (record.key.len() + record.value.len()) as u64)
                    .sum()
            }
            Some(
                FollowOperation::Compact(_)
                | FollowOperation::BeginCutOver(_)
                | FollowOperation::CutOver(_)
                | FollowOperation::FenceAgain(_)
                | FollowOperation::SourceGone(_),
            )
            | None => 0,
        }
    }
}

impl LeaseCommand {
    /// Estimates the growth in bytes (see [`Command::growth`]). Only a grant adds data.
    fn growth(&self) -> u64 {
        match &self.operation {
            Some(LeaseOperation::Grant(_)) => LEASE_BYTES,
            Some(
                LeaseOperation::Revoke(_)
                | LeaseOperation::Expire(_)
                | LeaseOperation::Checkpoint(_),
            )
            | None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{KvOperation, Txn, TxnOp, TxnOpKind};

    #[test]
    fn a_transaction_grows_by_its_larger_branch() {
        let put = |value: usize| {
            let put = Put {
                key: "k".into(),
                value: vec![0; value].into(),
                ..Put::default()
            };
            TxnOp { kind: Some(TxnOpKind::Put(put)) }
        };
        let inner = Txn { failure: vec![put(10)], ..Txn::default() };
        let nested = TxnOp { kind: Some(TxnOpKind::Txn(inner)) };
        let txn = Txn {
            success: vec![put(100)],
            failure: vec![put(0), nested],
            ..Txn::default()
        };
        let growth = |txn| Command::from(KvOperation::Txn(txn)).growth();
        assert_eq!(growth(txn), 257 + 257 + 10);
        assert_eq!(growth(Txn::default()), 0);
    }
}
