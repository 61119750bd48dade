//! Apply durations by command. Entries of a turn are applied together, so each counts with its
//! share of the turn.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, local::LocalHistogram};
use witan_machine::{
    Reply, auth,
    kv::{self, OpReply},
    lease,
};

/// etcd's names of v3 commands. A failed command does not carry its kind and is not counted.
const OPS: [&str; 12] = [
    "Put",
    "DeleteRange",
    "Txn",
    "Compaction",
    "LeaseGrant",
    "LeaseRevoke",
    "LeaseCheckpoint",
    "Alarm",
    "ClusterMemberAttrSet",
    "ClusterVersionSet",
    "DowngradeInfoSet",
    "Authenticate",
];

/// The series of each of [`OPS`].
#[derive(Debug)]
pub(super) struct ApplySeries([Histogram; OPS.len()]);

impl ApplySeries {
    pub(super) fn new(all: &HistogramVec) -> Self {
        Self(OPS.map(|op| all.with_label_values(&["v3", op, "true"])))
    }

    /// Makes a tally for the thread that applies commands.
    pub(super) fn tally(&self) -> ApplyTally {
        ApplyTally(self.0.each_ref().map(Histogram::local))
    }
}

/// Collects observations of one thread locally, until [`ApplyTally::show`].
pub(super) struct ApplyTally([LocalHistogram; OPS.len()]);

impl ApplyTally {
    /// Notes how long the entry with this reply took to apply.
    pub(super) fn applied(&self, reply: &Reply, took: Duration) {
        if let Some(op) = op(reply) {
            self.0[op].observe(took.as_secs_f64());
        }
    }

    /// Adds what was noted since the last call to the series.
    pub(super) fn show(&mut self) {
        self.0.iter_mut().for_each(|op| op.flush());
    }
}

/// Returns the place of a reply's operation in [`OPS`]; `None` if it is not measured.
fn op(reply: &Reply) -> Option<usize> {
    Some(match reply {
        Reply::Kv(Ok(reply)) => match reply {
            kv::KvReply::Op(OpReply::Put(_)) => 0,
            kv::KvReply::Op(OpReply::Delete(_)) => 1,
            kv::KvReply::Op(OpReply::Txn(_)) => 2,
            kv::KvReply::Compact => 3,
            kv::KvReply::Op(OpReply::Range(_)) => return None,
        },
        Reply::Lease(Ok(reply)) => match reply {
            lease::LeaseReply::Granted(_) => 4,
            lease::LeaseReply::Revoked | lease::LeaseReply::Expired { .. } => 5,
            lease::LeaseReply::Checkpointed => 6,
        },
        Reply::Alarm(_) => 7,
        Reply::Published => 8,
        Reply::ClusterVersionSet => 9,
        Reply::DowngradeSet => 10,
        Reply::Auth(Ok(auth::AuthReply::Authenticated { .. })) => 11,
        // the others cannot be distinguished by their replies, and are rare
        Reply::Auth(_) => return None,
        Reply::Kv(Err(_)) | Reply::Lease(Err(_)) => return None,
        // v2's have series of their own, and etcd 3.6 knows no others
        Reply::Tree(_) | Reply::MembershipChanged(_) | Reply::Nothing => return None,
        Reply::Followed(_) => return None,
    })
}
