//! The growth of a command: the bytes by which it may raise what counts against `--quota-backend-bytes`. A transaction
//! counts as the larger of its branches does, whichever will be executed.
//!
//! Not here: values that puts keep (`kv/kept.rs`), and who refuses what exceeds the quota (`witan_node`).

use super::{
    command::Command,
    kv::{KvCommand, KvOperation, Put, Txn, TxnOp, TxnOpKind},
    lease::{LEASE_BYTES, LeaseCommand, LeaseOperation},
};

/// Bytes that etcd adds to key and value of each put in its estimate.
const PUT_BYTES: u64 = 256;

impl Command {
    /// Returns the bytes by which the command may raise what counts against the quota; 0 for a command that adds
    /// no data.
    pub fn growth(&self) -> u64 {
        match self {
            Self::Kv(command) => command.growth(),
            Self::Lease(command) => command.growth(),
            Self::Tree(command) => command.growth(),
            Self::Auth(command) => command.growth(),
            Self::Members(change) => change.growth(),
            Self::Publish(_)
            | Self::ClusterVersion(_)
            | Self::Alarm(_)
            | Self::PeerUrls(_)
            | Self::Downgrade(_) => 0,
        }
    }
}

impl KvCommand {
    pub(crate) fn growth(&self) -> u64 {
        match &self.operation {
            Some(KvOperation::Put(put)) => put.growth(),
            Some(KvOperation::Txn(txn)) => txn.growth(),
            Some(KvOperation::Delete(_) | KvOperation::Compact(_) | KvOperation::Sweep(_))
            | None => 0,
        }
    }
}

impl Put {
    fn growth(&self) -> u64 {
        PUT_BYTES + (self.key.len() + self.value.len()) as u64
    }
}

impl Txn {
    fn growth(&self) -> u64 {
        let of_branch = |branch: &[TxnOp]| branch.iter().map(TxnOp::growth).sum::<u64>();
        of_branch(&self.success).max(of_branch(&self.failure))
    }
}

impl TxnOp {
    fn growth(&self) -> u64 {
        match &self.kind {
            Some(TxnOpKind::Put(put)) => put.growth(),
            Some(TxnOpKind::Txn(txn)) => txn.growth(),
            Some(TxnOpKind::Range(_) | TxnOpKind::Delete(_)) | None => 0,
        }
    }
}

impl LeaseCommand {
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

    #[test]
    fn a_transaction_takes_what_its_larger_branch_does() {
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
        assert_eq!(txn.growth(), 257 + 257 + 10);
        assert_eq!(Txn::default().growth(), 0);
    }
}
