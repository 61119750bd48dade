//! The way back: `witan export` makes a data directory from which etcd starts.

use std::{fs, path::Path, process::Command};

use witan_e2e::{Cluster, Kind, Launch, Server, Writers, writers};

use super::{adopt, become_witan, data, member::write_all_kinds, observe, run};

/// Those that read the directory.
const ETCDS: [Kind; 2] = [Kind::Etcd36, Kind::Etcd37];

/// Runs `witan export` on the data of a server; returns whether it succeeded, and what it said.
fn try_export(server: &Server, to: &Path) -> (bool, String) {
    let output = Command::new(Kind::Witan.binary())
        .args(["export", "--data-dir"])
        .arg(data(server))
        .arg("--etcd")
        .arg(to)
        .output()
        .expect("the program starts");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn export(server: &Server, to: &Path) -> String {
    let (is_done, said) = try_export(server, to);
    assert!(is_done, "{said}");
    said
}

/// Puts the directory `exported` in the place of the server's own, and starts etcd on it.
fn become_etcd(server: &mut Server, kind: Kind, exported: &Path) {
    fs::remove_dir_all(data(server)).expect("a folder");
    fs::rename(exported, data(server)).expect("a folder");
    server.use_program(kind.binary());
    server.start_again();
}

/// etcd's data, adopted, changed, and given back.
#[test]
fn etcd_goes_on_with_what_was_written_through_witan() {
    for kind in ETCDS {
        let mut server = Launch::new(kind).start();
        write_all_kinds(&server);
        server.kill9();
        adopt(&server);
        become_witan(&mut server);
        server.start_again();
        run(&server, &["put", "through", "witan"]);
        run(&server, &["del", "a"]);
        run(&server, &["compact", "8"]);
        run(&server, &["lease", "grant", "900"]);
        run(&server, &["user", "add", "carl:secret"]);
        let writers = Writers::start(8, &[server.address()]);
        writers.wait_more(300);
        server.kill9();
        let written = writers.stop();

        let exported = server.dir().join("exported");
        let said = export(&server, &exported);
        assert!(said.starts_with("exported "), "{said}");
        assert!(!said.contains("v2"), "{said}");
        let revisions = [0, 9, 20, 100];
        server.start_again();
        let before = observe(&server, &revisions);
        server.terminate();
        become_etcd(&mut server, kind, &exported);
        assert_eq!(observe(&server, &revisions), before);
        writers::assert_all_there(&server, &written);

        // and back again
        server.kill9();
        adopt(&server);
        become_witan(&mut server);
        server.start_again();
        assert_eq!(observe(&server, &revisions), before);
    }
}

/// All members are lost but for their disks. The one whose log ends last has all that was acknowledged.
#[test]
fn one_member_of_a_cluster_is_exported_with_every_acknowledged_write() {
    for kind in ETCDS {
        let mut cluster = Cluster::prepare_of(&Launch::new(kind), "http", 3);
        for at in 0..3 {
            become_witan(cluster.member_mut(at));
        }
        cluster.start_all();
        let writers = Writers::start(16, &cluster.addresses());
        writers.wait_more(400);
        for at in 0..3 {
            cluster.member_mut(at).kill9();
        }
        let written = writers.stop();
        let last = |said: &str| -> (u64, u64) {
            let (said, term) = said.trim_end().rsplit_once(" of term ").expect("a term");
            let (_, entry) = said.rsplit_once(" entry ").expect("an entry");
            (
                term.parse().expect("a number"),
                entry.parse().expect("a number"),
            )
        };
        let exported = |at: usize, cluster: &Cluster| cluster.member(at).dir().join("exported");
        let ends = [0, 1, 2].map(|at| {
            let said = export(cluster.member(at), &exported(at, &cluster));
            (last(&said), at)
        });
        let (_, longest) = ends.into_iter().max().expect("three members");
        let path = exported(longest, &cluster);
        let member = cluster.member_mut(longest);
        become_etcd(member, kind, &path);
        writers::assert_all_there(member, &written);
        assert_eq!(run(member, &["member", "list"]).lines().count(), 1);
        run(member, &["put", "after", "1"]);
    }
}

#[test]
fn what_cannot_be_exported_is_refused_and_nothing_is_written() {
    let mut server = Launch::witan().start();
    let to = server.dir().join("exported");
    let refused = |server: &Server, to: &Path, why: &str| {
        let (is_done, said) = try_export(server, to);
        assert!(!is_done && said.contains(why), "{said}");
    };
    refused(&server, &to, "in use");
    server.http("PUT", "/v2/keys/a", "value=1");
    server.terminate();
    let occupied = server.dir().to_path_buf();
    refused(&server, &occupied, "not empty");
    assert!(!to.exists());
    let said = export(&server, &to);
    assert!(said.contains("the keys of v2 are left out"), "{said}");
    fs::remove_dir_all(data(&server)).expect("a folder");
    refused(&server, &server.dir().join("other"), "no member's data");
}
