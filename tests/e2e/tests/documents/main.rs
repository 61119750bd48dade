//! Runs the shell commands of `README.md`, `docs/start` and `docs/operating` on a real member. Each document is one session,
//! whose blocks run from top to bottom.
//!
//! `tests/tidy/tests/documents.rs` checks names in prose (flags, metrics, paths).
//!
//! Reading order: `markdown` (blocks and their marks) → `session` (running them) → this file.

mod markdown;
mod session;

use std::{fs, path::PathBuf, thread};

use markdown::{Block, Mark};
use witan_e2e::binaries;

/// Folders with pages to run, in addition to `README.md`.
const FOLDERS: [&str; 2] = ["docs/start", "docs/operating"];

/// Blocks that are not run: document and first line. The document gives the reason.
const NOT_RUN: &[(&str, &str)] = &[
    ("README.md", "cargo run --release --bin witan"),
    ("README.md", "tests/run"),
    (
        "README.md",
        "URL=$(curl -sSf 'http://localhost:2379/new?size=3')",
    ),
    (
        "README.md",
        "docker build --target server --tag ghcr.io/witan/witan:0.1.0 .",
    ),
    (
        "README.md",
        "helm install witan-operator charts/witan-operator --namespace witan-system --create-namespace --wait",
    ),
    (
        "README.md",
        "kubectl port-forward service/plain-client 2379:2379 &",
    ),
    // These blocks adopt data, or redirect clients to the new cluster.
    ("docs/start/coming-from-etcd.md", "systemctl stop etcd"),
    (
        "docs/start/coming-from-etcd.md",
        "systemctl disable --now etcd",
    ),
    (
        "docs/start/coming-from-etcd.md",
        "docker build --target etcd --tag ghcr.io/witan/etcd:3.7.3-witan.0.1.0 .",
    ),
    ("docs/start/coming-from-etcd.md", "systemctl stop witan"),
    (
        "docs/start/coming-from-etcd.md",
        "witan follow --from https://etcd-0:2379,https://etcd-1:2379,https://etcd-2:2379 \\",
    ),
    (
        "docs/start/coming-from-etcd.md",
        "witan follow cut-over --endpoint http://10.0.0.10:2379",
    ),
    (
        "docs/start/coming-from-etcd.md",
        "witan follow source-gone --endpoint http://10.0.0.10:2379",
    ),
    (
        "docs/start/coming-from-etcd.md",
        "apt-get install ./etcd-server_3.7.3+witan.0.1.0-1_amd64.deb",
    ),
    (
        "docs/start/kubernetes.md",
        "docker build --target server --tag ghcr.io/witan/witan:0.1.0 .",
    ),
    (
        "docs/start/kubernetes.md",
        "helm install witan-operator charts/witan-operator --namespace witan-system --create-namespace --wait",
    ),
    (
        "docs/start/kubernetes.md",
        "kubectl apply --server-side -f deploy/crd.yaml",
    ),
    (
        "docs/start/kubernetes.md",
        "kubectl apply -f deploy/samples/plain.yaml",
    ),
    (
        "docs/start/kubernetes.md",
        "helm install orders charts/witan-cluster --set replicaCount=3 --set persistence.size=20Gi --set tls.enabled=true",
    ),
    (
        "docs/start/kubernetes.md",
        "kubectl port-forward service/plain-client 2379 &",
    ),
    (
        "docs/start/kubernetes.md",
        "kubectl port-forward pod/plain-0 2381 &",
    ),
    (
        "docs/start/other-operators.md",
        "kubectl apply --dry-run=server --filename new.yaml",
    ),
    ("docs/operating/kubernetes.md", "kubectl create -f - <<END"),
    (
        "docs/operating/kubectl.md",
        "cargo build --release --bin witan-operator",
    ),
    ("docs/operating/kubectl.md", "kubectl witan status orders"),
    (
        "docs/operating/kubectl.md",
        "kubectl witan backup orders --like orders-daily --wait",
    ),
    (
        "docs/operating/kubectl.md",
        "kubectl witan restore orders --from orders-daily-8 --in-place --to-time 2026-11-25T03:00:00Z --bump-revision 1000000000 --wait",
    ),
    (
        "docs/operating/kubectl.md",
        "kubectl witan move-leader orders orders-2 --wait",
    ),
    ("docs/operating/kubectl.md", "kubectl witan top orders"),
    ("docs/operating/kubectl.md", "kubectl witan report orders"),
    (
        "docs/operating/kubernetes-backup.md",
        "kubectl create secret generic s3 --from-literal=AWS_ACCESS_KEY_ID=$KEY --from-literal=AWS_SECRET_ACCESS_KEY=$SECRET",
    ),
    (
        "docs/operating/kubernetes-backup.md",
        "kubectl apply -f - <<END",
    ),
    (
        "docs/operating/kubernetes-backup.md",
        "kubectl apply -f - <<END",
    ),
    (
        "docs/operating/kubernetes-backup.md",
        "kubectl apply -f - <<END",
    ),
    (
        "docs/operating/kubernetes-backup.md",
        "NAME=\"plain-$(date -u +%Y%m%dT%H%M%SZ)\"",
    ),
    (
        "docs/operating/kubernetes-backup.md",
        "witan-operator backup changes --endpoints http://127.0.0.1:2379 --to file:///srv/backups --every 10s",
    ),
    (
        "docs/operating/kubernetes-backup.md",
        "witan-operator backup fetch --from file:///srv/backups --file newest.db --changes changes",
    ),
    ("docs/operating/operations.md", "kubectl create -f - <<END"),
    ("docs/operating/runbook.md", "CLUSTER=orders"),
    (
        "docs/operating/runbook.md",
        "etcdctl --user \"root:$(kubectl get secret orders-root -o go-template='{{.data.password | base64decode}}')\" member list",
    ),
    ("docs/start/cluster.md", "witan info m1.etcd"),
    (
        "docs/start/cluster.md",
        "CLUSTER=m1=http://127.0.0.1:7001,m2=http://127.0.0.1:7002,m3=http://127.0.0.1:7003",
    ),
    (
        "docs/start/cluster.md",
        "etcdctl --endpoints http://127.0.0.1:4001 member add m4 --peer-urls=http://127.0.0.1:7004",
    ),
    (
        "docs/operating/hardening.md",
        "sudo useradd --system --home-dir /var/lib/witan --shell /usr/sbin/nologin witan",
    ),
    ("docs/operating/hardening.md", "systemctl status witan"),
    (
        "docs/operating/hardening.md",
        "identity='--certificate-oidc-issuer https://token.actions.githubusercontent.com",
    ),
    (
        "docs/operating/hardening.md",
        "systemd-analyze security --offline=true deploy/systemd/witan.service",
    ),
    (
        "docs/start/from-source.md",
        "cargo build --release --bin witan",
    ),
    (
        "docs/start/from-source.md",
        "sudo install target/release/witan /usr/local/bin/witan",
    ),
];

