//! The sections on HTTPS of the README of etcd 0.1 (`golden/seed_004.txt` has the rest of it), on three
//! members that find one another by our own discovery service, with certificates for clients and members.

use std::process::{Command, Output};

use witan_e2e::{Cluster, Folder, Launch, Server, Tool, http, server::READY, wait};

use super::authority::{Authority, Pair};

/// The host names of members.
const HOSTS: [&str; 2] = ["127.0.0.1", "localhost"];

/// curl's exit codes when the server refuses a certificate: in the handshake, or with TLS 1.3 behind it.
const CURL_REFUSED: [Option<i32>; 3] = [Some(35), Some(55), Some(56)];

/// The page's folder `fixtures/ca`.
struct Fixtures {
    dir: Folder,
    authority: Authority,
    ca: String,
    server: [String; 2],
}

impl Fixtures {
    fn new() -> Self {
        let dir = Folder::new("walkthrough");
        let authority = Authority::new("ca");
        let ca = authority.write(&dir.join("ca.crt"));
        let server = authority.issue(&dir, "server", &HOSTS).paths();
        Self { dir, authority, ca, server }
    }

    /// `curl --cacert fixtures/ca/ca.crt https://…` with these further arguments.
    fn curl(&self, member: &Server, args: &[&str], target: &str) -> (Option<i32>, String) {
        let url = format!("https://{}{target}", member.address());
        let mut command = Command::new("curl");
        command.args(["-sS", "-L", "--cacert", &self.ca]).args(args);
        let Output { status, stdout, .. } = command.arg(url).output().expect("curl is installed");
        (status.code(), String::from_utf8_lossy(&stdout).into_owned())
    }

    /// Sets a key at each member, which all must have then.
    fn assert_serves(&self, cluster: &Cluster, args: &[&str]) {
        for (at, member) in cluster.members().iter().enumerate() {
            let data = format!("value=bar{at}");
            let args = [args, &["-d", &data]].concat();
            let (code, said) = self.curl(member, &args, "/v1/keys/foo");
            assert_eq!(code, Some(0), "{said}");
            let set = said.starts_with(r#"{"action":"SET","key":"/foo","#);
            assert!(set, "{said}");
        }
        for member in cluster.members() {
            wait::until_true("every member has the key", || {
                let (_, said) = self.curl(member, args, "/v1/keys/foo");
                said.contains(r#""value":"bar2""#)
            });
        }
    }
}

/// Three members that serve clients over TLS alone, and one another as `args` say.
fn start(fixtures: &Fixtures, scheme: &str, args: &[&str]) -> (Server, Cluster) {
    let service = Launch::witan().start();
    let url = service.http("GET", "/new?size=3", "").text();
    let mut cluster = Cluster::prepare_by_discovery(&url, scheme, 3, args);
    let [cert, key] = &fixtures.server;
    for at in 0..cluster.members().len() {
        let member = cluster.member_mut(at);
        let url = format!("https://{}", member.address());
        member.add_args(["--listen-client-urls", &url]);
        member.add_args(["--advertise-client-urls", &url]);
        member.add_args(["--cert-file", cert, "--key-file", key]);
        member.start_unready_again();
    }
    for member in cluster.members() {
        member.wait_log(0, READY);
    }
    (service, cluster)
}

/// "Authentication with HTTPS client certificates" and "Using HTTPS between servers".
#[test]
fn clients_and_members_of_a_cluster_show_certificates() {
    let fixtures = Fixtures::new();
    let (ca, [cert, key]) = (&fixtures.ca, &fixtures.server);
    let clients = ["--trusted-ca-file", ca, "--client-cert-auth"];
    let members = ["--peer-cert-file", cert, "--peer-key-file", key];
    let auth = ["--peer-trusted-ca-file", ca, "--peer-client-cert-auth"];
    let args = [&clients[..], &members, &auth].concat();
    let (_service, mut cluster) = start(&fixtures, "https", &args);
    let known = fixtures.authority.issue(&fixtures.dir, "myclient", &[]);
    let foreign = Authority::new("another").issue(&fixtures.dir, "stranger", &HOSTS);
    let [cert, key] = known.paths();
    let with = ["--cert", &cert, "--key", &key];
    fixtures.assert_serves(&cluster, &with);
    for member in cluster.members() {
        assert_others_are_refused(&fixtures, member, &foreign);
    }
    // all are killed and come back; nobody asks the discovery service again
    for at in 0..cluster.members().len() {
        cluster.member_mut(at).kill9();
    }
    for at in 0..cluster.members().len() {
        cluster.member_mut(at).start_unready_again();
    }
    for member in cluster.members() {
        wait::until_true("the key is there again", || {
            let (_, said) = fixtures.curl(member, &with, "/v2/keys/foo?quorum=true");
            said.contains(r#""value":"bar2""#)
        });
    }
    // etcdctl with the same files
    let url = format!("https://{}", cluster.member(0).address());
    let files = [
        format!("--cacert={ca}"),
        format!("--cert={cert}"),
        format!("--key={key}"),
    ];
    let [a, b, c] = files.each_ref().map(String::as_str);
    let health = Tool::Etcdctl36.run(&url, &[a, b, c, "endpoint", "health", "--cluster"]);
    let healthy = health.all().matches("is healthy").count();
    assert_eq!((health.code, healthy), (Some(0), 3), "{}", health.all());
}

/// Without a certificate, with one of another authority, and in clear text: on both ports.
fn assert_others_are_refused(fixtures: &Fixtures, member: &Server, foreign: &Pair) {
    let without = fixtures.curl(member, &["-d", "value=bar"], "/v1/keys/foo");
    assert!(CURL_REFUSED.contains(&without.0), "{without:?}");
    let [cert, key] = foreign.paths();
    let foreign = ["--cert", &cert, "--key", &key];
    let refused = fixtures.curl(member, &foreign, "/v1/keys/foo");
    assert!(CURL_REFUSED.contains(&refused.0), "{refused:?}");
    assert_plain_is_refused(member);
    let peer = format!("https://127.0.0.1:{}/members", member.peer_port());
    for args in [&[][..], &foreign] {
        let mut command = Command::new("curl");
        command.args(["-sS", "--cacert", &fixtures.ca]).args(args);
        let status = command
            .arg(&peer)
            .output()
            .expect("curl is installed")
            .status;
        assert!(CURL_REFUSED.contains(&status.code()), "{status}");
    }
    let peer = format!("127.0.0.1:{}", member.peer_port());
    assert_ne!(
        http::try_once(&peer, "GET", "/members", &[], b"").map_or(0, |said| said.status),
        200
    );
}

/// A request in clear text is not served.
fn assert_plain_is_refused(member: &Server) {
    let plain = http::try_once(&member.address(), "GET", "/v2/keys/foo", &[], b"");
    assert_ne!(plain.map_or(0, |said| said.status), 200);
}
