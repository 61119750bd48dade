//! The program under etcd's names: as `etcd` it is a member, and as `etcdutl` it has the output of etcd's own tool.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use witan_e2e::{
    Folder, Kind, Launch, Server, Tool, assert_contains, binaries, tool::CommandOutput,
};

struct Named {
    _dir: Folder,
    path: PathBuf,
}

impl Named {
    fn new(name: &str) -> Self {
        let dir = Folder::new(name);
        let path = dir.join(name);
        symlink(Kind::Witan.binary(), &path).expect("a link");
        Self { _dir: dir, path }
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        run(&self.path, args)
    }
}

fn run(program: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let said = CommandOutput::of(Command::new(program).args(args));
    (said.code, said.stdout, said.stderr)
}

fn data(server: &Server) -> String {
    server.dir().join("data").display().to_string()
}

#[test]
fn as_etcd_it_starts_a_member() {
    let etcd = Named::new("etcd");
    let member = Launch::witan().program(etcd.path.clone()).start();
    member.etcdctl(&["put", "a", "1"]);
    let (code, version, _) = etcd.run(&["--version"]);
    assert_eq!(code, Some(0));
    assert!(version.starts_with("etcd Version: 3."), "{version}");
}

#[test]
fn as_etcd_it_has_a_gateway() {
    let etcd = Named::new("etcd");
    let (code, help, _) = etcd.run(&["gateway", "start", "--help"]);
    assert!(code == Some(0) && help.contains("--retry-delay"), "{help}");
}

/// Omits keys with a lease, on which etcd's own etcdutl panics.
#[test]
fn as_etcdutl_it_answers_as_etcds() {
    let theirs = binaries::cached("etcdutl37", "tests/tools/etcd.sh 37");
    let ours = Named::new("etcdutl");
    let etcd = Launch::new(Kind::Etcd37).start();
    for at in 0..9 {
        Tool::Etcdctl36.run(&etcd.url(), &["put", &format!("k{at}"), "v"]);
    }
    let mut files = Vec::new();
    for name in ["whole.db", "compacted.db"] {
        let file = etcd.dir().join(name).display().to_string();
        Tool::Etcdctl36.run(&etcd.url(), &["snapshot", "save", &file]);
        Tool::Etcdctl36.run(&etcd.url(), &["compact", "4"]);
        files.push(file);
    }
    let mut asked = vec![
        vec!["version"],
        vec!["hashkv", "/no/such/file"],
        vec!["snapshot", "status", "/no/such/file"],
    ];
    for file in &files {
        for format in ["simple", "table", "json", "fields", "protobuf", "other"] {
            asked.push(vec!["hashkv", file, "-w", format]);
            asked.push(vec!["--write-out", format, "snapshot", "status", file]);
        }
        for revision in ["2", "4", "7", "30"] {
            asked.push(vec!["hashkv", file, "--rev", revision]);
        }
        asked.push(vec!["--timeout", "5s", "hashkv", file]);
        asked.push(vec!["snapshot", "status", file, "--timeout=0"]);
    }
    for args in asked {
        assert_eq!(ours.run(&args), run(&theirs, &args), "{args:?}");
    }
}

/// etcd locks its backend while it runs. Its own tool panics after the timeout.
#[test]
fn as_etcdutl_it_waits_for_a_locked_file() {
    let etcdutl = Named::new("etcdutl");
    let mut etcd = Launch::new(Kind::Etcd37).start();
    let file = format!("{}/member/snap/db", data(&etcd));
    let (code, _, said) = etcdutl.run(&["hashkv", &file, "--timeout=100ms"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--timeout=100ms"), "{said}");
    let (code, hash, said) = thread::scope(|scope| {
        let waiting = scope.spawn(|| etcdutl.run(&["--timeout=0", "hashkv", &file]));
        etcd.terminate();
        waiting.join().expect("the tool runs")
    });
    assert!(code == Some(0) && hash.contains(", "), "{hash}{said}");
    let (code, _, said) = etcdutl.run(&["hashkv", &file, "--timeout=soon"]);
    assert!(code == Some(1) && said.contains("--timeout"), "{said}");
}

#[test]
fn etcdutl_reports_the_work_that_is_not_needed() {
    let etcdutl = Named::new("etcdutl");
    let mut witan = Launch::witan().start();
    witan.terminate();
    let mut etcd = Launch::new(Kind::Etcd36).start();
    etcd.terminate();
    let migrate = |dir: &str, version: &str| {
        etcdutl.run(&["migrate", "--data-dir", dir, "--target-version", version])
    };
    let (code, said, _) = etcdutl.run(&["defrag", "--data-dir", &data(&witan)]);
    assert_eq!(code, Some(0));
    assert_contains(&said, "needs no defragmentation");
    let (code, said, _) = migrate(&data(&witan), "3.5");
    assert!(
        code == Some(0) && said.contains("every cluster version"),
        "{said}"
    );
    let (code, _, said) = migrate(&data(&witan), "4.0");
    assert_eq!(code, Some(1));
    assert_contains(&said, "--target-version 4.0");
    for (code, _, said) in [
        etcdutl.run(&["defrag", "--data-dir", &data(&etcd)]),
        migrate(&data(&etcd), "3.5"),
    ] {
        assert_eq!(code, Some(1));
        assert_contains(&said, "an etcd data directory");
    }
    let (code, _, said) = etcdutl.run(&["defrag", "--data-dir", "/no/such/dir"]);
    assert!(code == Some(1) && said.contains("/no/such/dir"), "{said}");
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (code, script, _) = etcdutl.run(&["completion", shell]);
        assert_eq!(code, Some(0), "{shell}");
        assert_contains(&script, "hashkv");
    }
}
