//! Witan and etcd: on a data directory of etcd or among etcd members, Witan refuses to start and changes nothing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use witan_e2e::{Cluster, Kind, Launch, Server};

/// Exit code of a member on a data directory of etcd.
const ETCD_DIRECTORY: i32 = 37;

/// Exit code of a member in a cluster with etcd members.
const ETCD_MEMBERS: i32 = 38;

const ETCDS: [Kind; 2] = [Kind::Etcd34, Kind::Etcd36];

/// Returns all paths below a directory with the files' contents. A directory has no contents.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).expect("a file");
            found.insert(path, Some(bytes));
        }
    }
    found
}

/// Checks that Witan refuses to start on a stopped etcd's data directory and changes nothing.
fn check_refused(etcd: &Server) {
    let data = etcd.dir().join("data");
    let before = contents(&data);
    assert!(!before.is_empty(), "etcd has written something");
    let mut witan = Launch::witan().bare().prepare();
    let (client_url, peer_url) = (witan.url(), witan.peer_url().replace("http:", "https:"));
    witan.add_args(["--data-dir", &data.display().to_string()]);
    witan.add_args(["--listen-client-urls", &client_url]);
    witan.add_args(["--advertise-client-urls", &client_url]);
    witan.add_args(["--listen-peer-urls", &peer_url]);
    witan.add_args(["--initial-advertise-peer-urls", &peer_url]);
    witan.add_args(["--initial-cluster", &format!("default={peer_url}")]);
    // Its self-signed certificates would also be in the data directory.
    witan.add_args(["--peer-auto-tls"]);
    witan.start_unready_again();
    assert_eq!(witan.wait_exit().code(), Some(ETCD_DIRECTORY));
    assert_eq!(contents(&data), before);
    let reason = witan.wait_log(0, "an etcd data directory");
    for part in ["/data/member/", "witan adopt", "--adopt-etcd"] {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn a_data_directory_of_etcd_is_refused_and_not_changed() {
    for kind in ETCDS {
        let mut etcd = Launch::new(kind).start();
        etcd.etcdctl(&["put", "a", "1"]);
        etcd.terminate();
        check_refused(&etcd);
        etcd.start_again();
        let kept = etcd.etcdctl(&["get", "a"]);
        assert_eq!(kept, "a\n1\n");
    }
}

#[test]
fn a_member_among_etcd_members_exits_with_advice() {
    for kind in ETCDS {
        for state in ["existing", "new"] {
            let mut cluster = Cluster::prepare_of(&Launch::new(kind), "http", 1);
            cluster.start_all();
            let at = cluster.prepare_joining(&[0]);
            let peer_url = cluster.member(at).peer_url();
            let urls = format!("--peer-urls={peer_url}");
            let args = ["member", "add", "m1", &urls];
            cluster.member(0).etcdctl(&args);
            let joining = cluster.member_mut(at);
            joining.add_args(["--initial-cluster-state", state]);
            joining.start_unready_again();
            assert_eq!(joining.wait_exit().code(), Some(ETCD_MEMBERS), "{state}");
            let etcd_url = cluster.member(0).peer_url();
            let reason = cluster.member(at).wait_log(0, "is an etcd member");
            for part in [&etcd_url, "member remove", "witan follow"] {
                assert!(reason.contains(part), "{reason}");
            }
            let data = cluster.member(at).dir().join("data");
            assert!(!data.exists(), "nothing was written");
        }
    }
}
