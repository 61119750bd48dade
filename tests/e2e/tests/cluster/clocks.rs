//! Members whose wall clocks jump. Elections and leases do not depend on the clocks. The TTLs of v2 keys follow the leader's
//! clock.

use std::{fs::File, io::Write as _, path::PathBuf, process::Command, time::Duration};

use serde_json::json;
use witan_e2e::{Cluster, Folder, Server, binaries::root, wait};

const MEMBERS: usize = 3;
const JUMP_S: i64 = 7200;

/// A TTL that a jump exceeds.
const TTL_S: i64 = 3600;

/// Time within which the leader, which checks every half second, deletes expired keys.
const LOOKED: Duration = Duration::from_secs(2);

struct Clocks {
    cluster: Cluster,
    folder: Folder,
}

impl Clocks {
    /// Starts members whose wall clocks follow files. Compiles the library that changes their clocks.
    fn start() -> Self {
        let folder = Folder::new("clocks");
        let library = folder.join("clock.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(root().join("tests/e2e/data/clock.c"))
            .status();
        assert!(compiled.is_ok_and(|status| status.success()), "cc fails");
        let mut clocks = Self { cluster: Cluster::prepare(MEMBERS, &[]), folder };
        for at in 0..MEMBERS {
            clocks.set(at, 0);
            let file = clocks.file(at);
            let member = clocks.cluster.member_mut(at);
            member.add_env("LD_PRELOAD", &library.display().to_string());
            member.add_env("WITAN_TEST_CLOCK", &file.display().to_string());
        }
        clocks.cluster.start_all();
        clocks
    }

    fn file(&self, at: usize) -> PathBuf {
        self.folder.join(format!("{at}"))
    }

    /// Moves a member's wall clock by `seconds` from the real time.
    fn set(&self, at: usize, seconds: i64) {
        // Write in place, because the member maps the file.
        let mut file = File::options();
        let file = file
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.file(at));
        let written = file.and_then(|mut file| file.write_all(&seconds.to_ne_bytes()));
        written.expect("a writable folder");
    }

    fn others(&self, leader: usize) -> impl Iterator<Item = usize> {
        (0..MEMBERS).filter(move |at| *at != leader)
    }
}

/// Grants a lease and puts a key with it. `key` consists of base64 letters.
fn grant(member: &Server, id: i64, ttl_s: i64, key: &str) {
    let granted = json!({ "ID": id.to_string(), "TTL": ttl_s.to_string() });
    member.v3("lease/grant", &granted.to_string());
    let put = json!({ "key": key, "value": "YQ==", "lease": id.to_string() });
    member.v3("kv/put", &put.to_string());
}

fn has(member: &Server, key: &str) -> bool {
    member.v3("kv/range", &json!({ "key": key }).to_string())["count"] == "1"
}

/// Returns the remaining TTL of the long lease in seconds.
fn left(member: &Server) -> i64 {
    let answer = member.v3("lease/timetolive", r#"{"ID":"1"}"#);
    let left = answer["TTL"].as_str().and_then(|text| text.parse().ok());
    left.unwrap_or_else(|| panic!("no TTL: {answer}"))
}

#[test]
fn leases_and_elections_do_not_depend_on_wall_clocks() {
    wait::undisturbed(leases_and_leader_stay);
}

/// Changes the members' clocks and checks that only a short lease ends. Fails if an election occurs. A disk that is busy for a
/// second can also cause an election.
fn leases_and_leader_stay() -> Result<(), String> {
    let clocks = Clocks::start();
    let cluster = &clocks.cluster;
    let leader = cluster.leader();
    let before = cluster.member(leader).status();
    grant(cluster.member(leader), 1, TTL_S, "long");
    // Move the clock forward on the leader, then on the others, then back on all.
    let forward = [leader].into_iter().chain(clocks.others(leader));
    let jumps = forward.map(|at| (at, JUMP_S));
    for (at, seconds) in jumps.chain((0..MEMBERS).map(|at| (at, -JUMP_S))) {
        clocks.set(at, seconds);
        grant(cluster.member(at), 2, 1, "soon");
        wait::until_true("a brief lease ends", || !has(cluster.member(at), "soon"));
        for member in cluster.members() {
            assert!(has(member, "long"));
            assert!(left(member) > TTL_S / 2, "{}", left(member));
        }
    }
    let after = cluster.member(leader).status();
    match (after.leader, after.term) == (before.leader, before.term) {
        true => Ok(()),
        false => Err(format!("an election: {before:?}, {after:?}")),
    }
}

#[test]
fn ttls_of_v2_follow_the_clock_of_the_leader() {
    let clocks = Clocks::start();
    let cluster = &clocks.cluster;
    let leader = cluster.leader();
    let follower = cluster.follower();
    let set = |key: &str, ttl_s: i64| {
        let target = format!("/v2/keys/{key}");
        let form = format!("value=x&ttl={ttl_s}");
        cluster.member(leader).answers(201, "PUT", &target, &form);
    };
    let there = |key: &str| {
        let target = format!("/v2/keys/{key}?quorum=true");
        cluster.member(leader).http("GET", &target, "").status == 200
    };
    set("kept", TTL_S);
    clocks.set(follower, JUMP_S);
    set("brief", 1);
    wait::until_true("a brief key ends", || !there("brief"));
    wait::wall_time(LOOKED);
    assert!(there("kept"), "a follower's clock expires no key");
    clocks.set(leader, JUMP_S);
    wait::until_true("the leader's clock expires it", || !there("kept"));
    // A key that was set while the clock was ahead expires when the clock reaches that time again.
    set("ahead", 1);
    clocks.set(leader, 0);
    wait::wall_time(LOOKED);
    assert!(there("ahead"), "the key has not expired yet");
    clocks.set(leader, JUMP_S);
    wait::until_true("the key expires", || !there("ahead"));
    cluster.wait_equal();
}
