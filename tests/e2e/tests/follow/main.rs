//! A cluster follows a running etcd and replaces it with the same revisions, leases, users and hashes. No acknowledged write is
//! lost, and exactly one of the two clusters accepts writes at any time.
//!
//! Modules: `member` (copied data and refusals), `cluster` (three members each, killed and restarted under load), `given_up`
//! (an abandoned cut-over), `fenced` (who may lower a fence, and who checks it), `stalled` (streams that stop).
//! `tls/follow.rs` tests TLS.

mod cluster;
mod fenced;
mod given_up;
mod member;
mod stalled;

use serde_json::{Value, json};
use witan_api::v3::etcdserverpb::kv_client::KvClient;
use witan_e2e::{Kind, Launch, Server, Tool, grpc, http, requests, wait};

/// Starts an etcd that has one key.
fn source(kind: Kind) -> Server {
    let source = Launch::new(kind).start();
    run(&source, &["put", "a", "1"]);
    source
}

fn follow(source: &Server) -> Server {
    let mut member = Launch::witan().prepare();
    member.add_args(["--from", &source.url()]);
    member.start_again();
    member
}

#[track_caller]
fn run(server: &Server, args: &[&str]) -> String {
    Tool::Etcdctl37.run(&server.url(), args).succeeded()
}

#[track_caller]
fn refuses(server: &Server, args: &[&str], why: &str) {
    let said = Tool::Etcdctl37.run(&server.url(), args);
    assert!(said.stderr.contains(why), "{args:?}: {}", said.all());
}

fn status(member: &Server) -> Value {
    member.http("GET", "/follow", "").json()
}

fn ask_cut_over(member: &Server) -> http::Response {
    member.http_with(&http::JSON, "POST", "/follow/cut-over", "")
}

fn cut_over(member: &Server) -> Value {
    let answer = ask_cut_over(member);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Requests a cut-over, which must fail with this status. Returns the message.
#[track_caller]
fn no_cut_over(member: &Server, status: u16) -> String {
    let answer = ask_cut_over(member);
    assert_eq!(answer.status, status, "{}", answer.text());
    answer.json()["message"].to_string()
}

fn alarm(etcd: &Server, action: &str, member: &str, alarm: &str) -> Value {
    let asked = json!({ "action": action, "memberID": member, "alarm": alarm });
    etcd.v3("maintenance/alarm", &asked.to_string())
}

/// Returns the ids of the members with an active alarm, without repetition.
fn alarms(etcd: &Server) -> Vec<String> {
    let listed = alarm(etcd, "GET", "0", "NONE");
    let alarms = listed["alarms"].as_array().cloned().unwrap_or_default();
    let ids = alarms.iter().filter_map(|alarm| alarm["memberID"].as_str());
    let ids: std::collections::BTreeSet<String> = ids.map(str::to_owned).collect();
    ids.into_iter().collect()
}

fn cluster_id(server: &Server) -> u64 {
    let status = server.v3("maintenance/status", "{}");
    let id = status["header"]["cluster_id"].as_str();
    id.and_then(|id| id.parse().ok()).expect("a header")
}

fn revision(server: &Server) -> i64 {
    grpc::runtime().block_on(async {
        let mut client = KvClient::new(grpc::connect(&server.address()).await);
        let range = requests::range("k", "");
        let answer = client.range(range).await.expect("a read").into_inner();
        answer.header.expect("a header").revision
    })
}

/// Checks that both servers have the same keys at a revision and the same compacted revision.
#[track_caller]
fn same_hash(member: &Server, source: &Server, revision: i64) {
    let [ours, theirs] = [member, source].map(|server| grpc::hash_kv(server, revision));
    assert!(ours.is_some() && ours == theirs, "{ours:?} of {theirs:?}");
}

fn wait_copied(member: &Server, source: &Server) {
    let wanted = revision(source);
    wait::until_true("all is copied", || {
        status(member)["revision"].as_i64() >= Some(wanted)
    });
}

const ETCDS: [Kind; 3] = [Kind::Etcd34, Kind::Etcd36, Kind::Etcd37];
