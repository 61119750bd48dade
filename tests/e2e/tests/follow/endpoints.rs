//! The address of the source, and how the source's clients find the new cluster.

use std::{fs, process::Command};

use witan_e2e::{Kind, Launch, Tool, wait};

use super::{cut_over, follow, no_cut_over, revision, run, status, wait_copied};

/// Otherwise, the other cluster's revisions would continue the copied ones.
#[test]
fn another_cluster_at_the_same_address_is_not_copied() {
    let mut source = Launch::new(Kind::Etcd37).start();
    run(&source, &["put", "a", "1"]);
    let member = follow(&source);
    wait_copied(&member, &source);
    source.kill9();
    fs::remove_dir_all(source.dir().join("data")).expect("it has data");
    source.add_args(["--initial-cluster-token=another"]);
    source.start_again();
    for value in ["2", "3", "4"] {
        run(&source, &["put", "b", value]);
    }
    wait::until_true("it is noticed", || {
        let error = status(&member)["error"].to_string();
        error.contains("is a member of cluster") && error.contains("name its members with --from")
    });
    assert_eq!(revision(&member), 2);
    no_cut_over(&member, 503);
    run(&source, &["put", "b", "5"]);
}

/// For clients whose endpoints cannot be changed, the documents recommend a gateway at the source's address.
#[test]
fn a_gateway_leads_clients_of_the_source_to_the_new_cluster() {
    let mut source = Launch::new(Kind::Etcd37).start();
    run(&source, &["put", "a", "1"]);
    let member = follow(&source);
    wait_copied(&member, &source);
    cut_over(&member);
    source.kill9();
    let gateway = Command::new(Kind::Witan.binary())
        .args(["gateway", "start", "--listen-addr", &source.address()])
        .args(["--endpoints", &member.address()])
        .spawn();
    let mut gateway = gateway.expect("witan is executable");
    wait::until_true("the source's address takes writes", || {
        Tool::Etcdctl37.run(&source.url(), &["put", "a", "2"]).code == Some(0)
    });
    gateway.kill().expect("it runs");
    gateway.wait().expect("it ends");
    assert_eq!(
        run(&member, &["get", "a", "--print-value-only"]).trim(),
        "2"
    );
}
