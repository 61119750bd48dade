//! Adopts one member that was killed, stopped, defragmented, downgraded or restored.

use std::{fs, time::SystemTime};

use witan_e2e::{
    Cluster, Kind, Launch, Server, Tool, Writers, assert_contains, folder::copy, grpc, in_parallel,
    tool::restore, wait, writers,
};

use super::{ETCDS, adopt, become_witan, data, observe, try_adopt};

/// Exit code of a member if etcd has run on its directory since the adoption.
const ETCD_RAN_SINCE: i32 = 39;

/// Writes data of each kind that etcd stores. Returns a lease's id.
pub(super) fn write_all_kinds(etcd: &Server) -> String {
    for key in ["a", "b", "c", "d"] {
        etcd.etcdctl(&["put", key, "1"]);
        etcd.etcdctl(&["put", key, "\u{1}binary \u{fffd}"]);
    }
    let granted = etcd.etcdctl(&["lease", "grant", "600"]);
    let lease = granted
        .split_whitespace()
        .nth(1)
        .expect("lease ID granted")
        .to_owned();
    etcd.etcdctl(&["put", "leased", "x", "--lease", &lease]);
    etcd.etcdctl(&["del", "c"]);
    let txn = "value(\"d\") != \"1\"\n\nput t1 1\nput t2 2\ndel b\n\nput t3 3\n\n";
    let said = Tool::Etcdctl36.run_with_input(&etcd.url(), &["txn"], txn);
    assert!(said.stdout.contains("SUCCESS"), "{}", said.all());
    etcd.etcdctl(&["role", "add", "reader"]);
    etcd.etcdctl(&["role", "grant-permission", "reader", "read", "a", "d"]);
    etcd.etcdctl(&["user", "add", "anne:secret"]);
    etcd.etcdctl(&["user", "add", "root:root"]);
    etcd.etcdctl(&["user", "grant-role", "root", "root"]);
    etcd.etcdctl(&["user", "grant-role", "anne", "reader"]);
    lease
}

/// Starts etcd on its own files, observes it, and restores the files.
fn observe_on_a_copy(etcd: &mut Server, revisions: &[i64]) -> String {
    let saved = etcd.dir().join("saved");
    copy(&data(etcd), &saved);
    etcd.start_again();
    let seen = observe(etcd, revisions);
    etcd.kill9();
    fs::remove_dir_all(data(etcd)).expect("a folder");
    fs::rename(&saved, data(etcd)).expect("a folder");
    seen
}

fn check_adopted(etcd: &mut Server, revisions: &[i64]) {
    let before = observe_on_a_copy(etcd, revisions);
    let said = adopt(etcd);
    assert!(said.starts_with("adopted "), "{said}");
    become_witan(etcd);
    etcd.start_again();
    assert_eq!(observe(etcd, revisions), before);
}

#[test]
fn a_member_killed_under_load_is_adopted_with_every_acknowledged_write_and_user() {
    in_parallel(ETCDS, |kind| {
        let mut etcd = Launch::new(kind).arg("--snapshot-count=100").start();
        let lease = write_all_kinds(&etcd);
        let writers = Writers::start(8, &[etcd.address()]);
        writers.wait_more(300);
        etcd.etcdctl(&["compact", "15"]);
        writers.wait_more(100);
        etcd.kill9();
        let written = writers.stop();
        check_adopted(&mut etcd, &[0, 16, 20, 100, 300]);
        assert!(grpc::hash_kv(&etcd, 100).is_some());
        writers::assert_all_there(&etcd, &written);
        let stays = etcd.etcdctl(&["get", "leased"]);
        assert_eq!(stays, "leased\nx\n");
        etcd.etcdctl(&["lease", "revoke", &lease]);
        assert_eq!(etcd.etcdctl(&["get", "leased"]), "");
        etcd.etcdctl(&["auth", "enable"]);
        let get = ["get", "a", "--user", "anne:secret"];
        assert_eq!(etcd.etcdctl(&get), "a\n\u{1}binary \u{fffd}\n");
        let refused = Tool::Etcdctl36.run(&etcd.url(), &["get", "a", "--user", "anne:wrong"]);
        assert_ne!(refused.code, Some(0));
    });
}

