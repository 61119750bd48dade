//! Transactions with many puts and deletes to compare, or with more operations than a member accepts.

use std::time::{Duration, Instant};

use tonic::{Code, Status};
use witan_api::v3::etcdserverpb::{
    AlarmRequest, TxnRequest, kv_client::KvClient, maintenance_client::MaintenanceClient,
    request_op::Request,
};
use witan_e2e::{Launch, Server, grpc, requests};

use crate::stage::{SLACK_BYTES, case_on};

/// Number of puts to compare with half as many deletes.
const WRITES: usize = 60_000;

fn send(server: &Server, request: TxnRequest) -> Result<usize, Status> {
    let runtime = grpc::runtime();
    runtime.block_on(async {
        let client = KvClient::new(grpc::connect(&server.address()).await);
        let mut client = client.max_decoding_message_size(usize::MAX);
        let answer = client.txn(request).await?;
        Ok(answer.into_inner().responses.len())
    })
}

fn key(at: usize) -> String {
    let digit = |at: usize| char::from(33 + (at % 92) as u8);
    [digit(at / 8464), digit(at / 92), digit(at)]
        .iter()
        .collect()
}

/// Returns deletes of ranges above all puts. Each range must be compared with each put.
fn writes() -> TxnRequest {
    let deletes = (0..WRITES / 2).map(|at| {
        Request::RequestDeleteRange(requests::delete(format!("~~{}", key(at)), "~~\x7f"))
    });
    let puts = (0..WRITES).map(|at| Request::RequestPut(requests::put(key(at), "")));
    requests::txn(deletes.chain(puts))
}

/// The limit on operations is disabled. Comparing each put with each delete would take 1.8 billion steps: half an hour in a
/// debug build.
#[test]
fn puts_and_deletes_are_compared_in_little_time() {
    let launch = Launch::witan()
        .arg("--max-txn-ops=1000000")
        .arg("--max-request-bytes=10000000");
    case_on(
        launch,
        "60,000 puts with 30,000 deletes",
        8 * SLACK_BYTES,
        |server| {
            let begun = Instant::now();
            let done = send(server, writes()).expect("nothing overlaps");
            assert_eq!(done, WRITES / 2 * 3);
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(60), "{took:?}");
            format!("{took:?}")
        },
    );
}

/// The puts would exceed the quota, but the transaction has too many operations.
#[test]
fn an_invalid_request_raises_no_alarm() {
    let launch = Launch::witan().arg("--quota-backend-bytes=600000");
    case_on(
        launch,
        "1,000 puts in one transaction",
        SLACK_BYTES,
        |server| {
            let put = Request::RequestPut(requests::put("k", vec![0; 1000]));
            let txn = requests::txn(vec![put; 1000]);
            let text = "etcdserver: too many operations in txn request";
            let status = send(server, txn).expect_err("the request is too large");
            assert_eq!(
                (status.code(), status.message()),
                (Code::InvalidArgument, text)
            );
            let runtime = grpc::runtime();
            let alarms = runtime.block_on(async {
                let mut client = MaintenanceClient::new(grpc::connect(&server.address()).await);
                let answer = client.alarm(AlarmRequest::default()).await;
                answer.expect("a list").into_inner().alarms
            });
            assert!(alarms.is_empty(), "{alarms:?}");
            format!("{text:?}")
        },
    );
}
