//! TLS between members: accepted certificates, and files that are reloaded.

use std::{fs, process::Command};

use serde_json::json;
use witan_e2e::{Cluster, Folder, Launch, Server, http, server::READY, tool::CommandOutput, wait};

use super::authority::{Authority, Pair};

const HOSTS: [&str; 2] = ["127.0.0.1", "localhost"];

/// A host name that does not resolve.
const ELSEWHERE: &str = "member.invalid";

/// curl's exit codes when a server refuses its certificate: in the handshake, or after it with TLS 1.3.
const CURL_REFUSED: [Option<i32>; 3] = [Some(35), Some(55), Some(56)];

/// The certificate files for a member's port, and the certificate files that it uses to call other members.
const PORT: [&str; 2] = ["peer.crt", "peer.key"];
const CALLER: [&str; 2] = ["client.crt", "client.key"];

struct Certificates {
    dir: Folder,
    authority: Authority,
    ca: String,
}

impl Certificates {
    fn new() -> Self {
        let dir = Folder::new("peer-tls");
        let authority = Authority::new("authority of the members");
        let ca = authority.write(&dir.join("ca.crt"));
        Self { dir, authority, ca }
    }

    fn issue(&self, name: &str, hosts: &[&str]) -> Pair {
        self.authority.issue(&self.dir, name, hosts)
    }
}

/// Prepares members with these flags, which contain no other spaces.
fn prepare(count: usize, flags: &str) -> Cluster {
    let flags: Vec<&str> = flags.split(' ').collect();
    Cluster::prepare_on("https", count, &flags)
}

fn give(member: &Server, pair: &Pair, [cert, key]: [&str; 2]) {
    pair.replace(&Pair {
        cert: member.dir().join(cert),
        key: member.dir().join(key),
        serial: pair.serial,
    });
}

fn refusals(member: &Server) -> f64 {
    let count = member.metric("witan_peer_tls_handshake_failures_total");
    count.unwrap_or(0.0)
}

fn assert_works(cluster: &Cluster) {
    for (at, member) in cluster.members().iter().enumerate() {
        let put = member.http("PUT", &format!("/v2/keys/m{at}"), "value=1");
        assert!([200, 201].contains(&put.status), "{}", put.text());
    }
    cluster.wait_equal();
}

/// Starts member 0, which the other members refuse. They continue without it. The log of member 0 must contain `own`, and
/// another member's log `others`. Kills member 0 at the end.
fn assert_refused(cluster: &mut Cluster, own: &str, others: &str) {
    let before: f64 = cluster.members()[1..].iter().map(refusals).sum();
    let log = cluster.member(0).log().len();
    let logs = [1, 2].map(|at| cluster.member(at).log().len());
    cluster.member_mut(0).start_unready_again();
    cluster.member(0).wait_log(log, "failed to reach a peer");
    cluster.member(0).wait_log(log, own);
    wait::until_true(others, || {
        let mut said = [1, 2].into_iter().zip(logs);
        said.any(|(at, log)| {
            let lines = cluster.member(at).log();
            lines[log..].iter().any(|line| line.contains(others))
        })
    });
    wait::until_true("the others refuse member 0", || {
        cluster.members()[1..].iter().map(refusals).sum::<f64>() > before
    });
    // Member 0 may have been the leader.
    wait::until_true("the other members continue", || {
        let other = cluster.member(1);
        let put = other.http("PUT", "/v2/keys/without", "value=1");
        [200, 201].contains(&put.status)
    });
    let log = &cluster.member(0).log()[log..];
    let ready = log.iter().any(|line| line.contains(READY));
    assert!(!ready, "member 0 became ready");
    cluster.member_mut(0).kill9();
}