/// etcd logs a membership change before it refuses the change. An adopted member must not count the refused members.
#[test]
fn refused_membership_changes_are_not_adopted() {
    in_parallel(ETCDS, |kind| {
        let mut etcd = Launch::new(kind).start();
        let refuses = |arguments: &[&str], message: &str| {
            let add = ["member", "add", "again"];
            let refused = Tool::Etcdctl36.run(&etcd.url(), &[&add[..], arguments].concat());
            assert_contains(refused.all(), message);
        };
        let exists = "Peer URLs already exists";
        let own = format!("--peer-urls={}", etcd.peer_url());
        refuses(&[&own], exists);
        refuses(&[&own, "--learner"], exists);
        // Nothing listens on these ports.
        let urls = "--peer-urls=http://127.0.0.1:2";
        let added = etcd.etcdctl(&["member", "add", "learner", "--learner", urls]);
        let learner = added.split_whitespace().nth(1).expect("Member ID added");
        // The id of a member depends on its URLs.
        refuses(&[&format!("{urls},http://127.0.0.1:4")], exists);
        let another = ["--learner", "--peer-urls=http://127.0.0.1:3"];
        refuses(&another, "too many learner members in cluster");
        etcd.etcdctl(&["member", "remove", learner]);
        etcd.etcdctl(&["put", "a", "1"]);
        etcd.terminate();
        check_adopted(&mut etcd, &[0]);
        assert_eq!(etcd.etcdctl(&["get", "a"]), "a\n1\n");
    });
}

#[test]
fn a_member_is_adopted_after_a_defragmentation_and_a_downgrade() {
    let mut etcd = Launch::new(Kind::Etcd37).start();
    write_all_kinds(&etcd);
    etcd.etcdctl(&["compact", "10"]);
    etcd.etcdctl(&["defrag"]);
    etcd.etcdctl(&["downgrade", "enable", "3.6.0"]);
    wait::until_true("the backend has the format of 3.6", || {
        etcd.etcdctl(&["endpoint", "status", "-w", "json"])
            .contains("\"storageVersion\":\"3.6.0\"")
    });
    etcd.etcdctl(&["put", "a", "of 3.7"]);
    // Stop etcd, because it commits the backend's format only later.
    etcd.terminate();
    etcd.use_program(Kind::Etcd36.binary());
    etcd.start_again();
    etcd.etcdctl(&["put", "a", "of 3.6"]);
    etcd.kill9();
    check_adopted(&mut etcd, &[0, 11, 14]);
    assert_eq!(etcd.etcdctl(&["get", "a"]), "a\nof 3.6\n");
}

/// Only the log contains the users, and etcd 3.4 logs their passwords instead of hashes.
#[test]
fn users_that_only_the_log_contains_are_adopted() {
    in_parallel(ETCDS, |kind| {
        let mut etcd = Launch::new(kind).start();
        etcd.require_users(&["root:root"]);
        etcd.etcdctl(&["put", "a", "1", "--user", "root:root"]);
        etcd.kill9();
        adopt(&etcd);
        become_witan(&mut etcd);
        etcd.start_again();
        assert_eq!(etcd.etcdctl(&["get", "a", "--user", "root:root"]), "a\n1\n");
        let refused = Tool::Etcdctl36.run(&etcd.url(), &["get", "a"]);
        assert_contains(&refused.stderr, "user name is empty");
    });
}

