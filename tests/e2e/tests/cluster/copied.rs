//! Members that run on copies of their data directories: a member or cluster that moves to another disk needs no manual step.
//! `server/crates/replica/tests/cluster/copied.rs` tests that an older copy loses no acknowledged write.

use std::fs;

use witan_e2e::{Cluster, Server, Writers, folder, writers::assert_all_there};

const WRITERS: usize = 4;
const WRITES: u64 = 100;
const UP_TO_DATE: &str = "the data directory was a copy";

fn replace_with_copy(member: &mut Server) {
    assert_eq!(member.terminate().code(), Some(0));
    let data = member.dir().join("data");
    let copy = data.with_file_name("copy");
    folder::copy(&data, &copy);
    fs::remove_dir_all(&data).expect("it is removed");
    fs::rename(&copy, &data).expect("a rename");
}

#[test]
fn members_move_to_other_disks_one_by_one_and_then_all_at_once() {
    let mut cluster = Cluster::start(3);
    let writers = Writers::start(WRITERS, &cluster.addresses());
    for at in 0..3 {
        writers.wait_more(WRITES);
        let member = cluster.member_mut(at);
        let skip = member.log().len();
        replace_with_copy(member);
        member.start_again();
        member.wait_log(skip, UP_TO_DATE);
    }
    let written = writers.stop();
    (0..3).for_each(|at| replace_with_copy(cluster.member_mut(at)));
    let skip = cluster.member(0).log().len();
    cluster.start_all();
    cluster.member(0).wait_log(skip, UP_TO_DATE);
    for member in cluster.members() {
        assert_all_there(member, &written);
    }
    cluster.wait_equal();
}
