//! Data directories that contradict their `identity` file, copies that share the log of `--wal-dir`, and members that restart
//! with another directory.

use std::{fs, path::Path};

use witan_e2e::{Cluster, Launch, Server, folder, http, tool::witan, wait};

/// Starts a server that must end. Returns its exit code and last log line.
fn refused(server: &mut Server) -> (Option<i32>, String) {
    server.start_unready_again();
    let status = server.wait_exit();
    (status.code(), server.tail())
}

/// Returns the error of `witan info` for a directory.
fn info(data: &Path) -> String {
    let said = witan(&["info", &data.display().to_string()]);
    assert_ne!(said.code, Some(0), "{}", said.all());
    said.all()
}

#[test]
fn a_changed_or_cut_identity_is_refused_and_left_alone() {
    let mut server = Launch::witan().start();
    server.answers(201, "PUT", "/v2/keys/kept", "value=1");
    server.terminate();
    let data = server.dir().join("data");
    let file = data.join("member/identity");
    let whole = fs::read_to_string(&file).expect("text");
    let member = whole.find("member ").expect("a line") + "member ".len();
    let mut changed = whole.clone().into_bytes();
    changed[member + 3] ^= 1;
    for content in [changed, whole[..member + 4].into()] {
        fs::write(&file, &content).expect("a file");
        let (code, said) = refused(&mut server);
        assert_eq!(code, Some(23), "{said}");
        let of_info = info(&data);
        for said in [said, of_info] {
            assert!(
                said.contains("member/identity was changed or truncated"),
                "{said}"
            );
            assert!(!said.contains("was removed"), "{said}");
        }
        assert_eq!(fs::read(&file).expect("a file"), content);
    }
    fs::write(&file, whole).expect("a file");
    server.start_again();
    server.answers(200, "GET", "/v2/keys/kept", "");
}

#[test]
fn a_log_without_its_checkpoint_is_refused() {
    let mut server = Launch::witan().start();
    server.answers(201, "PUT", "/v2/keys/kept", "value=1");
    server.terminate();
    let checkpoint = server.dir().join("data/member/checkpoint");
    let aside = checkpoint.with_file_name("aside");
    fs::rename(&checkpoint, &aside).expect("a folder");
    let (code, said) = refused(&mut server);
    assert_eq!(code, Some(30), "{said}");
    assert!(
        said.contains("member/checkpoint was emptied or removed"),
        "{said}"
    );
    fs::remove_dir_all(&checkpoint).expect("a folder");
    fs::rename(&aside, &checkpoint).expect("a folder");
    server.start_again();
    server.answers(200, "GET", "/v2/keys/kept", "");
}

#[test]
fn a_copy_with_a_link_to_the_log_of_its_original_is_refused() {
    let mut original = Launch::witan().arg("--wal-dir=wal").start();
    original.answers(201, "PUT", "/v2/keys/kept", "value=1");
    original.terminate();
    let mut copy = Launch::witan().prepare();
    let data = copy.dir().join("data");
    folder::copy(&original.dir().join("data"), &data);
    let log = original.dir().join("wal/log");
    let of_log = |at: &Path| {
        let files = fs::read_dir(at).expect("the log");
        let mut found: Vec<_> = files
            .map(|file| file.expect("a file").path())
            .map(|path| (fs::read(&path).expect("its content"), path))
            .collect();
        found.sort();
        found
    };
    let before = of_log(&log);
    let etcd = copy.dir().join("etcd").display().to_string();
    let exported = witan(&[
        "export",
        "--data-dir",
        &data.display().to_string(),
        "--etcd",
        &etcd,
    ]);
    let (code, started) = refused(&mut copy);
    assert_eq!(code, Some(39), "{started}");
    for said in [started, info(&data), exported.all()] {
        assert!(said.contains("this directory is a copy"), "{said}");
    }
    assert_eq!(of_log(&log), before);
    // The flag alone does not take over the log of an existing directory.
    copy.add_args([
        "--wal-dir".to_owned(),
        original.dir().join("wal").display().to_string(),
    ]);
    assert_eq!(refused(&mut copy).0, Some(39), "{}", copy.tail());
    assert_eq!(of_log(&log), before);
    original.start_again();
    original.answers(200, "GET", "/v2/keys/kept", "");
    original.terminate();
    // Move the directory to another disk.
    fs::remove_dir_all(original.dir().join("data")).expect("its directory");
    copy.start_again();
    copy.answers(200, "GET", "/v2/keys/kept", "");
}

