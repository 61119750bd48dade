//! Range responses that are too long to be in memory as a whole. A plan computes the length of the response from keys and
//! versions. The pairs are then read from the same state and encoded while the response is sent. Other threads read values that
//! are only on disk.
//!
//! The state is kept until the response is sent. If the state pins too much memory (`held_views` of the node), the call fails.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Instant,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::{Message as _, length_delimiter_len};
use tokio::{sync::oneshot, task::yield_now};
use tonic::{Code, Status, body::Body, metadata::GRPC_CONTENT_TYPE};
use witan_api::v3::etcdserverpb::{RangeRequest, RangeResponse};
use witan_base::{
    account::{Account, Charge, JobKind, Resource},
    panics,
};
use witan_dialect::{
    Context,
    jobs::{WithPermit, read_from_disk},
};
use witan_machine::{
    kv::{KeyValue, KvError, Range, RangePartBounds, RangePlan, ValueSource},
    view::View,
};
use witan_node::Job;

use super::{
    RpcResult, authorize, header,
    kv::{key_value, needs_disk, range},
    messages::UnaryResponse,
};
use crate::error::RpcError;

/// Limits of a part that a worker reads from memory and encodes in less than a millisecond. A single pair can exceed the
/// limits.
const MEMORY_PART: RangePartBounds =
    RangePartBounds { pairs: usize::MAX, bytes: 64 << 10, keys: 4096 };

/// Limits of a part that another thread reads from disk.
const DISK_PART: RangePartBounds =
    RangePartBounds { pairs: usize::MAX, bytes: 1 << 20, keys: usize::MAX };

pub(super) type RangeAnswer = UnaryResponse<RangeResponse>;

/// A long response that is being sent.
struct LongRange {
    account: Account,
    /// The job with the state. The task of [`keep`] drops the job when the state must be released.
    job: Weak<Job<()>>,
    /// Dropping this sender releases the state.
    _done_guard: oneshot::Sender<Infallible>,
    plan: RangePlan,
    /// The charge for the list of keys in the plan.
    _listed: Charge,
    /// The bytes before the pairs; empty once returned.
    head: Bytes,
    /// The bytes after the pairs; empty once returned.
    tail: Bytes,
}

/// Waits for a permit for a large read, takes this member's latest state, and repeats the permission check on that state.
/// Returns the permit and a response that reads its pairs from that state while it is sent. Fails with `ResponseTooLarge` if
/// the response is too long or its pairs cannot be sorted in memory. Fails with `TooManyRequests` if the charge for the list of
/// keys is refused.
pub(super) async fn begin(
    ctx: &Context,
    request: RangeRequest,
) -> RpcResult<WithPermit<Response<Body>>> {
    let began = Instant::now();
    let permit = ctx.account().permit(JobKind::Read).await;
    let job = Arc::new(ctx.node.job(()).await?);
    authorize::check_on(ctx, &job.machine, |caller| {
        caller.read(&request.key, &request.range_end)
    })?;
    let (planning, range) = (job.clone(), range::operation(request));
    let sorted_bytes = range::pairs_bytes_max(ctx.node.memory());
    let work = move || (measure(&planning, &range, sorted_bytes), permit);
    let planned = panics::run_blocking(work).await;
    let (planned, permit) = planned.map_err(|_| RpcError::Stopped)?;
    ctx.v3_metrics
        .record_range(began.elapsed(), planned.is_ok());
    let (plan, pairs_len) = planned?;
    let list_bytes = plan.list_bytes();
    let mut listed = ctx.account().hold_later(Resource::Answers);
    if list_bytes > 0 && !listed.grow(list_bytes) {
        return Err(RpcError::TooManyRequests);
    }
    ctx.node.ranges_served(1);
    let header = header::at(&ctx.node, job.machine.kv.revision());
    let before = RangeResponse { header, ..RangeResponse::default() };
    let behind = RangeResponse {
        more: plan.reply.more,
        count: plan.reply.count,
        ..RangeResponse::default()
    };
    let length = before.encoded_len() + pairs_len + behind.encoded_len();
    let mut head = BytesMut::new();
    head.put_u8(0);
    head.put_u32(u32::try_from(length).map_err(|_| RpcError::ResponseTooLarge)?);
    head.extend_from_slice(&before.encode_to_vec());
    let (job, done_guard) = keep(job);
    let answer = LongRange {
        account: ctx.account().clone(),
        job,
        _done_guard: done_guard,
        plan,
        _listed: listed,
        head: head.freeze(),
        tail: behind.encode_to_vec().into(),
    };
    Ok(WithPermit::new(answer.response(), Some(permit)))
}

