//! Members that stop and come back: a follower, all at once.

use witan_e2e::{Cluster, Writers, writers::assert_all_there};

const WRITERS: usize = 8;

/// Acknowledged writes between two steps.
const WRITES: u64 = 200;

#[test]
fn a_follower_that_was_killed_catches_up() {
    let mut cluster = Cluster::start(3);
    let writers = Writers::start(WRITERS, &cluster.addresses());
    writers.wait_more(WRITES);
    let follower = cluster.follower();
    cluster.member_mut(follower).kill9();
    writers.wait_more(WRITES);
    cluster.member_mut(follower).start_again();
    writers.wait_more(WRITES);
    let written = writers.stop();
    assert_all_there(cluster.member(follower), &written);
    cluster.wait_equal();
}

#[test]
fn all_members_killed_at_once_come_back_by_themselves() {
    let mut cluster = Cluster::start(3);
    for _ in 0..2 {
        let writers = Writers::start(WRITERS, &cluster.addresses());
        writers.wait_more(WRITES);
        for at in 0..3 {
            cluster.member_mut(at).kill9();
        }
        let written = writers.stop();
        cluster.start_all();
        for member in cluster.members() {
            assert_all_there(member, &written);
        }
    }
    cluster.wait_equal();
}
