//! The leader dies while clients write.

use std::time::{Duration, Instant};

use witan_e2e::{
    Cluster, Writers,
    writers::{assert_all_there, longest_gap},
};

const WRITERS: usize = 16;

/// Number of acknowledged writes before and after each kill.
const WRITES: u64 = 300;

/// Maximum duration of an election, even on two busy cores. etcd's takes up to 2 s.
const GAP_MAX: Duration = Duration::from_secs(10);

/// `faults` tests longer runs with three members that restart.
#[test]
fn no_acknowledged_write_is_lost_when_two_leaders_of_five_die() {
    let mut cluster = Cluster::start(5);
    let writers = Writers::start(WRITERS, &cluster.addresses());
    writers.wait_more(WRITES);
    let mut kills = Vec::new();
    for _ in 0..2 {
        let leader = cluster.leader();
        kills.push(Instant::now());
        cluster.member_mut(leader).kill9();
        writers.wait_more(WRITES);
    }
    cluster.start_all();
    writers.wait_more(WRITES);
    let written = writers.stop();
    let ends = kills.iter().skip(1).copied().chain([Instant::now()]);
    for (killed, end) in kills.iter().copied().zip(ends) {
        let near: Vec<_> = written.iter().filter(|w| w.at <= end).cloned().collect();
        let gap = longest_gap(&near, killed);
        eprintln!("{gap:?} without an acknowledged write after kill -9 of the leader");
        assert!(gap < GAP_MAX, "{gap:?}");
    }
    for member in cluster.members() {
        assert_all_there(member, &written);
    }
    cluster.wait_equal();
}

/// Heartbeat interval in milliseconds. It is long, so that a write which waits for a heartbeat is visible.
const SLOW_HEARTBEAT_MS: u64 = 1000;

/// Number of acknowledged writes, and number of steps in which the test waits for them.
const STEADY_WRITES: u64 = 6000;
const STEPS: u64 = 20;

/// Maximum number of pauses that a busy machine may cause. With lost wake-ups, there are about 15.
const PAUSES_MAX: usize = 5;

/// Messages of other members wake the replica's thread, even if they arrive while it reads requests.
#[test]
fn no_write_waits_for_a_heartbeat() {
    let heartbeat = SLOW_HEARTBEAT_MS.to_string();
    let election = (5 * SLOW_HEARTBEAT_MS).to_string();
    let args = [
        "--heartbeat-interval",
        &heartbeat,
        "--election-timeout",
        &election,
    ];
    let cluster = Cluster::start_with(3, &args);
    let leader = cluster.member(cluster.leader()).address();
    let writers = Writers::start(WRITERS, &[leader]);
    for _ in 0..STEPS {
        writers.wait_more(STEADY_WRITES / STEPS);
    }
    let written = writers.stop();
    let pauses = written.windows(2).map(|pair| pair[1].at - pair[0].at);
    let long: Vec<Duration> = pauses
        .filter(|pause| *pause > Duration::from_millis(SLOW_HEARTBEAT_MS / 2))
        .collect();
    assert!(long.len() <= PAUSES_MAX, "{long:?}");
}