/// Plans the response to a range. Returns the plan and the encoded length of its pairs in bytes. Fails with
/// `ResponseTooLarge` if the pairs must be sorted and exceed `sorted_bytes` bytes.
fn measure(view: &View, range: &Range, sorted_bytes: u64) -> Result<(RangePlan, usize), KvError> {
    let mut length = 0;
    let mut measure = |pair, value_len| length += pair_len(pair, value_len);
    let plan = view
        .machine
        .kv
        .plan_range(range, sorted_bytes, &mut measure)?;
    Ok((plan, length))
}

/// Returns the encoded length in bytes of a pair in a response. The value, which `pair` lacks, has `value_len` bytes.
fn pair_len(pair: KeyValue, value_len: usize) -> usize {
    let field = |length: usize| 1 + length_delimiter_len(length) + length;
    let value = if value_len == 0 { 0 } else { field(value_len) };
    field(key_value(pair).encoded_len() + value)
}

/// Moves a state to a task, which releases the state when the returned sender is dropped or the state pins too much memory. The
/// task does so even if the response is not polled. Returns a weak reference to the state, and the sender.
fn keep(job: Arc<Job<()>>) -> (Weak<Job<()>>, oneshot::Sender<Infallible>) {
    let (done_guard, done) = oneshot::channel();
    let kept = Arc::downgrade(&job);
    let mut end = job.end_signal();
    tokio::spawn(async move {
        tokio::select! {
            () = end.wait() => {}
            _ = done => {}
        }
        // Freeing an old state can take a long time.
        drop(panics::spawn(move || drop(job)));
    });
    (kept, done_guard)
}

/// Reads the next pairs of a plan up to `bounds`, encodes them, and advances the plan. Fails with `NotResident` if `source` is
/// `Memory` and a value is only on disk.
fn read_part(
    view: &View,
    plan: &mut RangePlan,
    bounds: &RangePartBounds,
    source: ValueSource,
) -> Result<Bytes, KvError> {
    let pairs = view.machine.kv.planned_part(plan, bounds, source)?;
    let kvs = pairs.into_iter().map(key_value).collect();
    let part = RangeResponse { kvs, ..RangeResponse::default() };
    Ok(part.encode_to_vec().into())
}

