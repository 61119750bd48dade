//! The feature level of a cluster and the format of its data directories. `witan-next` is a build with the level and the format
//! that follow this release's. The level rises after all members run that build, and then no member can go back.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::{Value, json};
use witan_e2e::{
    Cluster, Disk, Kind, Launch, Server, Tool,
    binaries::next,
    disk::on_a_small_disk,
    http::Response,
    tool::{CommandOutput, witan},
    wait,
};

use crate::etcd::contents;

/// The exit code for a data directory from a later release.
const OTHER_FORMAT: i32 = 21;

/// Size in MiB of the disk of a member without enough disk space. The reserve is an eighth of it.
const DISK_MIB: usize = 64;

/// Number of bytes that stay free on that disk: more than the reserve, and less than the reserve and the checkpoint take.
const LEFT_BYTES: usize = 13 << 20;

/// Number of values of that member, and their size as base64. Together, they take 7 MiB.
const VALUES: usize = 200;
const VALUE_BYTES: usize = 48 << 10;

fn page(member: &Server) -> Value {
    member.http("GET", "/version", "").json()
}

fn until(cluster: &Cluster, level: u32) {
    for member in cluster.members() {
        wait::until_true(&format!("the feature level is {level}"), || {
            page(member)["clusterLevel"] == level
        });
    }
}

fn until_format(cluster: &Cluster, format: &str) {
    for member in cluster.members() {
        wait::until_true(format, || member.format_line() == format);
    }
}

/// Kills a member and restarts it with another program.
fn restart(cluster: &mut Cluster, at: usize, program: &Path) {
    let member = cluster.member_mut(at);
    member.kill9();
    member.use_program(program.to_path_buf());
    member.start_unready_again();
    member.wait_ready();
}

fn raise(member: &Server) -> Response {
    member.http("POST", "/level/raise", "")
}

/// Returns the feature level of each member by name, as `/level` shows it.
fn levels(member: &Server) -> BTreeMap<String, Value> {
    let answer = member.answers(200, "GET", "/level", "").json();
    let members = answer["members"].as_array().expect("a list").iter();
    let named = members.map(|member| {
        let name = member["name"].as_str().expect("a name").to_owned();
        (name, member["level"].clone())
    });
    named.collect()
}

/// Starts a member that must end. Returns its exit code and last log lines.
fn refused(member: &mut Server) -> (Option<i32>, String) {
    member.start_unready_again();
    let status = member.wait_exit();
    (status.code(), member.tail())
}

#[test]
fn the_level_rises_after_all_members_run_the_next_release() {
    let (own, next) = (Kind::Witan.binary(), next());
    let mut cluster = Cluster::start_with(3, &["--level-hold", "0s"]);
    cluster
        .member(0)
        .answers(201, "PUT", "/v2/keys/kept", "value=1");
    for at in [0, 1] {
        restart(&mut cluster, at, &next);
    }
    // While a member runs this release, neither the level nor the formats change.
    let leader = cluster.leader();
    let expected = BTreeMap::from([
        ("m0".to_owned(), json!(2)),
        ("m1".to_owned(), json!(2)),
        ("m2".to_owned(), json!(1)),
    ]);
    wait::until_true("all levels", || levels(cluster.member(leader)) == expected);
    let answer = raise(cluster.member(leader));
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("m2"), "{}", answer.text());
    until(&cluster, 1);
    until_format(&cluster, "format 4");
    // Until the level rises, every member can go back.
    restart(&mut cluster, 1, &own);
    cluster.wait_equal();

    for at in [1, 2] {
        restart(&mut cluster, at, &next);
    }
    until(&cluster, 2);
    until_format(&cluster, "format 5");
    cluster.wait_equal();

    let url = cluster.member(0).url();
    for verb in ["validate", "enable"] {
        let said = Tool::Etcdctl36.run(&url, &["downgrade", verb, "0.1"]);
        assert!(said.stderr.contains("feature level"), "{}", said.all());
    }
    a_member_of_this_release_leaves_the_directory_alone(&mut cluster, &own);
    let member = cluster.member_mut(2);
    member.use_program(next);
    member.start_again();
    cluster.wait_equal();
    for member in cluster.members() {
        member.answers(200, "GET", "/v2/keys/kept", "");
    }
}

