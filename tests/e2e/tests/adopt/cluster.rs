//! Adopts clusters of two to five members.

use witan_e2e::{
    Cluster, Kind, Launch, Server, Writers, grpc,
    tool::Tool,
    wait,
    watching::{Watching, create, from, put},
    writers,
};

use super::{adopt, become_witan};

const CLUSTERS: [(Kind, usize); 3] = [(Kind::Etcd34, 2), (Kind::Etcd36, 3), (Kind::Etcd37, 5)];

fn start(kind: Kind, size: usize) -> Cluster {
    let mut cluster = Cluster::prepare_of(&Launch::new(kind), "http", size);
    cluster.start_all();
    cluster
}

/// The members' logs end at different entries, and no member knows which writes the last leader acknowledged.
#[test]
fn separately_adopted_members_form_the_same_cluster() {
    for (kind, size) in CLUSTERS {
        let mut cluster = start(kind, size);
        let members = cluster.member(0).etcdctl(&["member", "list"]);
        let writers = Writers::start(16, &cluster.addresses());
        writers.wait_more(400);
        // Writers continue until the last kill.
        for at in 0..size {
            cluster.member_mut(at).kill9();
        }
        let written = writers.stop();
        for at in 0..size {
            adopt(cluster.member(at));
            become_witan(cluster.member_mut(at));
        }
        cluster.start_all();
        cluster.wait_equal();
        for member in cluster.members() {
            writers::assert_all_there(member, &written);
        }
        let hashed = cluster.members().iter();
        let hashes: Vec<_> = hashed.map(|member| grpc::hash_kv(member, 100)).collect();
        assert!(hashes.iter().all(|other| *other == hashes[0]), "{hashes:?}");
        assert_eq!(cluster.member(0).etcdctl(&["member", "list"]), members);
        cluster.member(0).etcdctl(&["put", "after", "1"]);
        if size > 2 {
            let leader = cluster.leader();
            cluster.member_mut(leader).kill9();
            let follower = cluster.follower();
            cluster.member(follower).etcdctl(&["put", "after", "2"]);
        }
    }
}

/// Starts three members of etcd 3.4 with users whose passwords each member salts separately. Stops the members. The last member
/// might not have executed a compaction at the revision of a deletion. Returns the members and that revision.
fn differing() -> (Cluster, i64) {
    let mut cluster = start(Kind::Etcd34, 3);
    let member = cluster.member(0);
    for user in ["root:root", "anne:secret"] {
        of_3_4(member, &["user", "add", user]);
    }
    let revision = grpc::runtime().block_on(async {
        let channel = grpc::lazy(&member.address());
        let mut last = 0;
        for at in 0..100 {
            last = put(&channel, &format!("k{}", at % 10), "v").await;
        }
        last + 1
    });
    of_3_4(member, &["del", "k1"]);
    of_3_4(member, &["compact", &revision.to_string()]);
    cluster.member_mut(2).kill9();
    for at in 0..2 {
        cluster.member_mut(at).terminate();
    }
    (cluster, revision)
}

fn of_3_4(member: &Server, args: &[&str]) -> String {
    Tool::Etcdctl34V3.run(&member.url(), args).succeeded()
}

/// Returns the changes of keys between two revisions, as a member's watch reports them: revision, key, and whether it was
/// deleted.
fn changes(member: &Server, first: i64, last: i64) -> Vec<(i64, Vec<u8>, bool)> {
    grpc::runtime().block_on(async {
        let request = create(from("k", "l", first));
        let mut watching = Watching::open(&grpc::lazy(&member.address()), request).await;
        let mut seen: Vec<(i64, Vec<u8>, bool)> = Vec::new();
        while seen.last().is_none_or(|(revision, ..)| *revision < last) {
            let answer = watching.next().await;
            assert!(!answer.canceled, "{answer:?}");
            seen.extend(answer.events.into_iter().map(|event| {
                let deletes = event.r#type == 1;
                let kv = event.kv.expect("each event has a pair");
                (kv.mod_revision, kv.key.to_vec(), deletes)
            }));
        }
        seen
    })
}

/// The check at startup and the regular check compare password hashes. Watches from the compaction compare the history of
/// keys.
#[test]
fn members_that_differ_become_one_state() {
    let (mut cluster, revision) = differing();
    for at in 0..3 {
        adopt(cluster.member(at));
        become_witan(cluster.member_mut(at));
    }
    cluster.add_args(&["--corrupt-check-time=1s", "--initial-corrupt-check"]);
    for start in 1..=2 {
        let members = cluster.members().iter();
        let lines: Vec<usize> = members.map(|member| member.log().len()).collect();
        cluster.start_all();
        let last = grpc::runtime().block_on(async {
            let channel = grpc::lazy(&cluster.member(0).address());
            put(&channel, "k2", "after").await
        });
        cluster.wait_equal();
        let members = cluster.members().iter();
        let seen: Vec<_> = members.map(|m| changes(m, revision, last)).collect();
        assert!(seen.iter().all(|other| *other == seen[0]), "{seen:?}");
        // At the first start, the cluster version may be 3.4, which does not support the comparison.
        if start == 2 {
            for (member, lines) in cluster.members().iter().zip(lines) {
                let checked = member.wait_log(lines, "initial corruption checking");
                assert!(checked.contains("passed"), "{checked}");
            }
        }
        let leader = cluster.member(cluster.leader());
        let agreed = || leader.metric("witan_corruption_checks_total{outcome=\"agreed\"}");
        let before = agreed();
        wait::until_true("all states were compared", || agreed() > before);
        assert_eq!(of_3_4(leader, &["alarm", "list"]), "");
        for at in 0..3 {
            assert_eq!(cluster.member_mut(at).terminate().code(), Some(0));
        }
    }
}

/// Only one member is adopted. The other members are new and join it.
#[test]
fn one_member_is_adopted_and_another_joins_it() {
    let mut cluster = start(Kind::Etcd36, 3);
    cluster.member(0).etcdctl(&["put", "a", "1"]);
    for at in 0..3 {
        cluster.member_mut(at).terminate();
    }
    adopt(cluster.member(0));
    become_witan(cluster.member_mut(0));
    cluster.member_mut(0).add_args(["--force-new-cluster"]);
    cluster.member_mut(0).start_again();
    let joining = cluster.prepare_joining_of(&Launch::witan(), "http", &[0]);
    let member = cluster.member(joining);
    let (name, peer_url) = (format!("m{joining}"), member.peer_url());
    cluster
        .member(0)
        .etcdctl(&["member", "add", &name, "--peer-urls", &peer_url]);
    cluster.member_mut(joining).start_again();
    assert_eq!(cluster.member(joining).etcdctl(&["get", "a"]), "a\n1\n");
    let members = cluster.member(0).etcdctl(&["member", "list"]);
    assert_eq!(members.lines().count(), 2, "{members}");
}
