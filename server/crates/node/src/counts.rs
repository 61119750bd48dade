//! Counts applied commands and the ranges that are read from a view.

use witan_machine::{
    Outcome, Reply,
    kv::{self, OpReply},
    lease,
};

use super::{metrics::NodeMetrics, now_s};

/// The numbers of ranges, puts and deletions in a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KvCounts {
    pub(super) ranges: u64,
    pub(super) puts: u64,
    pub(super) deletes: u64,
}

impl KvCounts {
    /// Counts an operation. For a transaction, counts each executed operation instead.
    fn add(&mut self, reply: &OpReply) {
        match reply {
            OpReply::Range(_) => self.ranges += 1,
            OpReply::Put(_) => self.puts += 1,
            OpReply::Delete(_) => self.deletes += 1,
            OpReply::Txn(txn) => txn.replies.iter().for_each(|(reply, _)| self.add(reply)),
        }
    }
}

impl NodeMetrics {
    /// Updates the metrics for an applied command. Does not count a failed command.
    pub(super) fn applied(&self, outcome: &Outcome) {
        match &outcome.reply {
            Reply::Kv(Ok(kv::KvReply::Compact)) => self.compaction_last.set(now_s()),
            Reply::Kv(Ok(kv::KvReply::Op(reply))) => {
                let mut counts = KvCounts::default();
                counts.add(reply);
                self.count_kv(counts);
            }
            Reply::Tree(Ok(witan_tree::TreeReply::Event(event))) => {
                if let Some((_, writes)) = self.tree_writes.iter().find(|(a, _)| *a == event.action)
                {
                    writes.inc();
                }
            }
            Reply::Tree(Ok(witan_tree::TreeReply::Expired(nodes))) => {
                self.tree_expires.inc_by(*nodes as u64)
            }
            Reply::Lease(Ok(reply)) => self.count_lease(reply),
            Reply::Kv(Err(_)) | Reply::Lease(Err(_)) | Reply::Tree(Err(_)) => {}
            Reply::Published
            | Reply::ClusterVersionSet
            | Reply::DowngradeSet
            | Reply::MembershipChanged(_)
            | Reply::Alarm(_)
            | Reply::Auth(_)
            | Reply::Followed(_)
            | Reply::Nothing => {}
        }
    }

    /// Counts granted leases with their TTLs, and revoked leases, which include expired leases.
    fn count_lease(&self, reply: &lease::LeaseReply) {
        match reply {
            lease::LeaseReply::Granted(granted) => {
                self.leases_granted.inc();
                self.lease_ttls.observe(granted.ttl_s as f64);
            }
            lease::LeaseReply::Revoked => self.leases_revoked.inc(),
            lease::LeaseReply::Expired { ids } => self.leases_revoked.inc_by(ids.len() as u64),
            lease::LeaseReply::Checkpointed => {}
        }
    }

    /// Adds a request's numbers of ranges, puts and deletions to the counters. Several operations are also counted as one
    /// transaction.
    pub(super) fn count_kv(&self, counts: KvCounts) {
        let KvCounts { ranges, puts, deletes } = counts;
        for (series, by) in [
            (&self.kv_ranges, ranges),
            (&self.kv_puts, puts),
            (&self.kv_deletes, deletes),
        ] {
            if by > 0 {
                series.inc_by(by);
            }
        }
        if ranges + puts + deletes > 1 {
            self.kv_txns.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use witan_base::metrics::{MetricsPage, Register};
    use witan_machine::revision::Revision;

    fn put() -> OpReply {
        OpReply::Put(kv::PutReply::default())
    }

    fn apply(metrics: &NodeMetrics, reply: OpReply) {
        metrics.applied(&Outcome {
            reply: Reply::Kv(Ok(kv::KvReply::Op(reply))),
            revision: Revision(2),
        });
    }

    #[test]
    fn a_scrape_counts_an_alias_only_once() {
        let on = Register::default();
        let metrics = NodeMetrics::register(&on);
        apply(&metrics, put());
        metrics.show_aliases();
        metrics.show_aliases();
        let text = MetricsPage::new(on).render();
        for line in ["etcd_mvcc_put_total 1", "etcd_debugging_mvcc_put_total 1"] {
            assert!(text.lines().any(|l| l == line), "no {line:?} in\n{text}");
        }
    }

    #[test]
    fn a_transaction_counts_its_parts() {
        let metrics = NodeMetrics::register(&Register::default());
        let at = Revision(2);
        let txn = |replies| OpReply::Txn(kv::TxnReply { succeeded: true, replies });
        apply(
            &metrics,
            txn(vec![(put(), at), (txn(vec![(put(), at)]), at)]),
        );
        assert_eq!((metrics.kv_puts.get(), metrics.kv_txns.get()), (2, 1));
    }
}
