//! Snapshots between Witan and etcd: etcd starts from Witan's snapshot, and Witan from etcd's and its own.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use witan_e2e::{
    Kind, Launch, Server, Tool, assert_contains, grpc,
    linear::client::Choice,
    tool::{CommandOutput, restore},
};

use super::{
    maintenance::{Client, step},
    start,
};

fn tool(kind: Kind, args: &[&str]) -> CommandOutput {
    CommandOutput::of(program(kind).arg("snapshot").args(args))
}

fn program(kind: Kind) -> Command {
    match kind {
        Kind::Witan => Command::new(kind.binary()),
        Kind::Etcd36 => Tool::Etcdutl36.command(""),
        Kind::Etcd34 | Kind::Etcd37 => Tool::Etcdutl37.command(""),
    }
}

/// Makes random changes and compactions, which are the same on each server. Returns the last revision.
fn fill(server: &Server, rounds: usize) -> i64 {
    grpc::runtime().block_on(async {
        let mut client = Client::connect(&server.address()).await;
        let mut choice = Choice(3);
        let (mut revision, mut compacted) = (1, 0);
        for _ in 0..rounds {
            if let Some(step) = step(&mut choice, revision, &mut compacted) {
                revision = client.run(step).await;
            }
        }
        revision
    })
}

fn save(server: &Server) -> String {
    let path = server.dir().join("snapshot.db").display().to_string();
    let said = server.etcdctl(&["snapshot", "save", &path]);
    assert!(said.contains("Server version 3."), "{said}");
    path
}

/// Creates two leases, one of them with a key, and a third lease that is revoked.
fn lease(server: &Server) {
    for (id, ttl) in [(0x1234, "3600"), (0x4d2f, "7200"), (0x77, "100")] {
        let body = format!(r#"{{"ID":"{id}","TTL":"{ttl}"}}"#);
        server.v3("lease/grant", &body);
    }
    let url = server.url();
    Tool::Etcdctl36.run(&url, &["put", "leased", "x", "--lease=1234"]);
    Tool::Etcdctl36.run(&url, &["put", "gone", "x", "--lease=77"]);
    Tool::Etcdctl36.run(&url, &["lease", "revoke", "77"]);
}

fn people(server: &Server) {
    for line in [
        "role add root",
        "user add root:secret",
        "user grant-role root root",
        "role add reader",
        "role grant-permission reader read a c",
        "role grant-permission reader readwrite x",
        "user add ann:pass",
        "user add cert --no-password",
        "user grant-role ann reader",
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        server.etcdctl(&args);
    }
}

/// Returns the users and roles, and the results of their calls while auth is enabled. Disables auth again.
fn shown_people(server: &Server) -> Vec<String> {
    let url = server.url();
    let run = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        Tool::Etcdctl36.run(&url, &args).stdout
    };
    let shown = ["user list", "role list", "role get reader", "user get ann"];
    let mut shown = shown.map(run).to_vec();
    shown.push(run("auth enable"));
    shown.push(run("get key-1 --user ann:pass"));
    shown.push(run("put x 1 --user ann:pass"));
    shown.push(run("put key-1 1 --user ann:pass"));
    shown.push(run("auth disable --user root:secret"));
    shown
}

fn restored(kind: Kind, snapshot: &str, more: &[&str]) -> Server {
    witan_e2e::tool::restored(Launch::new(kind), program(kind), snapshot, more)
}

