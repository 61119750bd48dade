//! The flight recorder: the recordings of running members, and their replay by `witan replay`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use witan_e2e::{
    Cluster, Launch, Server, Writers, assert_contains,
    tool::{CommandOutput, witan},
    wait,
};

/// A value that must not be in any file.
const SECRET: &str = "nobody-may-read-this-value";

const PAGE: &str = "/debug/flight-recorder";
const WRITES: u64 = 100;

fn folder(server: &Server) -> PathBuf {
    server.dir().join("data/recorder")
}

fn files(server: &Server) -> Vec<u8> {
    let files = fs::read_dir(folder(server)).expect("the recorder's folder");
    let paths = files.map(|file| file.expect("an entry").path());
    paths
        .flat_map(|path| fs::read(path).expect("a file"))
        .collect()
}

fn holds(server: &Server, text: &str) -> bool {
    let bytes = files(server);
    assert!(!bytes.is_empty());
    bytes.windows(text.len()).any(|it| it == text.as_bytes())
}

fn replay(path: &Path, more: &[&str]) -> CommandOutput {
    let path = path.display().to_string();
    witan(&[&["replay", &path], more].concat())
}

/// Replays a member's recording, which must be reproduced. Returns the turns.
fn reproduced(server: &Server) -> Vec<Value> {
    reproduced_from(&folder(server))
}

/// Replays a file or directory, which must be reproduced. Returns the turns.
fn reproduced_from(path: &Path) -> Vec<Value> {
    let said = replay(path, &["-w", "json"]).succeeded();
    let split = said.trim_end().rsplit_once('\n');
    let (turns, verdict) = split.expect("turns and a verdict");
    assert!(verdict.contains(": reproduced "), "{verdict}");
    let turns: Vec<Value> = turns
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(turns.iter().all(|turn| turn["equal"] == true));
    turns
}

#[test]
fn a_change_of_the_leader_is_recorded_and_replayed() {
    let mut cluster = Cluster::start_with(3, &["--flight-recorder-megabytes=64"]);
    cluster
        .member(0)
        .answers(201, "PUT", "/v2/keys/a", &format!("value={SECRET}"));
    let writers = Writers::start(4, &cluster.addresses());
    writers.wait_more(WRITES);
    let first = cluster.leader();
    cluster.member_mut(first).kill9();
    writers.wait_more(WRITES);
    writers.stop();
    let second = cluster.leader();
    for at in (0..3).filter(|at| *at != first) {
        assert_eq!(cluster.member_mut(at).terminate().code(), Some(0));
    }
    let turns: Vec<Vec<Value>> = (0..3).map(|at| reproduced(cluster.member(at))).collect();
    let leads = |at: usize| {
        turns[at]
            .iter()
            .any(|turn| turn.to_string().contains("now Leader of term"))
    };
    assert!(leads(first) && leads(second) && first != second);
    for member in cluster.members() {
        assert!(!holds(member, SECRET));
    }

    // A damaged file is replayed up to the damage.
    let file = folder(cluster.member(second)).join("00000001.rec");
    let mut bytes = fs::read(&file).expect("the first file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("it is altered");
    let said = replay(&file, &["--to", "0"]);
    let error = said.stderr;
    assert_eq!((said.code, said.stdout.len()), (Some(1), 0), "{error}");
    assert_contains(&error, "00000001.rec is damaged");
    assert_contains(&error, ": reproduced ");
}

#[test]
fn a_ring_without_its_first_file_can_be_downloaded() {
    let cluster = Cluster::start_with(3, &["--flight-recorder-megabytes=1"]);
    cluster
        .member(0)
        .answers(201, "PUT", "/v2/keys/a", &format!("value={SECRET}"));
    let writers = Writers::start(8, &cluster.addresses());
    for member in cluster.members() {
        wait::until_true("the first file is removed", || {
            !folder(member).join("00000001.rec").exists()
        });
        let page = member.answers(200, "GET", PAGE, "");
        let file = member.dir().join("handed.rec");
        fs::write(&file, &page.body).expect("the file is written");
        let said = replay(&file, &["--to", "0"]);
        let error = said.stderr;
        assert_eq!(said.code, Some(1), "{error}");
        assert_contains(&error, "does not contain the start of the process");
        let secret = SECRET.as_bytes();
        assert!(!page.body.windows(secret.len()).any(|it| it == secret));
    }
    writers.stop();
}

#[test]
fn values_are_recorded_on_request() {
    let mut server = Launch::witan()
        .arg("--flight-recorder-megabytes=64")
        .arg("--flight-recorder-values")
        .start();
    server.answers(201, "PUT", "/v2/keys/a", &format!("value={SECRET}"));
    // Only a user who can read the disk gets plaintext values.
    let refused = server.http("GET", PAGE, "");
    assert_eq!(refused.status, 404);
    assert_contains(refused.text(), "plaintext values");
    assert_eq!(server.terminate().code(), Some(0));
    reproduced(&server);
    assert!(holds(&server, SECRET));
}

#[test]
fn recording_is_off_by_default() {
    let server = Launch::witan().start();
    assert!(!folder(&server).exists());
    let refused = server.http("GET", PAGE, "");
    assert_eq!(refused.status, 404);
    assert_contains(refused.text(), "--flight-recorder-megabytes");
    let replayed = replay(&folder(&server), &[]);
    let error = replayed.stderr;
    assert_eq!(replayed.code, Some(1));
    assert!(error.starts_with("Error: cannot read "), "{error}");
    assert_contains(&error, "recorder");
}
