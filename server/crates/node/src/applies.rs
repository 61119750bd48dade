//! Measures apply durations by command. A turn applies its entries together, so each entry gets an equal share of the duration.

use std::time::Duration;

use prometheus::{HistogramVec, local::LocalHistogram};
use witan_machine::{
    Reply, auth,
    kv::{self, OpReply},
    lease,
};

use super::request_durations::{RequestType, TYPES};

/// Apply durations by command type since the last [`ApplyTally::flush`].
pub(super) struct ApplyTally {
    all: HistogramVec,
    by_type: [Option<LocalHistogram>; TYPES],
}

impl ApplyTally {
    pub(super) fn new(all: HistogramVec) -> Self {
        Self { all, by_type: [const { None }; TYPES] }
    }

    /// Records the apply duration of an entry with this reply. The reply of a failed command has no type, so it is not counted.
    pub(super) fn applied(&mut self, reply: &Reply, took: Duration) {
        let Some(op) = request_type(reply) else {
            return;
        };
        let series = self.by_type[op as usize].get_or_insert_with(|| {
            let op = format!("{op:?}");
            self.all
                .with_label_values(&["v3", op.as_str(), "true"])
                .local()
        });
        series.observe(took.as_secs_f64());
    }

    /// Adds the durations since the last call to the series.
    pub(super) fn flush(&self) {
        self.by_type
            .iter()
            .flatten()
            .for_each(LocalHistogram::flush);
    }
}

/// Returns the type of the command with this reply, or `None` if the type is not measured.
fn request_type(reply: &Reply) -> Option<RequestType> {
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
        // The other auth commands are rare, and their replies do not reveal the type.
        Reply::Auth(_) => return None,
        Reply::Kv(Err(_)) | Reply::Lease(Err(_)) => return None,
        // v2 has its own series, and etcd 3.6 does not measure membership changes.
        Reply::Tree(_) | Reply::MembershipChanged(_) | Reply::Nothing => return None,
        Reply::Followed(_) => return None,
    })
}