#[test]
fn keys_of_v2_are_adopted_with_their_indexes_and_their_history() {
    let mut etcd = Launch::new(Kind::Etcd34).arg("--snapshot-count=20").start();
    for at in 0..30 {
        let target = format!("/v2/keys/dir/k{}?ttl=600", at % 7);
        etcd.http("PUT", &target, &format!("value={at}"));
    }
    etcd.http("PUT", "/v2/keys/_hidden", "value=x");
    etcd.http("DELETE", "/v2/keys/dir/k3", "");
    etcd.http("POST", "/v2/keys/queue", "value=first");
    let ask = |server: &Server, target: &str| server.http("GET", target, "").json();
    let strip = |server: &Server, target: &str| {
        let text = ask(server, target).to_string();
        // Remove the remaining TTLs.
        let parts = text.split("\"ttl\":");
        parts
            .map(|part| {
                part.trim_start_matches(|digit: char| digit.is_ascii_digit())
                    .to_owned()
            })
            .collect::<Vec<String>>()
    };
    let targets = [
        "/v2/keys/?recursive=true&sorted=true",
        "/v2/keys/_hidden",
        "/v2/keys/dir/k1?wait=true&waitIndex=8",
        "/v2/keys/?recursive=true&wait=true&waitIndex=12",
    ];
    let before = targets.map(|target| strip(&etcd, target));
    etcd.kill9();
    adopt(&etcd);
    become_witan(&mut etcd);
    etcd.start_again();
    let after = targets.map(|target| strip(&etcd, target));
    assert_eq!(after, before);
}

/// Starts Witan with `--adopt-etcd` on the data of a stopped etcd, in which `a` is `etcd`. Restarts Witan after a write.
fn adopt_at_start(etcd: &mut Server) {
    become_witan(etcd);
    etcd.start_again();
    assert_eq!(etcd.etcdctl(&["get", "a"]), "a\netcd\n");
    etcd.etcdctl(&["put", "a", "witan"]);
    etcd.kill9_and_start();
    assert_eq!(etcd.etcdctl(&["get", "a"]), "a\nwitan\n");
}

#[test]
fn after_an_adoption_etcd_can_continue_with_its_files_and_is_detected() {
    in_parallel(ETCDS, |kind| {
        let mut etcd = Launch::new(kind).start();
        etcd.etcdctl(&["put", "a", "1"]);
        let (is_done, said) = try_adopt(&etcd, &[]);
        assert!(!is_done && said.contains("Stop etcd"), "{said}");
        etcd.terminate();
        adopt(&etcd);
        etcd.start_again();
        assert_eq!(etcd.etcdctl(&["get", "a"]), "a\n1\n");
        etcd.etcdctl(&["put", "a", "2"]);
        etcd.terminate();
        // Witan must not start, because it would lose etcd's later writes.
        become_witan(&mut etcd);
        etcd.start_unready_again();
        assert_eq!(etcd.wait_exit().code(), Some(ETCD_RAN_SINCE));
        etcd.wait_log(0, "etcd has run on it again");
        move_away(&etcd);
        adopt(&etcd);
        etcd.start_again();
        assert_eq!(etcd.etcdctl(&["get", "a"]), "a\n2\n");
    });
}

/// Moves Witan's files out of a data directory, so that it can be adopted again.
fn move_away(server: &Server) {
    let member = data(server).join("member");
    for name in ["identity", "log", "checkpoint"] {
        fs::rename(member.join(name), member.join(format!("{name}-before"))).expect(name);
    }
}

/// The start with `--adopt-etcd` would otherwise replace all writes since the adoption with etcd's data.
#[test]
fn a_member_that_lost_its_identity_keeps_its_data() {
    let mut etcd = Launch::new(Kind::Etcd36).start();
    etcd.etcdctl(&["put", "a", "etcd"]);
    etcd.kill9();
    etcd.add_args(["--adopt-etcd"]);
    adopt_at_start(&mut etcd);
    etcd.etcdctl(&["put", "a", "witan"]);
    etcd.terminate();
    let identity = data(&etcd).join("member/identity");
    let aside = identity.with_file_name("aside");
    fs::rename(&identity, &aside).expect("a file");
    etcd.start_unready_again();
    assert_eq!(etcd.wait_exit().code(), Some(ETCD_RAN_SINCE));
    etcd.wait_log(0, "no adoption was interrupted");
    fs::rename(&aside, &identity).expect("a file");
    etcd.start_again();
    assert_eq!(etcd.etcdctl(&["get", "a"]), "a\nwitan\n");
    etcd.terminate();
    let (is_done, said) = try_adopt(&etcd, &[]);
    assert!(!is_done);
    assert_contains(&said, "already contains Witan's data");
}

