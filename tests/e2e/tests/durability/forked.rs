//! A member that was rolled back in its own data directory, so that it is not recognized as a copy.

use std::process::Command;

use witan_e2e::{Cluster, folder};

/// The rolled-back member forgets its vote, and helps to elect a second leader. The first leader has committed a write that the
/// second leader lacks. Often both lead in the same term.
#[test]
fn a_member_with_a_write_that_a_forked_history_lacks_exits() {
    let mut cluster = Cluster::start(3);
    cluster
        .member(0)
        .answers(201, "PUT", "/v2/keys/before", "value=1");
    cluster.wait_equal();
    let [has_write, rolled_back, behind] = [0, 1, 2];
    cluster.member_mut(rolled_back).terminate();
    let data = cluster.member(rolled_back).dir().join("data");
    let backup = data.with_file_name("backup");
    folder::copy(&data, &backup);
    for member in [has_write, behind] {
        cluster.member_mut(member).kill9();
    }
    for member in [has_write, rolled_back] {
        cluster.member_mut(member).start_unready_again();
    }
    for member in [has_write, rolled_back] {
        cluster.member_mut(member).wait_ready();
    }
    let writer = cluster.member(has_write);
    writer.answers(201, "PUT", "/v2/keys/acknowledged", "value=1");
    // The second write stores on disk that the first is committed.
    writer.answers(201, "PUT", "/v2/keys/later", "value=1");
    for member in [has_write, rolled_back] {
        cluster.member_mut(member).kill9();
    }
    let copied = Command::new("cp")
        .arg("-a")
        .arg(backup.join("."))
        .arg(&data)
        .status();
    assert!(copied.is_ok_and(|status| status.success()), "cp -a");
    for member in [rolled_back, behind] {
        cluster.member_mut(member).start_unready_again();
    }
    for member in [rolled_back, behind] {
        cluster.member_mut(member).wait_ready();
    }
    let forked = cluster.member(behind);
    forked.answers(201, "PUT", "/v2/keys/forked", "value=1");
    cluster.member_mut(has_write).start_unready_again();
    assert_eq!(cluster.member_mut(has_write).wait_exit().code(), Some(40));
}
