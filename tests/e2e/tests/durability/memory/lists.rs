//! Reads of all keys whose answers are larger than the member's memory. A list is answered, and a transaction is refused.

use tonic::{Code, transport::Channel};
use witan_api::v3::etcdserverpb::{
    RangeRequest,
    kv_client::KvClient,
    range_request::{SortOrder, SortTarget},
    request_op::Request,
};
use witan_e2e::{Launch, Server, grpc, memory_limit::budget_bytes, process, requests};

use super::{Data, VALUE_BYTES, assert_within};

const LIMIT_BYTES: u64 = 200 << 20;

/// 300 MiB of values.
const DATA: Data = Data { keys: 76_800, overwritten: 0 };

/// Lists all keys in this order. Checks the pairs and that the member's memory stays within its limit.
async fn check_list(server: &Server, kv: &mut KvClient<Channel>, order: SortOrder) {
    let all = RangeRequest {
        sort_target: SortTarget::Key as i32,
        sort_order: order as i32,
        ..requests::range("k", "l")
    };
    process::reset_peak(server.pid());
    let list = kv.range(all).await.expect("a list").into_inner();
    let peak = process::status_bytes(server.pid(), "VmHWM:");
    assert!(peak <= LIMIT_BYTES, "{peak} bytes");
    assert_eq!((list.kvs.len(), list.more), (DATA.keys, false));
    for (at, pair) in list.kvs.iter().enumerate() {
        let at = match order {
            SortOrder::None | SortOrder::Ascend => at,
            SortOrder::Descend => DATA.keys - 1 - at,
        };
        DATA.check(pair, at);
    }
}

async fn check_txn(kv: &mut KvClient<Channel>) {
    let all = Request::RequestRange(requests::range("k", "l"));
    let refused = kv.txn(requests::txn([all])).await;
    let refused = refused.expect_err("the values do not fit in memory");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
}

#[test]
fn a_list_of_twice_the_memory_is_answered() {
    assert!((DATA.keys * VALUE_BYTES) as u64 >= 2 * budget_bytes(LIMIT_BYTES));
    let mut server = Launch::witan().memory_limit(LIMIT_BYTES).start();
    grpc::runtime().block_on(async {
        let kv = KvClient::new(grpc::connect(&server.address()).await);
        let mut kv = kv.max_decoding_message_size(usize::MAX);
        DATA.put(&kv).await;
        for order in [SortOrder::None, SortOrder::Descend] {
            check_list(&server, &mut kv, order).await;
        }
        check_txn(&mut kv).await;
    });
    assert_within(&mut server, LIMIT_BYTES);
}