/// Tests `--peer-cert-file`, `--peer-key-file`, `--peer-trusted-ca-file` and `--peer-client-cert-auth`.
#[test]
fn members_use_tls_and_reject_other_connections() {
    let certificates = Certificates::new();
    let ca = &certificates.ca;
    let mut cluster = prepare(
        3,
        &format!(
            "--peer-cert-file peer.crt --peer-key-file peer.key \
             --peer-trusted-ca-file {ca} --peer-client-cert-auth"
        ),
    );
    let good = certificates.issue("member", &HOSTS);
    for member in cluster.members() {
        give(member, &good, PORT);
    }
    cluster.start_all();
    assert_works(&cluster);
    let address = format!("127.0.0.1:{}", cluster.member(0).peer_port());
    let plain = http::once(&address, "GET", "/members", "");
    assert_eq!(plain.status, 400, "{}", plain.text());
    wait::until_true("it is counted", || refusals(cluster.member(0)) > 0.0);
    let mut curl = Command::new("curl");
    let url = format!("https://{address}/members");
    let without = CommandOutput::of(curl.args(["-sS", "--cacert", &certificates.ca, &url]));
    let refused = CURL_REFUSED.contains(&without.code);
    assert!(refused, "a caller without a certificate: {without:?}");
    // Use a certificate from another CA with the right names.
    cluster.member_mut(0).kill9();
    let foreign = Authority::new("another authority");
    let foreign = foreign.issue(&certificates.dir, "member", &HOSTS);
    give(cluster.member(0), &foreign, PORT);
    assert_refused(
        &mut cluster,
        "remote error: tls: unknown certificate authority",
        "x509: certificate signed by unknown authority",
    );
    // The other members reload a renewed certificate without a restart.
    let renewed = certificates.issue("renewed", &HOSTS);
    for member in cluster.members() {
        give(member, &renewed, PORT);
    }
    cluster.start_all();
    assert_works(&cluster);
}

/// Tests `--peer-client-cert-file`, `--peer-client-key-file`, `--peer-cert-allowed-cn`, `--peer-crl-file`,
/// `--peer-cert-allowed-hostname` and `--peer-skip-client-san-verification`.
#[test]
fn names_and_revocations_of_members() {
    let certificates = Certificates::new();
    let ca = &certificates.ca;
    let files = format!(
        "--peer-cert-file peer.crt --peer-key-file peer.key \
         --peer-client-cert-file client.crt --peer-client-key-file client.key \
         --peer-trusted-ca-file {ca} --peer-crl-file peer.crl"
    );
    let prepare = |names: &str, caller: &Pair| {
        let cluster = prepare(3, &format!("{files} {names}"));
        // The allowed names also apply to the certificates of the ports.
        let port = certificates.issue("member", &[HOSTS[0], HOSTS[1], ELSEWHERE]);
        for member in cluster.members() {
            give(member, &port, PORT);
            give(member, caller, CALLER);
            revoke(member, &certificates, &[]);
        }
        cluster
    };
    let member = certificates.issue("member", &HOSTS);
    let mut cluster = prepare("--peer-cert-allowed-cn somebody,member", &member);
    cluster.start_all();
    assert_works(&cluster);
    cluster.member_mut(0).kill9();
    let other = certificates.issue("other", &HOSTS);
    give(cluster.member(0), &other, CALLER);
    assert_refused(
        &mut cluster,
        "remote error: tls: bad certificate",
        r#""common_name":"other","allowed":"somebody, member""#,
    );
    // Use the right name in a revoked certificate.
    let revoked = certificates.issue("member", &HOSTS);
    give(cluster.member(0), &revoked, CALLER);
    for other in &cluster.members()[1..] {
        revoke(other, &certificates, &[revoked.serial]);
    }
    assert_refused(
        &mut cluster,
        "remote error: tls: revoked certificate",
        "refused a certificate that is revoked",
    );
    give(cluster.member(0), &member, CALLER);
    cluster.start_all();
    assert_works(&cluster);

    // Allow a name that does not resolve, and skip the check of the address.
    let elsewhere = certificates.issue("member", &[ELSEWHERE]);
    let names =
        format!("--peer-cert-allowed-hostname {ELSEWHERE} --peer-skip-client-san-verification");
    let mut cluster = prepare(&names, &elsewhere);
    cluster.start_all();
    assert_works(&cluster);
    cluster.member_mut(0).kill9();
    give(cluster.member(0), &member, CALLER);
    assert_refused(
        &mut cluster,
        "remote error: tls: bad certificate",
        r#""names":"127.0.0.1, localhost","allowed":"member.invalid""#,
    );
}

