//! RangeStream of etcd 3.7: a range in parts, for answers that are too large for one message. All parts are read at one
//! revision, each from the state that is present when the client has taken the previous one: a state that was kept until then
//! would keep all that is replaced. As in etcd, a compaction of the revision ends the stream.

use futures_util::{Stream, stream};
use tonic::Status;
use witan_api::v3::etcdserverpb::{
    RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader,
    range_request::{SortOrder, SortTarget},
};
use witan_dialect::{Context, blocking::BlockingPool, sampling::KeyOperation};
use witan_machine::kv::{self, Kv, NextPart, RangePartBounds};

use super::{
    RpcResult,
    error::RpcError,
    header,
    kv::{LONG_READ_KEYS, range},
};

/// Bytes of pairs in one message, which can exceed this by one pair.
const PART_BYTES: usize = 1 << 20;

/// Keys read before the task yields.
const PART_KEYS: usize = 4096;

/// Streams the pairs of a range in parts of about `PART_BYTES` bytes, all of one revision. A range that cannot be read is
/// refused before the first part.
pub(super) async fn range_stream(
    ctx: &Context,
    request: RangeRequest,
    _needs_leader: bool,
) -> Result<impl Stream<Item = Result<RangeStreamResponse, Status>> + Send + use<>, Status> {
    range::check(&request)?;
    check(&request)?;
    ctx.count_key(KeyOperation::Read, &request.key);
    let view = range::view_for(ctx, &request).await?;
    let kv = &view.machine.kv;
    let header = header::at(&ctx.node, kv.revision());
    let parts = RangeReader::new(kv, range::operation(request), header, ctx.blocking.clone());
    parts.readable(kv)?;
    ctx.node.ranges_served(1);
    let begun = Some((parts, ctx.node.clone()));
    Ok(stream::try_unfold(begun, |unfinished| async move {
        let Some((mut parts, node)) = unfinished else {
            return Ok(None);
        };
        let view = node.view().await.map_err(RpcError::from)?;
        let response = parts.next(&view.machine.kv).await?;
        let done = response.header.is_some();
        let message = RangeStreamResponse { range_response: Some(response) };
        Ok(Some((message, (!done).then_some((parts, node)))))
    }))
}

/// Refuses sort orders other than ascending keys, and revision filters, which need the whole answer at
/// once; the texts are etcd's.
fn check(request: &RangeRequest) -> Result<(), Status> {
    let by_key = request.sort_target == SortTarget::Key as i32;
    let order = request.sort_order;
    let is_default =
        order == SortOrder::None as i32 || (by_key && order == SortOrder::Ascend as i32);
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if !is_default {
        Err(Status::unimplemented(
            "RangeStream does not support custom sort orders",
        ))
    } else if filters.iter().any(|filter| *filter != 0) {
        Err(Status::unimplemented(
            "RangeStream does not support revision filters",
        ))
    } else {
        Ok(())
    }
}

/// A range that is being read.
struct RangeReader {
    /// The part of the range that is still to be read, at a revision of its own.
    range: kv::Range,
    /// Remaining pairs of the limit.
    left: usize,
    sent: i64,
    /// Header of the last answer.
    header: Option<ResponseHeader>,
    /// Runs counts of many keys.
    blocking: BlockingPool,
}

impl RangeReader {
    /// Prepares to read a range up to its limit, at the revision of `kv` if it names none; the last part carries `header`.
    fn new(
        kv: &Kv,
        range: kv::Range,
        header: Option<ResponseHeader>,
        blocking: BlockingPool,
    ) -> Self {
        let limit = usize::try_from(range.limit).ok().filter(|limit| *limit > 0);
        let revision = if range.revision > 0 {
            range.revision
        } else {
            kv.revision()
        };
        Self {
            left: limit.unwrap_or(usize::MAX),
            range: kv::Range { limit: 0, revision, ..range },
            sent: 0,
            header,
            blocking,
        }
    }

    /// Checks that the range can be read at its revision, without reading a key.
    fn readable(&self, kv: &Kv) -> RpcResult<()> {
        let nothing = RangePartBounds { pairs: 0, bytes: 0, keys: 0 };
        kv.range_part(&self.range, &nothing)?;
        Ok(())
    }

