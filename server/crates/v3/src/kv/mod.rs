//! The key-value calls, one per file. Keys and values in memory are shared with the state, never copied.
//!
//! Reading order: this file (reads, `--max-request-bytes`) → `proposal`, `put`, `range`, `delete_range`, `compact` → `txn`,
//! `overlap`, `estimate`, `executed`. `long_range` sends a long range in one message, and `range_stream` in several.

mod compact;
pub(crate) mod delete_range;
mod estimate;
mod executed;
mod overlap;
mod proposal;
pub(crate) mod put;
pub(crate) mod range;
pub(crate) mod txn;

use futures_util::future::{Either, ready};
use prost::Message;
use tokio::task::yield_now;
use witan_api::v3::{etcdserverpb::ResponseHeader, mvccpb};
use witan_base::account::{JobKind, Permit};
use witan_dialect::{Context, jobs::WithPermit};
use witan_machine::{
    auth::{AccessCheck, AuthError},
    kv::{KeyValue, Kv, KvError, ValueSource},
    view::View,
};
use witan_node::{CurrentView, Job};

use super::{RpcResult, authorize, header};
use crate::error::RpcError;

pub(super) use compact::compact;
pub(super) use delete_range::delete_range;
pub(super) use put::put;
pub(super) use range::{grpc_range, range};
pub(super) use txn::txn;

type Header = Option<ResponseHeader>;

/// Size in bytes of the envelope that etcd counts as part of a request: a header with a request ID.
const ENVELOPE_BYTES: usize = 14;

/// Number of keys above which a read needs a permit. Permits limit concurrent reads and thus the memory of their responses.
const LARGE_READ_KEYS: u64 = 1024;

/// Number of keys above which a read runs on another thread. A read of almost this many keys blocks the worker for 1 to 2 ms,
/// or 5 ms if most of them are deleted. Another thread would add a third to the CPU cost of reading and sending 10,000 pairs.
const LONG_READ_KEYS: u64 = 16_384;

/// Size in bytes of the pairs in memory above which a read needs a permit. If the pairs of a gRPC range exceed this size, the
/// response reads them while it is sent.
const WHOLE_BYTES: u64 = 4 << 20;

/// The source of a read's values, and the maximum size in bytes of its pairs.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadBounds {
    pub(super) source: ValueSource,
    pub(super) bytes: u64,
}

/// The result of a read.
pub(super) trait ReadReply: Send + 'static {
    /// Returns the size in bytes of the keys and values.
    fn bytes(&self) -> usize;
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ReadSize {
    Small,
    /// The response needs a lot of memory.
    Large,
    /// The response needs a lot of memory, and the read would block the worker.
    Long,
}

impl ReadSize {
    /// Classifies a read. `more_than` returns whether the read can cover more keys than its argument. `longer_than` returns
    /// whether the read can take longer than reading that many keys at the latest revision.
    pub(super) fn by(more_than: impl Fn(u64) -> bool, longer_than: impl Fn(u64) -> bool) -> Self {
        if longer_than(LONG_READ_KEYS) {
            Self::Long
        } else if more_than(LARGE_READ_KEYS) {
            Self::Large
        } else {
            Self::Small
        }
    }
}

