//! Reads the keys of a cluster through one member, page by page.

use witan_api::v3::{
    etcdserverpb::{RangeRequest, TxnRequest, TxnResponse},
    mvccpb::KeyValue,
};
use witan_members::{Address, CallError};

use super::{command::MemberFlags, error::PluginError, reach::Reach, target::Target};

/// Maximum number of keys or prefixes that a command remembers; `revert` fails beyond it, and the keys of further prefixes of
/// `top` share one row.
pub(super) const REMEMBERED_MAX: usize = 10_000;
const PAGE_KEYS: i64 = 1_000;
/// Default maximum number of operations in a transaction.
const TXN_OPS_DEFAULT: i32 = 128;

pub(super) struct Keys {
    reach: Reach,
    address: Address,
    pub(super) txn_ops_max: usize,
}

impl Keys {
    /// Connects to a member that answers, preferably to a follower whose response a quorum confirmed.
    pub(super) async fn open(
        target: &Target,
        cluster: &str,
        flags: &MemberFlags,
    ) -> Result<Self, PluginError> {
        let cluster = target.cluster(cluster).await?;
        let reach = Reach::open(target, &cluster, flags).await?;
        let address = reach.answering_member(&reach.survey().await)?;
        let options = cluster.spec.options;
        let ops = options.and_then(|options| options.max_txn_ops);
        let ops = ops.unwrap_or(TXN_OPS_DEFAULT);
        Ok(Self {
            reach,
            address,
            txn_ops_max: usize::try_from(ops).unwrap_or(0),
        })
    }

    /// Reads one key at a revision (0 for the newest), with a linearizable read. Returns the key (`None` if the key does not
    /// exist) and the newest revision.
    pub(super) async fn get(
        &self,
        key: &[u8],
        revision: i64,
    ) -> Result<(Option<KeyValue>, i64), CallError> {
        let request = RangeRequest {
            key: key.to_vec().into(),
            revision,
            ..RangeRequest::default()
        };
        let mut found = self.reach.members.range(&self.address, request).await?;
        let newest = found.header.take().map_or(0, |header| header.revision);
        Ok((found.kvs.pop(), newest))
    }

    /// Iterates over the keys with a prefix, without values. If `revision` is `None`, each page is a serializable read of the
    /// member's newest state.
    pub(super) fn pages(&self, prefix: &[u8], revision: Option<i64>) -> Pages<'_> {
        let first = if prefix.is_empty() { b"\0" } else { prefix };
        Pages {
            keys: self,
            next: Some(first.to_vec()),
            end: end(prefix),
            revision,
        }
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, CallError> {
        self.reach.members.txn(&self.address, request).await
    }
}

pub(super) struct Pages<'a> {
    keys: &'a Keys,
    next: Option<Vec<u8>>,
    end: Vec<u8>,
    revision: Option<i64>,
}

impl Pages<'_> {
    /// Reads the next page. Returns an empty page at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<KeyValue>, CallError> {
        let Some(key) = self.next.take() else {
            return Ok(Vec::new());
        };
        let request = RangeRequest {
            key: key.into(),
            range_end: self.end.clone().into(),
            limit: PAGE_KEYS,
            revision: self.revision.unwrap_or(0),
            serializable: self.revision.is_none(),
            keys_only: true,
            ..RangeRequest::default()
        };
        let page = self
            .keys
            .reach
            .members
            .range(&self.keys.address, request)
            .await?;
        if page.more {
            let last = page.kvs.last().map(|last| last.key.to_vec());
            self.next = last.map(|mut key| {
                key.push(0);
                key
            });
        }
        Ok(page.kvs)
    }
}

/// Returns the end of the key range with a prefix; `\0`, which means no end, if no larger prefix exists.
fn end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_after_its_prefix() {
        assert_eq!(end(b"/a/"), b"/a0");
        assert_eq!(end(b"a\xff\xff"), b"b");
        assert_eq!(end(b""), b"\0");
        assert_eq!(end(b"\xff"), b"\0");
    }
}
