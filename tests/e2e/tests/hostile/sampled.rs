//! Requests and watchers of more prefixes than `/debug/top` has rows. Memory and the answer are bounded, and other clients
//! continue.

use std::time::Duration;

use witan_api::top::{PATH, TopCounts, TopPage};
use witan_e2e::{Launch, Server, grpc, wait, watching};

use crate::{
    stage::{NOISE, SLACK_BYTES, grown, longest_wait},
    watchers::watch,
};

/// Number of prefixes, which far exceeds the number of rows that a member keeps.
const PREFIXES: usize = 100_000;

/// Maximum wait of another client on the same worker.
const WAIT_MAX: Duration = NOISE.saturating_mul(2);

/// Maximum number of rows in an answer, and its maximum size in bytes.
const ROWS_MAX: usize = 2048;
const ANSWER_BYTES_MAX: usize = 4 << 20;

fn ask(server: &Server) -> TopPage {
    let answer = server.http("GET", &format!("{PATH}?seconds=1"), "");
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

#[test]
fn many_prefixes_are_watched() {
    let server = Launch::witan().start();
    grpc::runtime().block_on(async {
        let channel = grpc::connect(&server.address()).await;
        let answers = watch(channel, None, PREFIXES, |at| watching::key(&key(at))).await;
        wait::undisturbed(|| {
            let count = || longest_wait(&server, || ask(&server));
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