fn a_member_of_this_release_leaves_the_directory_alone(cluster: &mut Cluster, own: &Path) {
    let member = cluster.member_mut(2);
    assert_eq!(member.terminate().code(), Some(0));
    let data = member.dir().join("data");
    let before = contents(&data);
    member.use_program(own.to_path_buf());
    let (code, said) = refused(member);
    assert_eq!(code, Some(OTHER_FORMAT), "{said}");
    assert!(said.contains("0.2.0"), "{said}");
    assert_eq!(contents(&data), before);
}

#[test]
fn the_level_waits_and_rises_at_once_on_request() {
    let next = next();
    let mut cluster = Cluster::start(1);
    let member = cluster.member_mut(0);
    wait::until_true("level 1", || raise(member).text() == "{\"level\":1}\n");
    restart(&mut cluster, 0, &next);
    let member = cluster.member(0);
    wait::until_true("the level waits", || {
        let level = member.answers(200, "GET", "/level", "").json();
        level["level"] == 1 && level["risesAt"].is_string()
    });

    // The level does not rise during a downgrade.
    let url = member.url();
    let enabled = Tool::Etcdctl36.run(&url, &["downgrade", "enable", "0.1"]);
    let success = "Downgrade enable success, cluster version 3.7\n";
    assert_eq!(enabled.stdout, success);
    let status = Tool::Etcdctl36.run(&url, &["endpoint", "status"]).stdout;
    assert!(status.ends_with(", , 0.1.0, true\n"), "{status}");
    let again = Tool::Etcdctl36.run(&url, &["downgrade", "enable", "0.1"]);
    assert!(again.stderr.contains("in progress"), "{}", again.all());
    let answer = raise(member);
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("downgrade"), "{}", answer.text());
    let canceled = Tool::Etcdctl36.run(&url, &["downgrade", "cancel"]);
    assert!(canceled.stdout.contains("success"), "{}", canceled.all());

    let answer = raise(member);
    assert_eq!(answer.status, 200, "{}", answer.text());
    until(&cluster, 2);
    until_format(&cluster, "format 5");
    let member = cluster.member_mut(0);
    member.kill9_and_start();
    until(&cluster, 2);
}

fn lacks_bytes(member: &Server) -> Option<u64> {
    let answer = member.answers(200, "GET", "/level", "").json();
    let mut members = answer["members"].as_array().expect("a list").iter();
    let found = members.find(|member| member["name"] == "m2")?;
    found["lacksBytes"].as_u64()
}

/// Starts three members with data, `m2` on a small disk. Then restarts all members with the next release.
fn upgraded(disk: &Disk) -> Cluster {
    let small = Launch::witan().dir(disk.path().join("m2"));
    let mut cluster = Cluster::prepare_each(&[Launch::witan(), Launch::witan(), small], "http");
    cluster.start_all();
    // Without a version, it would be a new cluster and rise to the next level.
    cluster.member(0).wait_cluster_version("3.7.0");
    let leader = cluster.leader();
    for key in 0..VALUES {
        let put = json!({ "key": format!("k{key:07}"), "value": "v".repeat(VALUE_BYTES) });
        cluster.member(leader).v3("kv/put", &put.to_string());
    }
    cluster.wait_equal();
    // The size of the checkpoint is then the size of the values.
    cluster.member(2).v3("maintenance/defragment", "{}");
    let next = next();
    for at in 0..3 {
        restart(&mut cluster, at, &next);
    }
    cluster
}

