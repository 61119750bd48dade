//! Clusters of two to five.

use witan_e2e::{Cluster, Kind, Launch, Writers, grpc, writers};

use super::{adopt, become_witan};

/// The clusters that are adopted: each release, and sizes from two to five members.
const CLUSTERS: [(Kind, usize); 5] = [
    (Kind::Etcd34, 3),
    (Kind::Etcd36, 3),
    (Kind::Etcd37, 3),
    (Kind::Etcd34, 2),
    (Kind::Etcd37, 5),
];

fn start(kind: Kind, size: usize) -> Cluster {
    let mut cluster = Cluster::prepare_of(&Launch::new(kind), "http", size);
    cluster.start_all();
    cluster
}

/// The members have different ends of the log, and none knows what the last leader had told its clients.
#[test]
fn members_are_adopted_each_by_itself_and_are_the_same_cluster() {
    for (kind, size) in CLUSTERS {
        let mut cluster = start(kind, size);
        let members = cluster.member(0).etcdctl(&["member", "list"]);
        let writers = Writers::start(16, &cluster.addresses());
        writers.wait_more(400);
        // the others still write for a moment
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
        let hashes: Vec<_> = cluster
            .members()
            .iter()
            .map(|member| grpc::hash_kv(member, 100))
            .collect();
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

/// The others are made anew: they join the one that was adopted.
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