/// Runs `work` on `request`. A small read uses `view`, because the caller was checked against this state. If a value is only on
/// disk, the read is repeated on another thread. That read and a large read wait for a permit and use this member's latest
/// state, and `check` checks the caller again against that state. A read of few keys is also large if its pairs exceed
/// [`WHOLE_BYTES`]. Returns the result of `work` and, for a large read, its permit. `work` must fail with `ResponseTooLarge` if
/// the pairs exceed [`ReadBounds::bytes`], which is at most `bytes`. The outer result fails if no state is available, `check`
/// refuses the caller, or the state of a large read pins too much memory.
pub(super) fn read<Q: Clone + Send + 'static, T: ReadReply>(
    ctx: &Context,
    (view, bytes): (CurrentView, u64),
    request: Q,
    size: impl Fn(&Kv, &Q) -> ReadSize,
    check: impl Fn(AccessCheck<'_>, &Q) -> Result<(), AuthError> + Clone + Send + 'static,
    work: impl Fn(&View, &Q, ReadBounds) -> Result<T, KvError> + Clone + Send + 'static,
) -> impl Future<Output = RpcResult<(RpcResult<T>, Option<Permit>)>> {
    let few_bytes = bytes.min(WHOLE_BYTES);
    // The first read is outside the future, so that the future does not hold the view.
    let mut small = matches!(size(&view.machine.kv, &request), ReadSize::Small);
    if small {
        let bounds = ReadBounds { source: ValueSource::Memory, bytes: few_bytes };
        match work(&view, &request, bounds) {
            Err(KvError::NotResident) => {}
            Err(KvError::ResponseTooLarge) if few_bytes < bytes => small = false,
            done => return Either::Left(ready(Ok((done.map_err(RpcError::from), None)))),
        }
    }
    drop(view);
    let with_permit = async move {
        if small {
            let (request, check, work) = (request.clone(), check.clone(), work.clone());
            let done = read_small(ctx, request, few_bytes, check, work).await?;
            if few_bytes == bytes || !matches!(done, Err(RpcError::ResponseTooLarge)) {
                return Ok::<_, RpcError>((done, None));
            }
        }
        let job = ctx.large_read().await?;
        authorize::check_on(ctx, &job.machine, |caller| check(caller, &request))?;
        let size = size(&job.machine.kv, &request);
        let work = move |view: &View, source: ValueSource| {
            work(view, &request, ReadBounds { source, bytes })
        };
        let (done, permit) = run_large(job, size, work).await?;
        Ok((done, Some(permit)))
    };
    // Box this future, so that the future of a small read stays small.
    Either::Right(Box::pin(with_permit))
}

/// Checks the caller and runs a small read of values on disk on another thread, with pairs of at most `bytes` bytes. Does not
/// keep a permit for the response, which is small. The results are nested as in [`read`].
async fn read_small<Q: Send + 'static, T: ReadReply>(
    ctx: &Context,
    request: Q,
    bytes: u64,
    check: impl FnOnce(AccessCheck<'_>, &Q) -> Result<(), AuthError> + Send + 'static,
    work: impl Fn(&View, &Q, ReadBounds) -> Result<T, KvError> + Send + 'static,
) -> RpcResult<RpcResult<T>> {
    let own = ctx.clone();
    let read = move |view: &View| {
        authorize::check_on(&own, &view.machine, |caller| check(caller, &request))?;
        let bounds = ReadBounds { source: ValueSource::Disk, bytes };
        Ok::<_, RpcError>(work(view, &request, bounds).map_err(RpcError::from))
    };
    let bytes = |done: &RpcResult<RpcResult<T>>| match done {
        Ok(Ok(reply)) => reply.bytes(),
        Ok(Err(_)) | Err(_) => 0,
    };
    ctx.disk_read(read, bytes).await?
}

/// Runs a read that has a permit on this worker. If the read is `Long` or a value is only on disk, runs it on another thread.
/// The outer result fails with `TooManyRequests` if the state pins too much memory. The permit is held until the connection's
/// current poll ends, so that a poll runs at most as many reads as there are permits.
pub(super) async fn run_large<T: Send + 'static>(
    job: Job<Permit>,
    size: ReadSize,
    work: impl Fn(&View, ValueSource) -> Result<T, KvError> + Send + 'static,
) -> RpcResult<(RpcResult<T>, Permit)> {
    let in_memory = match size {
        ReadSize::Small | ReadSize::Large => {
            Some(work(&job, ValueSource::Memory)).filter(|done| !needs_disk(done))
        }
        ReadSize::Long => None,
    };
    let (done, permit) = match in_memory {
        Some(done) => {
            let done = job.run_here(|_| done)?;
            yield_now().await;
            done
        }
        None => job.run(move |view| work(view, ValueSource::Disk)).await?,
    };
    Ok((done.map_err(RpcError::from), permit))
}

