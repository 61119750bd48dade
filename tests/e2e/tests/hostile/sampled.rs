//! More prefixes than `/debug/top` has rows for, of requests and of watchers: memory and the answer are bounded, and others
//! go on while requests are counted.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use tonic::transport::Channel;
use witan_api::{
    top::{PATH, TopCounts, TopPage},
    v3::etcdserverpb::{kv_client::KvClient, request_op::Request},
};
use witan_e2e::{Launch, Server, grpc, requests, wait, watching};

use crate::{
    stage::{NOISE, SLACK_BYTES, grown, longest_wait},
    watchers::watch,
};

/// Many times the rows that a member keeps.
const PREFIXES: usize = 100_000;

/// Prefixes that one transaction touches, as many as the default allows.
const TOGETHER: usize = 128;

/// Another client's longest wait: one that shares its worker with whoever touches the prefixes.
const WAIT_MAX: Duration = NOISE.saturating_mul(2);

/// Rows of an answer, and its bytes, at most.
const ROWS_MAX: usize = 2048;
const ANSWER_BYTES_MAX: usize = 4 << 20;

fn ask(server: &Server, seconds: u64) -> TopPage {
    let target = format!("{PATH}?seconds={seconds}");
    let answer = server.http("GET", &target, "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer.body.len() <= ANSWER_BYTES_MAX,
        "{}",
        answer.body.len()
    );
    let page: TopPage = serde_json::from_slice(&answer.body).expect("a page");
    assert!(page.rows.len() <= ROWS_MAX);
    page
}

fn sum(page: &TopPage) -> TopCounts {
    let rows = page.rows.iter().map(|row| row.counts);
    rows.chain([page.others]).sum()
}

fn key(at: usize) -> String {
    format!("/{at:06}{}/k", "x".repeat(200))
}

/// Reads keys of new prefixes until `done`. Returns how many it has read.
async fn touch(client: &mut KvClient<Channel>, done: &AtomicBool) -> usize {
    let mut touched = 0;
    while !done.load(Ordering::SeqCst) {
        let ranges = (touched..touched + TOGETHER).map(|at| requests::range(key(at), ""));
        let txn = requests::txn(ranges.map(Request::RequestRange));
        client.txn(txn).await.expect("reads");
        touched += TOGETHER;
    }
    touched
}

#[test]
fn many_prefixes_are_read_while_requests_are_counted() {
    let server = Launch::witan().start();
    let runtime = grpc::runtime();
    let address = server.address();
    let (mut client, mut other) = runtime.block_on(async {
        (
            KvClient::new(grpc::connect(&address).await),
            KvClient::new(grpc::connect(&address).await),
        )
    });
    wait::undisturbed(|| {
        let done = AtomicBool::new(false);
        let count = || {
            thread::scope(|scope| {
                let touching = scope.spawn(|| runtime.block_on(touch(&mut client, &done)));
                let asks = scope.spawn(|| ask(&server, 10));
                while !asks.is_finished() {
                    let hot = requests::range("/hot/k", "");
                    runtime.block_on(other.range(hot)).expect("a read");
                }
                done.store(true, Ordering::SeqCst);
                (
                    asks.join().expect("a page"),
                    touching.join().expect("reads"),
                )
            })
        };
        let (((page, touched), waited), grown) = grown(&server, || longest_wait(&server, count));
        assert!(grown <= SLACK_BYTES, "grew by {grown} bytes");
        assert!(
            page.rows.iter().any(|row| row.prefix == "/hot/"),
            "it is read most"
        );
        let reads = sum(&page).reads as usize;
        if touched < PREFIXES || reads < PREFIXES {
            return Err(format!(
                "{touched} prefixes were touched, {reads} reads counted"
            ));
        }
        match waited <= WAIT_MAX {
            true => Ok(()),
            false => Err(format!("another client waited {waited:?}")),
        }
    });
}

#[test]
fn many_prefixes_are_watched() {
    let server = Launch::witan().start();
    grpc::runtime().block_on(async {
        let channel = grpc::connect(&server.address()).await;
        let answers = watch(channel, None, PREFIXES, |at| watching::key(&key(at))).await;
        wait::undisturbed(|| {
            let count = || longest_wait(&server, || ask(&server, 1));
            let ((page, waited), grown) = grown(&server, count);
            assert_eq!(sum(&page).watchers as usize, PREFIXES);
            assert!(grown <= SLACK_BYTES, "grew by {grown} bytes");
            match waited <= WAIT_MAX {
                true => Ok(()),
                false => Err(format!("another client waited {waited:?}")),
            }
        });
        drop(answers);
    });
}
