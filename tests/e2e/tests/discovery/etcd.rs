//! Clusters of real etcd that start with a registry on Witan. etcd 3.4 uses the service and the URL of v2 keys, and etcd 3.6
//! uses v3 discovery. Also contains helpers that start any cluster.

use witan_e2e::{
    Kind, Launch, Server,
    cluster::{self, Cluster},
};

use super::{new_token, path};

const SIZE: usize = 3;

pub(crate) fn member(kind: Kind, name: &str, flags: &[String]) -> Server {
    let mut server = cluster::alone(&Launch::new(kind), "http", name);
    if kind == Kind::Etcd34 {
        server.add_args(["--enable-v2=true"]);
    }
    server.add_args(flags);
    server
}

pub(crate) fn started(kind: Kind, flags: &[String]) -> Server {
    let mut member = member(kind, "m0", flags);
    member.start_unready_again();
    member
}

/// Starts `size` members with these flags and waits until all are healthy. Panics if a member exits.
pub(crate) fn begin(kind: Kind, size: usize, flags: &[String]) -> Vec<Server> {
    let mut members: Vec<Server> = (0..size)
        .map(|at| member(kind, &format!("m{at}"), flags))
        .collect();
    members.iter_mut().for_each(Server::start_unready_again);
    members.iter_mut().for_each(Server::wait_ready);
    members
}

pub(crate) fn ids(of: &Server) -> Vec<String> {
    let said = of.etcdctl(&["member", "list"]);
    let lines = said.lines();
    let mut ids: Vec<String> = lines
        .filter_map(|line| Some(line.split_once(',')?.0.to_owned()))
        .collect();
    ids.sort();
    ids
}

pub(crate) fn set_size(service: &Server, token: &str, size: &str) {
    let key = format!("/_etcd/registry/{token}/_config/size");
    service.etcdctl(&["put", "--", &key, size]);
}

pub(crate) fn flags_of_v3(service: &Server, token: &str) -> [String; 2] {
    [
        format!("--discovery-token={token}"),
        format!("--discovery-endpoints={}", service.url()),
    ]
}

/// Checks that another member with these flags ends, because the cluster is full.
pub(crate) fn is_full(kind: Kind, flags: &[String]) {
    let mut late = member(kind, "late", flags);
    if kind == Kind::Etcd34 {
        // By default, etcd becomes a proxy.
        late.add_args(["--discovery-fallback=exit"]);
    }
    late.start_unready_again();
    assert_ne!(late.wait_exit().code(), Some(0), "{}", late.tail());
    late.wait_log(0, "cluster is full");
}

/// Starts members through v3 discovery. Each member must register once, and an additional member is refused.
pub(crate) fn begin_by_v3(kind: Kind, size: usize, service: &Server) {
    let token = format!("token{size}");
    set_size(service, &token, &size.to_string());
    let flags = flags_of_v3(service, &token);
    let members = begin(kind, size, &flags);
    let prefix = format!("/_etcd/registry/{token}/members/");
    let listed = service.etcdctl(&["get", "--prefix", "--keys-only", &prefix]);
    let found = listed.lines().filter_map(|line| line.strip_prefix(&prefix));
    let mut found: Vec<&str> = found.collect();
    found.sort_unstable();
    assert_eq!(found, ids(&members[0]));
    is_full(kind, &flags);
}

/// Returns the sorted ids of the members in a registry of v2. `list` is its path.
pub(crate) fn registered(service: &Server, list: &str) -> Vec<String> {
    let list = service.http("GET", list, "").json();
    let nodes = list["node"]["nodes"].as_array().cloned();
    let mut found: Vec<String> = nodes
        .unwrap_or_default()
        .iter()
        .filter_map(|node| Some(node["key"].as_str()?.rsplit_once('/')?.1.to_owned()))
        .collect();
    found.sort();
    found
}

/// Starts three members of etcd 3.4 with a registry's `url`. Checks that they are registered, and that a fourth member is not.
/// `shown` is the registry's path on the service.
fn by_v2(service: &Server, url: &str, shown: &str) {
    let flags = [format!("--discovery={url}")];
    let members = begin(Kind::Etcd34, SIZE, &flags);
    assert_eq!(registered(service, shown), ids(&members[0]));
    is_full(Kind::Etcd34, &flags);
    let after = registered(service, shown).len();
    assert_eq!(after, SIZE, "the surplus member is not registered");
}

#[test]
fn etcd_3_4_bootstraps_with_v2_keys() {
    let service = Launch::witan().start();
    // The token was created manually and is longer than the service's tokens.
    let token = "6c007a14875d53d9bf0ef5a6fc0257c817f0fb83";
    let key = format!("/v2/keys/_etcd/registry/{token}");
    service.answers(201, "PUT", &format!("{key}/_config/size"), "value=3");
    by_v2(&service, &format!("{}{key}", service.url()), &key);
}

/// The registry belongs to the cluster, not to the member that created the token.
#[test]
fn etcd_3_4_bootstraps_with_a_service_of_three_members() {
    let service = Cluster::start(3);
    for made_by in 0..3 {
        let token = path(&new_token(service.member(made_by), 3));
        for asked in service.members() {
            asked.answers(200, "GET", &format!("{token}/_config/size"), "");
        }
    }
    let follower = service.member(service.follower());
    let url = new_token(follower, 3);
    by_v2(follower, &url, &path(&url));
}

#[test]
fn etcd_3_6_bootstraps_with_v3_discovery() {
    let service = Launch::witan().start();
    begin_by_v3(Kind::Etcd36, SIZE, &service);
}