/// Returns all pages with their paths below the root.
fn pages() -> Vec<(String, String)> {
    let root = binaries::root();
    let folder = |folder: &&str| fs::read_dir(root.join(folder)).expect("the folder is there");
    let found = FOLDERS.iter().flat_map(folder);
    let found = found.map(|entry| entry.expect("the folder is readable").path());
    let mut paths: Vec<PathBuf> = found
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    paths.push(root.join("README.md"));
    paths.sort();
    let page = |path: &PathBuf| {
        let name = path.strip_prefix(&root).expect("pages are below the root");
        let text = fs::read_to_string(path).expect("a page is text");
        (name.display().to_string(), text)
    };
    paths.iter().map(page).collect()
}

fn run(name: &str, text: &str) -> Result<(), String> {
    session::run(name, &markdown::blocks(text)?)
}

#[test]
fn commands_of_documents_run() {
    let pages = pages();
    let wrong: Vec<String> = thread::scope(|scope| {
        let run =
            |(name, text): &(String, String)| run(name, text).map_err(|e| format!("{name}: {e}"));
        let sessions: Vec<_> = pages
            .iter()
            .map(|page| scope.spawn(move || run(page)))
            .collect();
        let ended = sessions
            .into_iter()
            .map(|session| session.join().expect("a session reports"));
        ended.filter_map(Result::err).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn blocks_that_are_not_run_are_listed() {
    let mut found = Vec::new();
    for (name, text) in pages() {
        for block in markdown::blocks(&text).expect("a page is well formed") {
            if let Block { mark: Mark::NotRun, text, .. } = block {
                let first = text.lines().next().unwrap_or_default().to_owned();
                found.push((name.clone(), first));
            }
        }
    }
    let mut listed: Vec<(String, String)> = NOT_RUN
        .iter()
        .map(|(name, first)| ((*name).into(), (*first).into()))
        .collect();
    listed.sort();
    found.sort();
    assert_eq!(found, listed);
}

/// Each of these pages has one mistake, which the runner must detect.
#[test]
fn a_wrong_command_fails() {
    let server = "<!-- run: server -->\n```sh\nwitan --data-dir data\n```\n";
    let wrong = [
        ("```sh\netcdctl gett x\n```", "gett"),
        ("```sh\ncurl http://localhost:2379/v2/nowhere\n```", "404"),
        (
            "```sh\ncurl http://localhost:2379/v2/keys/absent &\n```",
            "404",
        ),
        ("```sh\nfalse | cat\n```", "page:5"),
        ("```sh\necho $UNSET_VARIABLE\n```", "UNSET_VARIABLE"),
        (
            "```sh\necho one\n```\n\n<!-- output -->\n```text\ntwo\n```",
            "two",
        ),
        (
            "<!-- fails with: something -->\n```sh\ntrue\n```",
            "succeeded",
        ),
        (
            "<!-- fails with: something -->\n```sh\necho $UNSET_VARIABLE\n```",
            "without printing",
        ),
        (
            "<!-- run: server -->\n```sh\nwitan --no-such-flag\n```",
            "no-such-flag",
        ),
    ];
    thread::scope(|scope| {
        for (block, part) in wrong {
            scope.spawn(move || {
                let said = run("page", &format!("{server}{block}\n")).expect_err(block);
                assert!(said.contains(part), "{block}: {said}");
            });
        }
    });
    for text in [
        "```\nls\n```",
        "text\n\n    ls\n",
        "<!-- not run: -->\n```sh\nls\n```",
        "```sh\nls\n",
    ] {
        assert!(markdown::blocks(text).is_err(), "{text}");
    }
}