impl LongRange {
    /// Builds the gRPC response. Its body reads the pairs while it is sent, and ends with an error status if a read fails.
    fn response(self) -> Response<Body> {
        let parts = stream::try_unfold(self, |mut answer| async move {
            let part = answer.next().await?;
            Ok::<_, Status>(part.map(|part| (part, answer)))
        });
        let mut trailers = HeaderMap::new();
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(Code::Ok as i32));
        let trailers = stream::iter([Ok(Frame::trailers(trailers))]);
        let frames = parts.map_ok(Frame::data).chain(trailers);
        let mut response = Response::new(Body::new(StreamBody::new(frames)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
        response
    }

    /// Returns the next part of the message, or `None` at the end. The first part begins with the gRPC prefix.
    async fn next(&mut self) -> RpcResult<Option<Bytes>> {
        while !self.plan.is_done() {
            let part = self.part().await?;
            if part.is_empty() {
                yield_now().await;
                continue;
            }
            let head = std::mem::take(&mut self.head);
            return Ok(Some(match head.is_empty() {
                true => part,
                // The first frame contains pairs, so that an unread response is charged more, and fewer unread responses keep
                // states.
                false => [head, part].concat().into(),
            }));
        }
        let rest = [&mut self.head, &mut self.tail]
            .map(std::mem::take)
            .concat();
        Ok((!rest.is_empty()).then(|| rest.into()))
    }

    /// Reads and encodes the next pairs: on this worker, or on another thread if a value is only on disk. Returns no bytes if
    /// the next keys have no pair to return. Fails with `TooManyRequests` if the state was released.
    async fn part(&mut self) -> RpcResult<Bytes> {
        let job = self.job.upgrade().ok_or(RpcError::TooManyRequests)?;
        let part = read_part(&job, &mut self.plan, &MEMORY_PART, ValueSource::Memory);
        if !needs_disk(&part) {
            return Ok(part?);
        }
        // Release the state while the read waits for its permit.
        drop(job);
        let (job, mut plan) = (self.job.clone(), self.plan.clone());
        let state = async move { job.upgrade().ok_or(RpcError::TooManyRequests) };
        let read = move |job: Arc<Job<()>>| {
            let part = read_part(&job, &mut plan, &DISK_PART, ValueSource::Disk);
            (part, plan)
        };
        let bytes =
            |(part, _): &(Result<Bytes, KvError>, RangePlan)| part.as_ref().map_or(0, Bytes::len);
        let (part, plan) = read_from_disk(&self.account, state, read, bytes).await?;
        self.plan = plan;
        Ok(part?)
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use witan_api::v3::etcdserverpb::range_request::{SortOrder, SortTarget};
    use witan_machine::{kv::Kv, values::test_support::drop_kv_values};
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::{
        kv::grpc_range,
        test_context::{all_keys, context, put},
    };

    const VALUE_BYTES: usize = 1 << 20;
    const VALUES: u8 = 100;

    /// Returns a state with `VALUES` keys, each with a value of `VALUE_BYTES` bytes.
    fn filled() -> Kv {
        let mut kv = Kv::default();
        for at in 0..VALUES {
            put(&mut kv, vec![b'k', at], vec![at; VALUE_BYTES]);
        }
        kv
    }

    #[test]
    fn only_a_small_part_of_a_long_response_is_in_memory() {
        let kv = filled();
        let cache = drop_kv_values(&kv);
        actix_rt::System::new().block_on(async {
            let states = NodeOfStates::begin(&kv);
            let ctx = context(states.node.clone());
            let answer = grpc_range(&ctx, all_keys())
                .await
                .expect("a valid range")
                .response;
            let RangeAnswer::Long(response) = answer else {
                panic!("the entire response is in memory");
            };
            let (mut body, mut received) = (response.into_body(), 0);
            while let Some(frame) = body.frame().await {
                let frame = frame.expect("no error");
                let length = frame.data_ref().map_or(0, Bytes::len);
                let held = length as u64 + body.size_hint().lower() + cache.resident_bytes();
                assert!(held < 4 * VALUE_BYTES as u64, "{held} bytes");
                received += length;
            }
            assert!(received > usize::from(VALUES) * VALUE_BYTES);
        });
    }

    #[test]
    fn a_range_that_cannot_be_sorted_in_memory_is_refused() {
        let kv = filled();
        let all = RangeRequest { limit: 1, ..all_keys() };
        let sorted = RangeRequest {
            sort_target: SortTarget::Value as i32,
            sort_order: SortOrder::Descend as i32,
            ..all.clone()
        };
        let plan = |request: &RangeRequest, mib: u64| {
            let range = range::operation(request.clone());
            kv.plan_range(&range, mib << 20, &mut |_, _| ()).map(drop)
        };
        assert_eq!(plan(&sorted, 50), Err(KvError::ResponseTooLarge));
        assert_eq!(plan(&sorted, 200), Ok(()));
        assert_eq!(plan(&all, 0), Ok(()));
    }

    #[test]
    fn a_short_response_to_a_long_range_is_in_memory() {
        let kv = filled();
        let few = RangeRequest { limit: 2, ..all_keys() };
        let keys = RangeRequest { limit: 0, keys_only: true, ..few.clone() };
        actix_rt::System::new().block_on(async {
            let states = NodeOfStates::begin(&kv);
            let ctx = context(states.node.clone());
            for (request, pairs) in [(few, 2), (keys, usize::from(VALUES))] {
                let answer = grpc_range(&ctx, request)
                    .await
                    .expect("a valid range")
                    .response;
                let RangeAnswer::Whole(range) = answer else {
                    panic!("the response is read while it is sent");
                };
                assert_eq!(range.kvs.len(), pairs);
            }
        });
    }
}