/// etcd 3.4 leaves the members of the saved cluster in the backend, in addition to the members in the flags.
#[test]
fn a_directory_that_was_restored_from_a_snapshot_has_the_members_that_etcd_sees() {
    for (kind, tool) in [
        (Kind::Etcd34, Tool::Etcdctl34V3),
        (Kind::Etcd36, Tool::Etcdutl36),
    ] {
        let mut cluster = Cluster::prepare_of(&Launch::new(kind), "http", 3);
        cluster.start_all();
        cluster.member(0).etcdctl(&["put", "a", "1"]);
        let dir = cluster.member(0).dir();
        let file = dir.join("saved.db").display().to_string();
        cluster.member(0).etcdctl(&["snapshot", "save", &file]);
        for has_run in [false, true] {
            let mut restored = Launch::new(kind).prepare();
            let cluster = format!("default={}", restored.peer_url());
            let member = ["default", cluster.as_str()];
            let program = tool.command(&restored.url());
            restore(program, &file, &data(&restored), member, &[]).succeeded();
            if has_run {
                restored.start_again();
                restored.etcdctl(&["put", "b", "2"]);
                restored.kill9();
            }
            let said = adopt(&restored);
            assert!(said.contains(", 1 members,"), "{said}");
            become_witan(&mut restored);
            restored.start_again();
            assert_eq!(restored.etcdctl(&["get", "a"]), "a\n1\n");
        }
    }
}

/// The log is in another directory, and the files' modification times are older than the adoption.
#[test]
fn later_writes_of_etcd_are_detected_by_content() {
    let mut etcd = Launch::new(Kind::Etcd36)
        .arg("--wal-dir=log-of-etcd")
        .start();
    etcd.etcdctl(&["put", "a", "1"]);
    etcd.terminate();
    let wal = etcd.dir().join("log-of-etcd");
    let (is_done, said) = try_adopt(&etcd, &["--wal-dir", &wal.display().to_string()]);
    assert!(is_done, "{said}");
    etcd.start_again();
    etcd.etcdctl(&["put", "a", "2"]);
    etcd.terminate();
    for file in fs::read_dir(&wal).expect("a folder") {
        let file = fs::File::options()
            .write(true)
            .open(file.expect("a file").path());
        let file = file.expect("a file");
        file.set_modified(SystemTime::UNIX_EPOCH)
            .expect("its own file");
    }
    let witan = Launch::witan().dir(etcd.dir().to_owned());
    let mut witan = witan.start_unready();
    assert_eq!(witan.wait_exit().code(), Some(ETCD_RAN_SINCE));
}

/// The logs of etcd and Witan are in the same directory.
#[test]
fn a_start_adopts_etcd_whose_log_is_elsewhere() {
    in_parallel(ETCDS, |kind| {
        let mut etcd = Launch::new(kind).arg("--wal-dir=logs").start();
        etcd.etcdctl(&["put", "a", "etcd"]);
        etcd.kill9();
        etcd.add_args(["--adopt-etcd"]);
        adopt_at_start(&mut etcd);
        assert!(etcd.dir().join("logs/log").is_dir());
        // Adopt etcd's data again, as the error advises because etcd has run since the adoption.
        etcd.terminate();
        let of_witan = etcd.dir().join("logs/log");
        fs::rename(of_witan, etcd.dir().join("log-of-witan")).expect("a folder");
        move_away(&etcd);
        etcd.start_again();
        assert_eq!(etcd.etcdctl(&["get", "a"]), "a\netcd\n");
    });
}

#[test]
fn files_that_no_adoption_created_are_not_removed() {
    let mut etcd = Launch::new(Kind::Etcd36).start();
    etcd.terminate();
    let foreign = data(&etcd).join("member/log");
    fs::create_dir(&foreign).expect("a folder");
    fs::write(foreign.join("mine"), "x").expect("a file");
    let (is_done, said) = try_adopt(&etcd, &[]);
    assert!(!is_done);
    assert_contains(&said, "member/log already exists");
    assert!(foreign.join("mine").exists());
    fs::rename(&foreign, etcd.dir().join("elsewhere")).expect("a folder");
    adopt(&etcd);
}