/// Returns whether a read from memory must be repeated with [`ValueSource::Disk`].
pub(super) fn needs_disk<T>(done: &Result<T, KvError>) -> bool {
    matches!(done, Err(KvError::NotResident))
}

/// Waits for a large-read permit if a command can read a lot (`may_be_large`) and would do so in this member's latest state
/// (`is_large`). Otherwise, returns `None` without waiting for a permit. Fails only if that state cannot be read.
async fn permit_if(
    ctx: &Context,
    may_be_large: bool,
    is_large: impl FnOnce(&Kv) -> bool,
) -> RpcResult<Option<Permit>> {
    if may_be_large && is_large(&ctx.node.view().await?.machine.kv) {
        Ok(Some(Box::pin(ctx.account().permit(JobKind::Read)).await))
    } else {
        Ok(None)
    }
}

/// Fails with `RequestTooLarge` if etcd's proposal for this request would exceed `--max-request-bytes`.
fn fits(ctx: &Context, request: &impl Message) -> RpcResult<()> {
    if proposal_bytes(request) > ctx.settings.max_request_bytes {
        Err(RpcError::RequestTooLarge)
    } else {
        Ok(())
    }
}

/// Returns the size in bytes of etcd's proposal for a request: the message, its tag and length, and the envelope.
fn proposal_bytes(request: &impl Message) -> usize {
    let length = request.encoded_len();
    ENVELOPE_BYTES + 1 + prost::length_delimiter_len(length) + length
}

pub(super) fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision.0,
        mod_revision: kv.mod_revision.0,
        version: kv.version,
        value: kv.value,
        lease: kv.lease.0,
    }
}

/// Returns the size in bytes of keys and values.
pub(super) fn pairs_bytes(pairs: &[mvccpb::KeyValue]) -> usize {
    pairs.iter().map(|kv| kv.key.len() + kv.value.len()).sum()
}

fn key_values(kvs: Vec<KeyValue>) -> Vec<mvccpb::KeyValue> {
    kvs.into_iter().map(key_value).collect()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use witan_api::v3::etcdserverpb::{PutRequest, RangeRequest};
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::test_context::{all_keys, context, put};

    #[test]
    fn a_read_of_few_long_values_needs_a_permit() {
        let mut state = Kv::default();
        for at in 0..6 {
            put(&mut state, vec![b'k', at], vec![at; 1 << 20]);
        }
        actix_rt::System::new().block_on(async {
            let states = NodeOfStates::begin(&state);
            let ctx = context(states.node.clone());
            let account = ctx.account();
            let permits = [
                account.permit(JobKind::Read).await,
                account.permit(JobKind::Read).await,
            ];
            let short = RangeRequest { limit: 2, ..all_keys() };
            let answer = range(&ctx, short).await.expect("a range");
            assert_eq!(answer.response.kvs.len(), 2);
            let mut long = Box::pin(range(&ctx, all_keys()));
            assert!(long.as_mut().now_or_never().is_none(), "the read waits");
            drop(permits);
            let answer = long.await.expect("a range");
            assert_eq!(answer.response.kvs.len(), 6);
        });
    }

    #[test]
    fn a_proposal_is_measured_with_its_envelope() {
        let put = PutRequest {
            key: "k".into(),
            value: vec![0; 1 << 20].into(),
            ..Default::default()
        };
        // The key takes 3 bytes, and the value takes 4 bytes and 1 MiB. The remaining bytes are the tag, three bytes of length,
        // and the envelope.
        assert_eq!(proposal_bytes(&put), (1 << 20) + 7 + 4 + ENVELOPE_BYTES);
    }
}
