//! Rolling restarts of members. `tests/faults` kills members.

use std::time::Instant;

use witan_e2e::{
    Cluster, Writers,
    writers::{assert_all_there, longest_gap},
};

const WRITERS: usize = 8;
const WRITES: u64 = 200;

#[test]
fn a_rolling_restart_fails_no_request_of_a_client_that_retries() {
    let mut cluster = Cluster::start(3);
    let writers = Writers::start(WRITERS, &cluster.addresses());
    writers.wait_more(WRITES);
    // Restart the leader last, so that it transfers leadership to a restarted member.
    let leader = cluster.leader();
    let begun = Instant::now();
    for at in (0..3).filter(|at| *at != leader).chain([leader]) {
        let ended = cluster.member_mut(at).terminate();
        assert_eq!(ended.code(), Some(0));
        cluster.member_mut(at).start_again();
        writers.wait_more(WRITES);
    }
    let written = writers.stop();
    let gap = longest_gap(&written, begun);
    eprintln!("{gap:?} at most without an acknowledged write in a rolling restart");
    let failed: Vec<&String> = written
        .iter()
        .flat_map(|written| &written.refusals)
        .filter(|refusal| !may_retry(refusal))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    for member in cluster.members() {
        assert_all_there(member, &written);
    }
    cluster.wait_equal();
}

/// Returns whether etcd's client retries the request with another member, because no connection was open when it was sent.
fn may_retry(refusal: &str) -> bool {
    [
        "transport error",
        "error trying to connect",
        "tcp connect error",
        "operation was canceled",
    ]
    .iter()
    .any(|text| refusal.contains(text))
}