#[test]
fn a_level_with_a_later_format_waits_for_disk_space() {
    let test = "levels::a_level_with_a_later_format_waits_for_disk_space";
    on_a_small_disk(test, DISK_MIB, |disk| {
        let mut cluster = upgraded(disk);
        let free = cluster.member(2).metric("witan_disk_free_bytes");
        let free = free.expect("the series is there") as usize;
        disk.take(free - LEFT_BYTES);
        wait::until_true(
            "the leader knows that there is not enough disk space",
            || lacks_bytes(cluster.member(cluster.leader())).is_some(),
        );
        let answer = raise(cluster.member(cluster.leader()));
        let said = answer.text();
        assert_eq!(answer.status, 409, "{said}");
        assert!(said.contains("the disk of m2 lacks "), "{said}");
        // The member has enough space for everything else.
        cluster.member(2).answers(200, "GET", "/health", "");

        // Until there is space, the level does not rise by itself either.
        cluster.add_args(&["--level-hold", "0s"]);
        let next = next();
        for at in 0..3 {
            restart(&mut cluster, at, &next);
        }
        let line = wait::until("the leader logs why", || {
            let mut lines = cluster.members().iter().flat_map(Server::log);
            lines.find(|line| line.contains("enough disk space to rewrite"))
        });
        assert!(line.contains("lacks_bytes"), "{line}");
        until(&cluster, 1);
        until_format(&cluster, "format 4");
        disk.make_room();
        until(&cluster, 2);
        until_format(&cluster, "format 5");
        cluster.wait_equal();
        let failures = cluster.member(2).metric("witan_checkpoint_failures_total");
        assert_eq!(failures, Some(0.0));
    });
}

fn downgrades(member: &Server) -> bool {
    let status = member.v3("maintenance/status", "{}");
    let enabled = &status["downgradeInfo"]["enabled"];
    enabled.as_bool().unwrap_or_default()
}

#[test]
fn a_downgrade_ends_when_all_members_run_the_previous_release() {
    let (own, next) = (Kind::Witan.binary(), next());
    let mut cluster = Cluster::start(1);
    // Without a version, it would be a new cluster and rise to the next level.
    cluster.member(0).wait_cluster_version("3.7.0");
    restart(&mut cluster, 0, &next);
    let url = cluster.member(0).url();
    let enabled = Tool::Etcdctl36.run(&url, &["downgrade", "enable", "0.1"]);
    assert!(enabled.stdout.contains("success"), "{}", enabled.all());

    let member = cluster.member_mut(0);
    member.add_args(["--downgrade-check-time", "0"]);
    restart(&mut cluster, 0, &own);
    assert!(downgrades(cluster.member(0)));
    let member = cluster.member_mut(0);
    member.add_args(["--downgrade-check-time", "100ms"]);
    restart(&mut cluster, 0, &own);
    wait::until_true("the downgrade ends", || !downgrades(cluster.member(0)));
    until(&cluster, 1);
}

#[track_caller]
fn done(program: &Path, args: &[&str]) {
    CommandOutput::of(Command::new(program).args(args)).succeeded();
}

#[test]
fn the_data_of_a_later_cluster_is_neither_followed_nor_adopted() {
    let next = next();
    let mut source = Launch::witan().program(next.clone()).start();
    wait::until_true("the level is 2", || page(&source)["clusterLevel"] == 2);
    source.etcdctl(&["put", "k", "v"]);
    let mut follower = Launch::witan().prepare();
    follower.add_args(["--from", &source.url()]);
    let (code, said) = refused(&mut follower);
    assert_ne!(code, Some(0));
    assert!(said.contains("feature level 2"), "{said}");

    let path = |name: &str| source.dir().join(name).display().to_string();
    let [data, exported] = ["data", "exported"].map(path);
    source.terminate();
    done(&next, &["export", "--data-dir", &data, "--etcd", &exported]);
    let before = contents(Path::new(&exported));
    let said = witan(&["adopt", "--data-dir", &exported]);
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("feature level 2"), "{}", said.all());
    assert_eq!(contents(Path::new(&exported)), before);
    done(&next, &["adopt", "--data-dir", &exported]);
}