/// Returns whether a member has refused a stream for this reason.
fn has_refused(member: &Server, reason: &str) -> bool {
    let page = http::once(&member.address(), "GET", "/metrics", "").text();
    let series = format!("witan_peer_refused_total{{reason=\"{reason}\"}}");
    let line = page.lines().find(|line| line.starts_with(&series));
    line.is_some_and(|line| !line.ends_with(" 0"))
}

/// The vote of the emptied member would elect the member that lacks the write.
#[test]
fn a_member_with_an_emptied_directory_elects_nobody() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let [behind, emptied] = [(leader + 1) % 3, (leader + 2) % 3];
    cluster.member_mut(behind).kill9();
    let put = cluster.member(leader);
    put.answers(201, "PUT", "/v2/keys/acknowledged", "value=1");
    cluster.member_mut(emptied).kill9();
    cluster.member_mut(leader).kill9();
    let data = cluster.member(emptied).dir().join("data");
    fs::remove_dir_all(data).expect("the data is removed");
    let mark = cluster.member(emptied).log().len();
    // The other members do not tell whether this member was started before.
    cluster.member_mut(emptied).start_unready_again();
    cluster
        .member(emptied)
        .wait_log(mark, "opened the data directory");
    cluster.member_mut(behind).start_unready_again();
    let member = cluster.member(emptied);
    member.wait_log(mark, "knows this member with another data directory");
    cluster.member_mut(leader).start_again();
    assert_eq!(cluster.member_mut(emptied).wait_exit().code(), Some(35));
    let member = cluster.member(emptied);
    member.wait_log(
        mark,
        "the cluster knows this member with another data directory",
    );
    for at in [leader, behind] {
        cluster.member_mut(at).wait_ready();
        let member = cluster.member(at);
        member.answers(200, "GET", "/v2/keys/acknowledged?quorum=true", "");
    }
    assert!(has_refused(cluster.member(behind), "store"));
}

#[test]
fn a_copy_takes_the_place_of_its_original_for_good() {
    let mut cluster = Cluster::start(3);
    let follower = cluster.follower();
    let at = |cluster: &Cluster, name| cluster.member(follower).dir().join(name);
    let (data, other) = (at(&cluster, "data"), at(&cluster, "other"));
    let exchange = || {
        let third = data.with_file_name("third");
        fs::rename(&data, &third).expect("a rename");
        fs::rename(&other, &data).expect("a rename");
        fs::rename(&third, &other).expect("a rename");
    };
    cluster.member_mut(follower).terminate();
    folder::copy(&data, &other);
    exchange();
    // The copy replaces its original, and the next start accepts it too.
    for _ in 0..2 {
        cluster.member_mut(follower).start_again();
        let member = cluster.member(follower);
        member.answers(201, "POST", "/v2/keys/queue", "value=1");
        cluster.wait_equal();
        cluster.member_mut(follower).terminate();
    }
    exchange();
    let mark = cluster.member(follower).log().len();
    cluster.member_mut(follower).start_unready_again();
    assert_eq!(cluster.member_mut(follower).wait_exit().code(), Some(35));
    let member = cluster.member(follower);
    member.wait_log(mark, "a copy has replaced it");
    exchange();
    cluster.member_mut(follower).start_again();
    let member = cluster.member(follower);
    member.answers(201, "POST", "/v2/keys/queue", "value=1");
    cluster.wait_equal();
}

#[test]
fn a_copy_beside_its_original_is_refused() {
    let mut cluster = Cluster::start(3);
    let follower = cluster.follower();
    cluster.member_mut(follower).terminate();
    let mut copy = Launch::witan().prepare();
    let data = cluster.member(follower).dir().join("data");
    folder::copy(&data, &copy.dir().join("data"));
    cluster.member_mut(follower).start_again();
    copy.start_unready_again();
    copy.wait_log(0, "is a copy, and the member runs with the original");
    for at in 0..3 {
        let member = cluster.member(at);
        member.answers(201, "POST", "/v2/keys/queue", "value=1");
        wait::until_true("it refuses the copy", || {
            at == follower || has_refused(member, "copy")
        });
    }
    cluster.wait_equal();
    copy.kill9();
    cluster.member_mut(follower).terminate();
    cluster.member_mut(follower).start_again();
}