fn view(server: &Server) -> Vec<String> {
    let hashes = server.v3("maintenance/hashkv", "{}");
    let keys = server.v3("kv/range", r#"{"key":"AA==","range_end":"AA=="}"#);
    let leased = server.v3("lease/timetolive", r#"{"ID":"4660","keys":true}"#);
    let of = |json: &serde_json::Value, name: &str| json[name].to_string();
    vec![
        of(&hashes, "hash"),
        of(&hashes, "hash_revision"),
        of(&hashes, "compact_revision"),
        of(&keys, "kvs"),
        of(&keys, "count"),
        Tool::Etcdctl36
            .run(&server.url(), &["lease", "list"])
            .stdout,
        of(&leased, "grantedTTL"),
        leased["keys"].to_string(),
    ]
}

#[test]
fn etcd_and_witan_start_from_each_others_snapshots() {
    let ours = start(Kind::Witan);
    ours.http("PUT", "/v2/keys/dir/a", "value=1");
    fill(&ours, 300);
    lease(&ours);
    people(&ours);
    let snapshot = save(&ours);
    // The previous release also reads the layout.
    let former = restored(Kind::Etcd36, &snapshot, &[]);
    assert_eq!(view(&ours), view(&former));
    drop(former);
    let theirs = restored(Kind::Etcd37, &snapshot, &[]);
    assert_eq!(view(&ours), view(&theirs));
    let people = shown_people(&ours);
    assert!(people.iter().any(|said| said == "OK\n"), "{people:?}");
    assert_eq!(people, shown_people(&theirs));
    for server in [&ours, &theirs] {
        let revision = Tool::Etcdctl36.run(&server.url(), &["put", "more", "x"]);
        assert_eq!(revision.stdout, "OK\n");
    }
    assert_eq!(view(&ours), view(&theirs));
    let back = save(&theirs);
    let again = restored(Kind::Witan, &back, &[]);
    assert_eq!(view(&again), view(&theirs));
    // etcd kept the v2 keys without interpreting them.
    let node = again.http("GET", "/v2/keys/dir/a", "").json();
    assert_eq!(node["node"]["value"], "1");
}

/// A snapshot contains the state of one moment, regardless of writes while it is sent.
#[test]
fn writes_continue_during_a_snapshot() {
    let server = start(Kind::Witan);
    // The values exceed the size that may wait for a client.
    let value = "YmFy".repeat(30_000);
    for at in 0..40 {
        let body = format!(r#"{{"key":"bGFyZ2U{}","value":"{value}"}}"#, at % 10);
        server.v3("kv/put", &body);
    }
    let done = AtomicBool::new(false);
    let saved = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut revision = 0;
            while !done.load(Ordering::Relaxed) {
                let body = r#"{"key":"Zm9v","value":"YmFy"}"#;
                let put = server.v3("kv/put", body);
                revision = number(&put["header"]["revision"]);
            }
            revision
        });
        let saved = [0, 1].map(|at| {
            let path = save(&server);
            let own = format!("{path}-{at}");
            fs::rename(path, &own).expect("a folder of our own");
            own
        });
        done.store(true, Ordering::Relaxed);
        let last = writer.join().expect("the writer does not panic");
        saved.map(|path| (path, last))
    });
    for (path, last) in saved {
        let other = restored(Kind::Witan, &path, &[]);
        let theirs = other.v3("maintenance/hashkv", "{}");
        let revision = number(&theirs["hash_revision"]);
        assert!((2..=last).contains(&revision), "{revision} of {last}");
        let body = format!(r#"{{"revision":"{revision}"}}"#);
        let ours = server.v3("maintenance/hashkv", &body);
        assert_eq!(ours["hash"], theirs["hash"]);
    }
}

fn number(json: &serde_json::Value) -> i64 {
    let text = json.as_str().expect("numbers of 64 bits are strings");
    text.parse().expect("a number")
}

/// While auth is enabled, only root gets a snapshot. A member that starts from it has auth enabled.
#[test]
fn snapshots_require_permission_and_contain_users() {
    let servers = [start(Kind::Witan), start(Kind::Etcd37)];
    let saved = servers.each_ref().map(|server| {
        people(server);
        let url = server.url();
        let path = server.dir().join("guarded.db").display().to_string();
        let enabled = Tool::Etcdctl36.run(&url, &["auth", "enable"]);
        assert_eq!(enabled.stdout, "Authentication Enabled\n");
        let save = |user: &[&str]| {
            let args = [&["snapshot", "save", &path], user].concat();
            Tool::Etcdctl36.run(&url, &args)
        };
        let refused = [
            complaint(&save(&[])),
            complaint(&save(&["--user", "ann:pass"])),
            complaint(&save(&["--user", "ann:wrong"])),
        ];
        save(&["--user", "root:secret"]).succeeded();
        (refused, path)
    });
    assert_eq!(saved[0].0, saved[1].0);
    for (kind, from) in [(Kind::Etcd37, 0), (Kind::Witan, 1), (Kind::Witan, 0)] {
        let server = restored(kind, &saved[from].1, &[]);
        let nobody = Tool::Etcdctl36.run(&server.url(), &["get", "a"]);
        let refused = "Error: etcdserver: user name is empty";
        assert_eq!(complaint(&nobody).1, refused, "{kind:?}");
        let args = ["put", "any", "x", "--user", "root:secret"];
        let root = Tool::Etcdctl36.run(&server.url(), &args);
        assert_eq!(root.stdout, "OK\n", "{kind:?}: {}", root.all());
    }
}