/// A certificate whose names do not match the caller's address is refused.
#[test]
fn a_member_dials_from_the_address_in_its_certificate() {
    let certificates = Certificates::new();
    let [cert, key] = certificates.issue("port", &HOSTS).paths();
    let files = format!(
        "--peer-cert-file {cert} --peer-key-file {key} --peer-trusted-ca-file {} \
         --peer-client-cert-file client.crt --peer-client-key-file client.key",
        certificates.ca
    );
    let mut cluster = prepare(3, &files);
    for (member, hosts) in cluster.members().iter().zip([&HOSTS[..], &HOSTS[1..], &[]]) {
        // The hosts are an address, a name that resolves to it, or none.
        give(member, &certificates.issue("member", hosts), CALLER);
    }
    cluster.start_all();
    assert_works(&cluster);
    cluster.member_mut(0).kill9();
    let elsewhere = certificates.issue("member", &["192.0.2.1", ELSEWHERE]);
    give(cluster.member(0), &elsewhere, CALLER);
    assert_refused(
        &mut cluster,
        "failed to reach a peer",
        "x509: certificate is valid for 192.0.2.1, member.invalid, not 127.0.0.1",
    );
}

#[test]
fn without_a_ca_file_the_system_authorities_are_trusted() {
    let certificates = Certificates::new();
    let [cert, key] = certificates.issue("member", &HOSTS).paths();
    let files = format!("--peer-cert-file {cert} --peer-key-file {key}");
    let mut cluster = prepare(3, &files);
    for at in 0..3 {
        let member = cluster.member_mut(at);
        member.add_env("SSL_CERT_FILE", &certificates.ca);
    }
    cluster.start_all();
    assert_works(&cluster);
    // A single member calls no other.
    let mut lone = prepare(1, &files);
    lone.start_all();
    lone.member(0)
        .wait_log(0, "are verified with the CA certificates of the system");
}

/// Members use a certificate that is its own CA, as `openssl req -x509` creates it.
#[test]
fn a_self_signed_certificate_in_the_ca_file_is_accepted() {
    let dir = Folder::new("own-authority");
    let [cert, key] = Authority::for_hosts("members", &HOSTS).own(&dir).paths();
    let files =
        format!("--peer-cert-file {cert} --peer-key-file {key} --peer-trusted-ca-file {cert}");
    let mut cluster = prepare(3, &format!("{files} --peer-client-cert-auth"));
    cluster.start_all();
    assert_works(&cluster);
}

/// Tests `--peer-auto-tls`.
#[test]
fn members_create_their_own_certificates() {
    let mut cluster = prepare(3, "--peer-auto-tls");
    cluster.start_all();
    assert_works(&cluster);
    for member in cluster.members() {
        let folder = member.dir().join("data/fixtures/peer");
        assert!(folder.join("cert.pem").is_file() && folder.join("key.pem").is_file());
    }
    // A joining member queries the others before it starts.
    let at = cluster.prepare_joining_of(&Launch::witan(), "https", &[0, 1, 2]);
    let peer_url = format!("https://127.0.0.1:{}", cluster.member(at).peer_port());
    let body = json!({ "peerURLs": [peer_url] });
    cluster.member(0).change_members("add", &body);
    let joining = cluster.member_mut(at);
    joining.add_args(["--peer-auto-tls"]);
    joining.start_again();
    assert_works(&cluster);
}

fn revoke(member: &Server, certificates: &Certificates, serials: &[u64]) {
    let list = certificates.authority.revoke(serials);
    fs::write(member.dir().join("peer.crl"), list).expect("a file");
}
