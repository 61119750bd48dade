//! Tests reads of values that are only on disk. Each response must equal the response of a member with the same state in
//! memory, and no worker may read a file.

use std::{
    cell::Cell,
    pin::{Pin, pin},
    sync::Arc,
};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use prost::Message as _;
use tonic::Status;
use witan_api::v3::{
    etcdserverpb::{
        Compare, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest,
        WatchResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request,
        watch_request::RequestUnion,
    },
    mvccpb::Event,
};
use witan_base::account::JobKind;
use witan_dialect::Context;
use witan_machine::{
    StateMachine,
    kv::Kv,
    values::{BlockCache, test_support::drop_values},
    view::View,
};
use witan_node::testing::NodeOfStates;

use crate::{
    RpcResult, kv, long_range,
    range_stream::range_stream,
    test_context::{all_keys, context, put},
    watch::watch_events,
};

/// Number of keys. It is too high for a small read.
const KEYS: usize = 1500;

thread_local! {
    /// Whether this is the thread that runs a test. It is the only worker of the test.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Moves the values of all closed blocks to a file, which the calling thread must not read. Returns the cache of the file.
fn move_to_disk(kv: &Kv) -> Arc<BlockCache> {
    IS_WORKER.set(true);
    let machine = StateMachine { kv: kv.clone(), ..StateMachine::default() };
    let view = View { machine, ..View::default() };
    let cache = drop_values(&view, || {
        assert!(!IS_WORKER.get(), "the worker reads a file");
    });
    assert_eq!(cache.resident_bytes(), 0);
    cache
}

fn key(at: usize) -> String {
    format!("k{at:05}")
}

/// Returns the value that a round writes to a key. The order of the values differs from the order of the keys, and the values
/// fill more than one part of a range.
fn value(at: usize, round: usize) -> String {
    format!("{:05} {round} {}", at * 7 % KEYS, "v".repeat(1000))
}

struct Member {
    states: NodeOfStates,
    ctx: Context,
    /// The state after one more put of the key 7.
    later: Kv,
}

impl Member {
    /// Creates a member whose `KEYS` keys have two versions each.
    fn new() -> Self {
        let mut kv = Kv::default();
        for round in 0..2 {
            (0..KEYS).for_each(|at| put(&mut kv, key(at), value(at, round)));
        }
        let mut later = kv.clone();
        put(&mut later, key(7), value(7, 2));
        let states = NodeOfStates::begin(&kv);
        let ctx = context(states.node.clone());
        Self { states, ctx, later }
    }
}

/// Two members with equal states.
struct Twins {
    in_memory: Member,
    on_disk: Member,
    /// The cache of the member whose values are on disk.
    cache: Arc<BlockCache>,
}

impl Twins {
    fn new() -> Self {
        let [in_memory, on_disk] = [(); 2].map(|()| Member::new());
        let cache = move_to_disk(&on_disk.later);
        Self { in_memory, on_disk, cache }
    }

    /// Runs a call on both members, asserts that the results are equal, and returns one of them.
    async fn answer<A: PartialEq>(&self, call: impl AsyncFn(&Member) -> A) -> A {
        let expected = call(&self.in_memory).await;
        // Evict the block that the last read left in memory.
        self.cache.trim();
        let reads = self.cache.reads();
        let answer = call(&self.on_disk).await;
        assert!(answer == expected, "the answers differ");
        assert!(self.cache.reads() > reads, "the file is read");
        answer
    }

    /// Reads a range from both members, compares the pairs and returns their number.
    async fn range(&self, request: &RangeRequest) -> usize {
        let call = async |member: &Member| -> RpcResult<_> {
            Ok(kv::range(&member.ctx, request.clone()).await?.response)
        };
        self.answer(call).await.expect("a valid range").kvs.len()
    }
}

fn run(test: impl AsyncFnOnce(Twins)) {
    actix_rt::System::new().block_on(async { test(Twins::new()).await });
}

fn get(at: usize) -> RangeRequest {
    RangeRequest { key: key(at).into(), ..RangeRequest::default() }
}

#[test]
fn a_read_returns_values_on_disk() {
    run(async |twins| {
        let older = RangeRequest { revision: KEYS as i64, ..get(7) };
        for request in [get(7), RangeRequest { serializable: true, ..get(8) }, older] {
            assert_eq!(twins.range(&request).await, 1, "{request:?}");
        }
        let few = RangeRequest { range_end: key(300).into(), ..get(200) };
        assert_eq!(twins.range(&few).await, 100);
        let by_value = RangeRequest {
            sort_target: SortTarget::Value as i32,
            sort_order: SortOrder::Descend as i32,
            ..all_keys()
        };
        for large in [all_keys(), by_value] {
            assert_eq!(twins.range(&large).await, KEYS, "{large:?}");
        }
    });
}

#[test]
fn a_small_read_from_disk_does_not_wait_for_large_reads() {
    run(async |twins| {
        let account = twins.on_disk.ctx.account();
        let _others = [
            account.permit(JobKind::Read).await,
            account.permit(JobKind::Read).await,
        ];
        assert!(account.try_permit(JobKind::Read).is_none());
        assert_eq!(twins.range(&get(7)).await, 1);
    });
}

#[test]
fn a_range_in_parts_returns_values_on_disk() {
    run(async |twins| {
        // With a limit, the last part contains pairs and the count of all keys.
        for limit in [0, KEYS as i64 - 1] {
            let request = RangeRequest { limit, ..all_keys() };
            let read = async |member: &Member| -> Vec<_> {
                let parts = range_stream(&member.ctx, request.clone(), false).await;
                parts.unwrap().try_collect().await.unwrap()
            };
            let parts = twins.answer(read).await;
            assert!(parts.len() > 1, "{} parts", parts.len());
        }
    });
}

#[test]
fn a_transaction_compares_and_returns_values_on_disk() {
    let compare = |at: usize, round: usize| Compare {
        key: key(at).into(),
        target: CompareTarget::Value as i32,
        result: CompareResult::Equal as i32,
        target_union: Some(TargetUnion::Value(value(at, round).into())),
        ..Compare::default()
    };
    let range = |request| RequestOp { request: Some(Request::RequestRange(request)) };
    let txn = |compare: Compare, success| TxnRequest {
        compare: vec![compare],
        success: vec![range(success)],
        failure: vec![range(get(8))],
    };
    let of_range = Compare { range_end: key(9).into(), ..compare(7, 1) };
    run(async |twins| {
        for (request, succeeds) in [
            (txn(compare(7, 1), get(7)), true),
            (txn(compare(7, 0), get(7)), false),
            (txn(compare(7, 1), all_keys()), true),
            (txn(of_range.clone(), get(7)), false),
        ] {
            let call = async |member: &Member| -> RpcResult<_> {
                Ok(kv::txn(&member.ctx, request.clone()).await?.response)
            };
            let reply = twins.answer(call).await.expect("a valid request");
            assert_eq!(reply.succeeded, succeeds, "{:?}", request.compare);
        }
    });
}

/// Reads a range with [`long_range::begin`]. Returns the message with its prefix.
async fn long_answer(member: &Member, request: &RangeRequest) -> Vec<u8> {
    let response = long_range::begin(&member.ctx, request.clone()).await;
    let mut body = response.expect("a valid range").response.into_body();
    let mut message = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.expect("no error").into_data() {
            Ok(data) => message.extend(data),
            Err(trailers) => {
                let trailers = trailers.into_trailers().expect("data or trailers");
                assert_eq!(trailers[Status::GRPC_STATUS], "0");
                return message;
            }
        }
    }
    panic!("the trailers are missing")
}

