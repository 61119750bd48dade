//! Members that restart with another data directory. `server/crates/storage/src/tests` tests the refusals of a directory.

use std::fs;

use witan_e2e::{Cluster, Launch, Server, folder, wait};

fn has_refused(member: &Server, reason: &str) -> bool {
    let series = format!("witan_peer_refused_total{{reason=\"{reason}\"}}");
    member.metric(&series) > Some(0.0)
}

/// The vote of the emptied member would elect the member that lacks the write.
#[test]
fn a_member_with_an_emptied_directory_does_not_vote() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let [behind, emptied] = [(leader + 1) % 3, (leader + 2) % 3];
    cluster.member_mut(behind).kill9();
    let put = cluster.member(leader);
    put.answers(201, "PUT", "/v2/keys/acknowledged", "value=1");
    cluster.member_mut(emptied).kill9();
    cluster.member_mut(leader).kill9();
    let data = cluster.member(emptied).dir().join("data");
    fs::remove_dir_all(data).expect("the data is removed");
    let mark = cluster.member(emptied).log().len();
    // The other members do not report whether this member was started before.
    cluster.member_mut(emptied).start_unready_again();
    cluster.member(emptied).wait_log(mark, "opened the data");
    cluster.member_mut(behind).start_unready_again();
    let member = cluster.member(emptied);
    member.wait_log(mark, "knows this member with another data directory");
    cluster.member_mut(leader).start_again();
    assert_eq!(cluster.member_mut(emptied).wait_exit().code(), Some(35));
    let member = cluster.member(emptied);
    let refused = "the cluster knows this member with another data directory";
    member.wait_log(mark, refused);
    for at in [leader, behind] {
        cluster.member_mut(at).wait_ready();
        let member = cluster.member(at);
        member.answers(200, "GET", "/v2/keys/acknowledged?quorum=true", "");
    }
    assert!(has_refused(cluster.member(behind), "store"));
}

#[test]
fn a_copy_replaces_its_original_permanently() {
    let mut cluster = Cluster::start(3);
    let follower = cluster.follower();
    let at = |cluster: &Cluster, name| cluster.member(follower).dir().join(name);
    let (data, other) = (at(&cluster, "data"), at(&cluster, "other"));
    let exchange = || {
        let third = data.with_file_name("third");
        fs::rename(&data, &third).expect("a rename");
        fs::rename(&other, &data).expect("a rename");
        fs::rename(&third, &other).expect("a rename");
    };
    cluster.member_mut(follower).terminate();
    folder::copy(&data, &other);
    exchange();
    // The copy replaces its original, and the next start also accepts it.
    for _ in 0..2 {
        cluster.member_mut(follower).start_again();
        let member = cluster.member(follower);
        member.answers(201, "POST", "/v2/keys/queue", "value=1");
        cluster.wait_equal();
        cluster.member_mut(follower).terminate();
    }
    exchange();
    let mark = cluster.member(follower).log().len();
    cluster.member_mut(follower).start_unready_again();
    assert_eq!(cluster.member_mut(follower).wait_exit().code(), Some(35));
    let member = cluster.member(follower);
    member.wait_log(mark, "a copy has replaced it");
    exchange();
    cluster.member_mut(follower).start_again();
    let member = cluster.member(follower);
    member.answers(201, "POST", "/v2/keys/queue", "value=1");
    cluster.wait_equal();
}

#[test]
fn a_copy_is_refused_while_its_original_runs() {
    let mut cluster = Cluster::start(3);
    let follower = cluster.follower();
    cluster.member_mut(follower).terminate();
    let mut copy = Launch::witan().prepare();
    let data = cluster.member(follower).dir().join("data");
    folder::copy(&data, &copy.dir().join("data"));
    cluster.member_mut(follower).start_again();
    copy.start_unready_again();
    copy.wait_log(
        0,
        "is a copy, and another process of this member uses the original",
    );
    for at in 0..3 {
        let member = cluster.member(at);
        member.answers(201, "POST", "/v2/keys/queue", "value=1");
        wait::until_true("the member refuses the copy", || {
            at == follower || has_refused(member, "copy")
        });
    }
    cluster.wait_equal();
    copy.kill9();
    cluster.member_mut(follower).terminate();
    cluster.member_mut(follower).start_again();
}
