//! The flight recorder: what members record while they run, and what `witan replay` makes of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use witan_e2e::{Cluster, Kind, Launch, Server, Writers};

/// A value that nobody may read in a file.
const SECRET: &str = "nobody-may-read-this-value";

/// Acknowledged writes before and after the leader is killed.
const WRITES: u64 = 100;

fn folder(server: &Server) -> PathBuf {
    server.dir().join("data/recorder")
}

/// The bytes of all files of the recorder.
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

fn replay(path: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(Kind::Witan.binary());
    let command = command.arg("replay").arg(path).args(more);
    command.output().expect("the program runs")
}

/// Replays what a member has recorded, which must be reproduced. Returns the turns.
fn reproduced(server: &Server) -> Vec<Value> {
    let said = replay(&folder(server), &["-w", "json"]);
    let (text, error) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    assert!(said.status.success(), "{error}");
    let (turns, verdict) = text
        .trim_end()
        .rsplit_once('\n')
        .expect("turns and a verdict");
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
    let written = cluster
        .member(0)
        .http("PUT", "/v2/keys/a", &format!("value={SECRET}"));
    assert_eq!(written.status, 201, "{}", written.text());
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

    // a file that was altered is used up to there
    let file = folder(cluster.member(second)).join("00000001.rec");
    let mut bytes = fs::read(&file).expect("the first file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("it is altered");
    let said = replay(&file, &["--to", "0"]);
    let error = String::from_utf8_lossy(&said.stderr);
    assert_eq!(
        (said.status.code(), said.stdout.len()),
        (Some(1), 0),
        "{error}"
    );
    assert!(
        error.contains("00000001.rec is damaged") && error.contains(": reproduced "),
        "{error}"
    );
}

#[test]
fn values_are_recorded_when_asked_for() {
    let mut server = Launch::witan()
        .arg("--flight-recorder-megabytes=64")
        .arg("--flight-recorder-values")
        .start();
    let written = server.http("PUT", "/v2/keys/a", &format!("value={SECRET}"));
    assert_eq!(written.status, 201, "{}", written.text());
    assert_eq!(server.terminate().code(), Some(0));
    reproduced(&server);
    assert!(holds(&server, SECRET));
}

#[test]
fn nothing_is_recorded_unless_asked_for() {
    let server = Launch::witan().start();
    assert!(!folder(&server).exists());
    let said = replay(&folder(&server), &[]);
    let error = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        error.starts_with("Error: read ") && error.contains("recorder"),
        "{error}"
    );
}