#[test]
fn a_response_that_is_read_while_it_is_sent_equals_a_whole_response() {
    let sorted = |target: SortTarget, order: SortOrder| RangeRequest {
        sort_target: target as i32,
        sort_order: order as i32,
        ..all_keys()
    };
    let keys = KEYS as i64;
    run(async |twins| {
        for request in [
            all_keys(),
            sorted(SortTarget::Key, SortOrder::Descend),
            sorted(SortTarget::Mod, SortOrder::Descend),
            sorted(SortTarget::Value, SortOrder::Ascend),
            RangeRequest { limit: keys - 1, ..all_keys() },
            RangeRequest { limit: 7, ..sorted(SortTarget::Version, SortOrder::Descend) },
            RangeRequest { revision: keys, ..all_keys() },
            RangeRequest {
                min_mod_revision: keys + 20,
                max_mod_revision: keys + 30,
                ..all_keys()
            },
        ] {
            let call = async |member: &Member| long_answer(member, &request).await;
            let sent = twins.answer(call).await;
            let whole = kv::range(&twins.on_disk.ctx, request.clone()).await;
            let whole = whole.expect("a valid range").response.encode_to_vec();
            let length = u32::try_from(whole.len()).expect("a short message");
            let prefix = [&[0], &length.to_be_bytes()[..]].concat();
            assert!(sent == [prefix, whole].concat(), "{request:?}");
        }
    });
}

/// Creates a watcher with `prev_kv` on its own stream.
fn watch(
    ctx: &Context,
    request: &RangeRequest,
    start_revision: i64,
) -> impl Stream<Item = Result<WatchResponse, Status>> + use<> {
    let create = WatchCreateRequest {
        key: request.key.clone(),
        range_end: request.range_end.clone(),
        start_revision,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    let request_union = Some(RequestUnion::CreateRequest(create));
    let request = stream::iter([Ok(WatchRequest { request_union })]);
    watch_events(ctx, request.chain(stream::pending()), false)
}

/// Reads responses until they contain `count` events in total.
async fn events<S>(mut answers: Pin<&mut S>, count: usize) -> Vec<Event>
where
    S: Stream<Item = Result<WatchResponse, Status>>,
{
    let mut events = Vec::new();
    while events.len() < count {
        let answer = answers.next().await.expect("a response").expect("no error");
        assert!(!answer.canceled, "{answer:?}");
        events.extend(answer.events);
    }
    events
}

#[test]
fn a_watch_from_an_old_revision_returns_values_on_disk() {
    run(async |twins| {
        for (request, count) in [(all_keys(), 2 * KEYS), (get(7), 2)] {
            let read = async |member: &Member| {
                let answers = pin!(watch(&member.ctx, &request, 2));
                events(answers, count).await
            };
            let found = twins.answer(read).await;
            assert_eq!(found.len(), count);
            let previous = found.iter().filter(|event| event.prev_kv.is_some());
            assert_eq!(previous.count(), count / 2);
        }
    });
}

#[test]
fn a_synced_watcher_gets_the_previous_value_from_disk() {
    run(async |twins| {
        let read = async |member: &Member| {
            let mut answers = pin!(watch(&member.ctx, &get(7), 0));
            let created = answers.next().await.expect("a response").expect("no error");
            assert!(created.created && !created.canceled);
            member.states.advance(&member.later);
            events(answers, 1).await
        };
        let found = twins.answer(read).await;
        let previous = found[0].prev_kv.as_ref().expect("a previous value");
        assert_eq!(previous.value, value(7, 1));
    });
}
