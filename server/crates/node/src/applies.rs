//! Measures apply durations by command. A turn applies its entries together, so each entry gets an equal share of the duration.

use std::{array, time::Duration};

use prometheus::{Histogram, HistogramVec, local::LocalHistogram};
use witan_machine::{
    Reply, auth,
    kv::{self, OpReply},
    lease,
};

use super::request_durations::{RequestType, TYPES};

/// Types of the measured commands. The reply of a failed command has no type, so it is not counted.
const MEASURED: [RequestType; 12] = [
    RequestType::Put,
    RequestType::DeleteRange,
    RequestType::Txn,
    RequestType::Compaction,
    RequestType::LeaseGrant,
    RequestType::LeaseRevoke,
    RequestType::LeaseCheckpoint,
    RequestType::Alarm,
    RequestType::ClusterMemberAttrSet,
    RequestType::ClusterVersionSet,
    RequestType::DowngradeInfoSet,
    RequestType::Authenticate,
];

/// The series of the [`MEASURED`] types, indexed by type.
#[derive(Debug)]
pub(super) struct ApplySeries([Option<Histogram>; TYPES]);

impl ApplySeries {
    pub(super) fn new(all: &HistogramVec) -> Self {
        let mut series = [const { None }; TYPES];
        for measured in MEASURED {
            let op = format!("{measured:?}");
            series[measured as usize] = Some(all.with_label_values(&["v3", op.as_str(), "true"]));
        }
        Self(series)
    }

    /// Creates a tally for the thread that applies commands.
    pub(super) fn tally(&self) -> ApplyTally {
        ApplyTally(array::from_fn(|at| {
            self.0[at].as_ref().map(Histogram::local)
        }))
    }
}

/// Observations of one thread, which [`ApplyTally::show`] adds to the series.
pub(super) struct ApplyTally([Option<LocalHistogram>; TYPES]);

impl ApplyTally {
    /// Records the apply duration of an entry with this reply.
    pub(super) fn applied(&self, reply: &Reply, took: Duration) {
        if let Some(series) = op(reply).and_then(|op| self.0[op as usize].as_ref()) {
            series.observe(took.as_secs_f64());
        }
    }

    /// Adds the durations since the last call to the series.
    pub(super) fn show(&mut self) {
        self.0.iter_mut().flatten().for_each(|op| op.flush());
    }
}

/// Returns the type of the command with this reply, or `None` if the type is not measured.
fn op(reply: &Reply) -> Option<RequestType> {
    Some(match reply {
        Reply::Kv(Ok(reply)) => match reply {
            kv::KvReply::Op(OpReply::Put(_)) => RequestType::Put,
            kv::KvReply::Op(OpReply::Delete(_)) => RequestType::DeleteRange,
            kv::KvReply::Op(OpReply::Txn(_)) => RequestType::Txn,
            kv::KvReply::Compact => RequestType::Compaction,
            kv::KvReply::Op(OpReply::Range(_)) => return None,
        },
        Reply::Lease(Ok(reply)) => match reply {
            lease::LeaseReply::Granted(_) => RequestType::LeaseGrant,
            lease::LeaseReply::Revoked | lease::LeaseReply::Expired { .. } => {
                RequestType::LeaseRevoke
            }
            lease::LeaseReply::Checkpointed => RequestType::LeaseCheckpoint,
        },
        Reply::Alarm(_) => RequestType::Alarm,
        Reply::Published => RequestType::ClusterMemberAttrSet,
        Reply::ClusterVersionSet => RequestType::ClusterVersionSet,
        Reply::DowngradeSet => RequestType::DowngradeInfoSet,
        Reply::Auth(Ok(auth::AuthReply::Authenticated { .. })) => RequestType::Authenticate,
        // Other auth commands are rare, and their replies are the same.
        Reply::Auth(_) => return None,
        Reply::Kv(Err(_)) | Reply::Lease(Err(_)) => return None,
        // v2 has its own series, and etcd 3.6 does not measure membership changes.
        Reply::Tree(_) | Reply::MembershipChanged(_) | Reply::Nothing => return None,
        Reply::Followed(_) => return None,
    })
}