    /// Reads the next part that holds pairs, or the last part, after which the caller must stop: it alone carries
    /// header, count of the whole range (also behind the limit) and `more`. Yields after `PART_KEYS` keys without a
    /// pair. Fails only if [`Self::readable`] does, or while the process stops.
    async fn next(&mut self, kv: &Kv) -> RpcResult<RangeResponse> {
        if self.range.count_only {
            return self.last(kv, Vec::new(), false).await;
        }
        loop {
            let bounds = RangePartBounds { pairs: self.left, bytes: PART_BYTES, keys: PART_KEYS };
            let part = kv.range_part(&self.range, &bounds)?;
            self.left -= part.kvs.len();
            self.sent += part.kvs.len() as i64;
            match part.next {
                NextPart::End => return self.last(kv, part.kvs, true).await,
                NextPart::Pair(key) => {
                    self.range.key = key;
                    if self.left == 0 {
                        return self.last(kv, part.kvs, false).await;
                    }
                }
                NextPart::Unread(key) => self.range.key = key,
            }
            if !part.kvs.is_empty() {
                return Ok(range::response(
                    None,
                    kv::RangeReply { kvs: part.kvs, ..kv::RangeReply::default() },
                ));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Builds the last part, with the count of the whole range. Unless `whole`, keys that follow are
    /// counted, not read.
    async fn last(&self, kv: &Kv, kvs: Vec<kv::KeyValue>, whole: bool) -> RpcResult<RangeResponse> {
        let mut reply = kv::RangeReply { kvs, more: false, count: self.sent };
        if !whole {
            let rest = kv::Range { count_only: true, ..self.range.clone() };
            let long = kv.reads_longer_than(&rest, LONG_READ_KEYS);
            let kv = kv.clone();
            let count = move || kv.range(&rest);
            let rest = self.blocking.run_if(long, count).await?;
            reply.count += rest?.count;
            reply.more = !self.range.count_only;
        }
        Ok(range::response(self.header, reply))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use witan_machine::kv::{KvCommand, KvOperation, Put};

    use super::*;

    fn reader(kv: &Kv, range: &kv::Range) -> RangeReader {
        let header = Some(ResponseHeader::default());
        let blocking = BlockingPool::of_processors();
        RangeReader::new(kv, range.clone(), header, blocking)
    }

    fn filled(keys: usize, value_bytes: usize) -> Kv {
        let mut kv = Kv::default();
        for at in 0..keys {
            let put = Put {
                key: format!("k{at:05}").into(),
                value: vec![b'v'; value_bytes].into(),
                ..Put::default()
            };
            let command = KvCommand { operation: Some(KvOperation::Put(put)) };
            kv.apply(&command).unwrap();
        }
        kv
    }

    async fn all(kv: &Kv, range: &kv::Range) -> (Vec<usize>, RangeResponse) {
        let mut parts = reader(kv, range);
        let (mut sizes, mut whole) = (Vec::new(), RangeResponse::default());
        loop {
            let part = parts.next(kv).await.unwrap();
            sizes.push(
                part.kvs
                    .iter()
                    .map(|kv| kv.key.len() + kv.value.len())
                    .sum(),
            );
            whole.kvs.extend(part.kvs);
            if part.header.is_some() {
                (whole.more, whole.count) = (part.more, part.count);
                return (sizes, whole);
            }
            assert!(!part.more && part.count == 0, "both come with the last one");
        }
    }

    #[tokio::test]
    async fn parts_together_are_the_range() {
        // more keys than are looked at in one go, and more bytes than fit into a part
        let kv = filled(PART_KEYS * 2 + 10, 300);
        for (limit, count_only, keys_only) in [
            (0, false, false),
            (0, false, true),
            (0, true, false),
            (1, false, false),
            (PART_KEYS as i64, false, true),
            (PART_KEYS as i64 * 2 + 10, false, false),
        ] {
            let range = kv::Range {
                key: "k".into(),
                range_end: "l".into(),
                limit,
                count_only,
                keys_only,
                ..kv::Range::default()
            };
            let (sizes, parts) = all(&kv, &range).await;
            let whole = range::response(None, kv.range(&range).unwrap());
            assert_eq!(parts, whole, "{limit} {count_only} {keys_only}");
            assert!(sizes.iter().all(|size| *size < PART_BYTES + 306));
        }
    }

    #[tokio::test]
    async fn many_keys_of_an_older_revision_are_counted_on_another_thread() {
        let kv = filled(1100, 1);
        for (revision, range_end, elsewhere) in [
            (0, "l", false),
            (kv.revision() - 1, "k00900", false),
            (kv.revision() - 1, "l", true),
        ] {
            let range = kv::Range {
                key: "k".into(),
                range_end: range_end.into(),
                count_only: true,
                revision,
                ..kv::Range::default()
            };
            let at_once = reader(&kv, &range).next(&kv).now_or_never();
            assert_eq!(at_once.is_none(), elsewhere, "{revision} {range_end}");
            assert_eq!(
                all(&kv, &range).await.1.count,
                kv.range(&range).unwrap().count
            );
        }
    }

    #[tokio::test]
    async fn each_part_is_of_the_revision_at_which_the_range_began() {
        let mut kv = filled(PART_KEYS * 3, 300);
        let range = kv::Range {
            key: "k".into(),
            range_end: "l".into(),
            ..kv::Range::default()
        };
        let whole = range::response(None, kv.range(&range).unwrap()).kvs;
        let mut parts = reader(&kv, &range);
        let mut read = parts.next(&kv).await.unwrap().kvs;
        let delete = kv::DeleteRange {
            key: "k".into(),
            range_end: "l".into(),
            ..kv::DeleteRange::default()
        };
        let mut apply = |operation| {
            let operation = Some(operation);
            kv.apply(&KvCommand { operation }).unwrap();
            kv.clone()
        };
        let deleted = apply(KvOperation::Delete(delete));
        read.extend(parts.next(&deleted).await.unwrap().kvs);
        assert!(read.len() > PART_KEYS && read[..] == whole[..read.len()]);
        let revision = deleted.revision();
        let compacted = apply(KvOperation::Compact(kv::Compact { revision }));
        let lost = parts.next(&compacted).await;
        assert_eq!(lost, Err(RpcError::Compacted));
    }

    #[tokio::test]
    async fn keys_that_are_gone_end_no_part_in_vain() {
        let mut kv = filled(PART_KEYS * 2, 1);
        let before = kv.revision();
        let delete = kv::DeleteRange {
            key: "k".into(),
            range_end: "k08000".into(),
            ..kv::DeleteRange::default()
        };
        let command = KvCommand { operation: Some(KvOperation::Delete(delete)) };
        kv.apply(&command).unwrap();
        let mut range = kv::Range {
            key: "k".into(),
            range_end: "l".into(),
            ..kv::Range::default()
        };
        let (sizes, now) = all(&kv, &range).await;
        assert_eq!((sizes.len(), now.count), (1, 192));
        range.revision = before;
        assert_eq!(all(&kv, &range).await.1.count, 8192);
    }
}