#[test]
fn a_store_without_compactions_reports_minus_one() {
    let theirs = start(Kind::Etcd37);
    let ours = restored(Kind::Witan, &save(&theirs), &[]);
    for server in [&ours, &theirs] {
        let hash = server.http("POST", "/v3/maintenance/hashkv", "{}").text();
        assert!(hash.contains(r#""compact_revision":"-1""#), "{hash}");
    }
}

/// The snapshot is from an etcd whose data Witan has never written.
#[test]
fn the_revision_can_be_bumped() {
    let theirs = start(Kind::Etcd37);
    fill(&theirs, 60);
    lease(&theirs);
    people(&theirs);
    let revision = number(&theirs.v3("maintenance/hashkv", "{}")["hash_revision"]);
    let snapshot = save(&theirs);
    let bump = ["--bump-revision", "1000", "--mark-compacted"];
    let [mut ours, theirs] =
        [Kind::Witan, Kind::Etcd37].map(|kind| restored(kind, &snapshot, &bump));
    let before = view(&theirs);
    assert_eq!(view(&ours), before);
    assert_eq!(before[1], format!("\"{}\"", revision + 1000));
    assert_eq!(shown_people(&ours), shown_people(&theirs));
    // The member starts from its disk, without the snapshot.
    ours.kill9_and_start();
    assert_eq!(view(&ours), view(&theirs));
    let old = revision.to_string();
    for server in [&ours, &theirs] {
        let said = Tool::Etcdctl36.run(&server.url(), &["get", "key-1", "--rev", &old]);
        assert_contains(&said.stderr, "required revision has been compacted");
    }
}

#[test]
fn a_snapshot_carries_v2_with_its_history() {
    let first = start(Kind::Witan);
    for (path, body) in [
        ("a/b", "value=1"),
        ("a/b", "value=2"),
        ("c", "value=3&ttl=1000"),
    ] {
        let set = first.http("PUT", &format!("/v2/keys/{path}"), body);
        assert!(set.status < 300);
    }
    first.http("DELETE", "/v2/keys/a/b", "");
    let second = restored(Kind::Witan, &save(&first), &[]);
    for target in [
        "/v2/keys/?recursive=true&sorted=true",
        "/v2/keys/a/b?wait=true&waitIndex=4",
        "/v2/keys/a/b?wait=true&waitIndex=6",
    ] {
        let [before, after] = [&first, &second].map(|server| server.http("GET", target, ""));
        let shown = |mut json: serde_json::Value| {
            // The remaining TTL decreases.
            if let Some(nodes) = json["node"]["nodes"].as_array_mut() {
                for node in nodes {
                    node.as_object_mut().map(|node| node.remove("ttl"));
                }
            }
            json.to_string()
        };
        assert_eq!(shown(before.json()), shown(after.json()), "{target}");
    }
}

/// Returns a tool's exit code and the last line on stderr that begins with `Error: `.
fn complaint(said: &CommandOutput) -> (Option<i32>, String) {
    let mut lines = said.stderr.lines();
    let line = lines.rfind(|line| line.starts_with("Error: "));
    (said.code, line.unwrap_or_default().to_owned())
}

#[test]
fn refusals_equal_etcdutls_and_leave_no_files() {
    let server = start(Kind::Witan);
    fill(&server, 50);
    let snapshot = save(&server);
    let dir = server.dir().join("restores");
    fs::create_dir_all(&dir).unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    let sound = fs::read(&snapshot).unwrap();
    let mut flipped = sound.clone();
    flipped[20_000] ^= 1;
    fs::write(path("flipped"), &flipped).unwrap();
    fs::write(path("bare"), &sound[..sound.len() - 32]).unwrap();
    fs::create_dir_all(path("taken/member")).unwrap();
    let (data, taken) = (path("data"), path("taken"));
    let (flipped, bare, missing) = (path("flipped"), path("bare"), path("missing"));
    let cases: [&[&str]; 5] = [
        &[&flipped, "--data-dir", &data],
        &[&bare, "--data-dir", &data],
        &[&missing, "--data-dir", &data],
        &[&snapshot, "--data-dir", &taken],
        &[&snapshot, "--data-dir", &data, "--mark-compacted"],
    ];
    for case in cases {
        let args = [&["restore"], case].concat();
        let said = tool(Kind::Witan, &args);
        assert!(!Path::new(&data).exists(), "{case:?}");
        let theirs = tool(Kind::Etcd37, &args);
        // etcdutl leaves a partial result.
        let _ = fs::remove_dir_all(&data);
        assert_eq!(complaint(&said), complaint(&theirs), "{case:?}");
        assert_ne!(said.code, Some(0));
    }
    fs::create_dir_all(&data).expect("a folder");
    let args = ["restore", &bare, "--data-dir", &data, "--skip-hash-check"];
    tool(Kind::Witan, &args).succeeded();
    let left: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains("restoring"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A pod's init container may run again. The restored directory must stay, with the member's later writes.
#[test]
fn a_restore_that_runs_again_leaves_the_directory_alone() {
    let server = start(Kind::Witan);
    fill(&server, 50);
    let snapshot = save(&server);
    let dir = server.dir().join("again");
    fs::create_dir_all(&dir).unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    let (file, data) = (path("snapshot"), path("data"));
    fs::copy(&snapshot, &file).unwrap();
    let args = [
        "restore",
        &file,
        "--data-dir",
        &data,
        "--skip-existing",
        "--remove-snapshot",
    ];
    tool(Kind::Witan, &args).succeeded();
    assert!(
        !Path::new(&file).exists(),
        "the snapshot still takes disk space"
    );
    fs::write(path("data/mark"), "written since").unwrap();
    tool(Kind::Witan, &args).succeeded();
    assert!(Path::new(&path("data/mark")).exists());
    // Simulate a kill between creating the directory and removing the snapshot.
    fs::copy(&snapshot, &file).unwrap();
    tool(Kind::Witan, &args).succeeded();
    assert!(!Path::new(&file).exists());
    // Without the directory, the snapshot must exist.
    fs::remove_dir_all(&data).unwrap();
    assert_ne!(tool(Kind::Witan, &args).code, Some(0));
}

/// Only the later start needs the certificates.
#[test]
fn a_member_whose_peers_speak_tls_is_restored_without_its_certificate() {
    let server = start(Kind::Witan);
    let snapshot = save(&server);
    let cluster = "m1=https://m1.example:2380,m2=https://m2.example:2380";
    for kind in [Kind::Witan, Kind::Etcd37] {
        let data = server.dir().join(format!("tls-{kind:?}"));
        restore(program(kind), &snapshot, &data, ["m1", cluster], &[]).succeeded();
    }
}

/// The JSON lines, each with one chunk, contain the same file.
#[test]
fn json_carries_the_same_file() {
    let server = start(Kind::Witan);
    fill(&server, 50);
    let saved = fs::read(save(&server)).unwrap();
    let answer = server.answers(200, "POST", "/v3/maintenance/snapshot", "{}");
    let text = answer.text();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let chunks: Vec<usize> = lines
        .iter()
        .map(|line| line["result"]["blob"].as_str().unwrap().len())
        .collect();
    let whole = chunks.iter().map(|base64| base64 / 4 * 3).sum::<usize>();
    assert!(whole.abs_diff(saved.len()) < 3 * chunks.len(), "{chunks:?}");
    assert_eq!(lines[0]["result"]["version"], "3.6.0");
    let last = &lines[lines.len() - 1]["result"];
    assert!(last.get("remaining_bytes").is_none(), "{last}");
    let snapshots = server.metric("etcd_disk_backend_snapshot_duration_seconds_count");
    assert_eq!(snapshots, Some(2.0));
}
