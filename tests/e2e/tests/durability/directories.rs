//! Starts a member on the data directories in `tests/upgrade/directories`, which earlier releases have written.
//! `tests/upgrade/make-directories` creates them.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use witan_e2e::{Launch, Server, binaries::root};

const KINDS: [&str; 3] = ["plain", "wal-dir", "adopted"];
const REVISION: i64 = 58;

/// Unpacks an archive into a directory. Uses Python, because not every system has the program `xz`.
fn unpack(archive: &Path, to: &Path) {
    let script = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(archive).arg(to);
    let unpacked = python.stderr(Stdio::null()).status();
    let shown = archive.display();
    assert!(unpacked.is_ok_and(|status| status.success()), "{shown}");
}

fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

/// Reads a key or, if `range_end` is not empty, the keys up to `range_end`. Reads at `revision`; 0 means the last revision.
fn range(server: &Server, key: &str, range_end: &str, revision: i64) -> Value {
    let asked = json!({
        "key": encoded(key),
        "range_end": encoded(range_end),
        "revision": revision,
    });
    server.v3("kv/range", &asked.to_string())
}

/// Checks the data that `tests/upgrade/make-directories` has written. `revision` is the last revision.
fn check(server: &Server, kind: &str, revision: i64) {
    let keys = range(server, "k/", "k0", 0);
    assert_eq!(keys["header"]["revision"], revision.to_string(), "{kind}");
    let keys = keys["kvs"].as_array().expect("keys");
    let value = |kv: &Value| kv["value"].as_str().expect("a value").to_owned();
    let expected: Vec<String> = (1..40)
        .map(|n| match n <= 10 {
            true => encoded(&format!("second-{n:02}")),
            false => encoded(&format!("value-{n:02}")),
        })
        .collect();
    let seen: Vec<_> = keys.iter().map(value).collect();
    assert_eq!(seen, expected, "{kind}");
    // The compaction has kept this revision.
    let old = range(server, "k/06", "", 46);
    assert_eq!(value(&old["kvs"][0]), encoded("value-06"), "{kind}");
    let last = range(server, "after/5", "", 0);
    assert_eq!(value(&last["kvs"][0]), encoded("value-5"), "{kind}");
    let leased = range(server, "leased", "", 0);
    assert_eq!(leased["kvs"][0]["lease"], "77", "{kind}");
    let lease = server.v3("lease/timetolive", r#"{"ID":"77"}"#);
    assert_eq!(lease["grantedTTL"], "1000000000", "{kind}");
    let user = server.v3("auth/user/get", r#"{"name":"alice"}"#);
    assert_eq!(user["roles"], json!(["reader"]), "{kind}");
    if kind != "adopted" {
        let node = server.answers(200, "GET", "/v2/keys/dir/leaf", "").json();
        assert_eq!(node["node"]["value"], "value", "{kind}");
        server.answers(404, "GET", "/v2/keys/dir/gone", "");
    }
}

/// Starts a member on the directory. Checks that it has all data, accepts writes and keeps the directory's format.
fn use_directory(format: &str, kind: &str) {
    let archive = format!("tests/upgrade/directories/format-{format}/{kind}.tar.xz");
    let mut server = Launch::witan().prepare();
    let dir = server.dir().to_owned();
    unpack(&root().join(archive), &dir);
    if kind == "wal-dir" {
        let wal = dir.join("wal");
        symlink(wal.join("log"), dir.join("data/member/log")).expect("the archive has no link");
        server.add_args(["--wal-dir", &wal.display().to_string()]);
    }
    server.start_again();
    check(&server, kind, REVISION);
    let put = json!({ "key": encoded("new"), "value": encoded("new") });
    server.v3("kv/put", &put.to_string());
    server.v3("maintenance/defragment", "{}");
    server.kill9_and_start();
    check(&server, kind, REVISION + 1);
    let identity = fs::read_to_string(dir.join("data/member/identity")).expect("a text");
    let first = identity.lines().next();
    assert_eq!(first, Some(format!("format {format}").as_str()), "{kind}");
}

#[test]
fn the_directories_of_earlier_releases_are_read() {
    let releases = fs::read_to_string(root().join("tests/upgrade/releases")).expect("a file");
    let rows = releases.lines().filter(|row| !row.starts_with('#'));
    let formats: BTreeSet<&str> = rows.filter_map(|row| row.split(' ').nth(2)).collect();
    assert!(!formats.is_empty(), "there is a release");
    for format in formats {
        for kind in KINDS {
            use_directory(format, kind);
        }
    }
}
