//! Versions, cipher suites, and unsupported settings.

use std::fs;

use rustls::version::{TLS12, TLS13};
use witan_e2e::{Kind, Launch, assert_contains, ports, with_etcd};

use super::stage::Stage;

#[test]
fn versions_of_tls() {
    for (flag, served) in [
        ("--tls-min-version=TLS1.2", [true, true]),
        ("--tls-min-version=TLS1.3", [false, true]),
        ("--tls-max-version=TLS1.2", [true, false]),
    ] {
        let seen = with_etcd(Kind::Etcd37, |kind| {
            let stage = Stage::start(kind, &[flag]);
            let agreed = [&TLS12, &TLS13].map(|version| {
                let client = stage.client().only(version).alpn(&["h2"]);
                client.connect(stage.port).is_ok()
            });
            let old = stage.curl(&["--tls-max", "1.1"], "/health").0 == Some(0);
            let curl = stage.curl(&["--tls-max", "1.2"], "/health").0 == Some(0);
            (agreed, old, curl)
        });
        assert_eq!(seen, [(served, false, served[0]); 2], "{flag}");
    }
}

#[test]
fn cipher_suites() {
    let name = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    // The unsupported second suite is ignored, because the first is supported.
    let flag = format!("--cipher-suites={name},TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA");
    let agreed = with_etcd(Kind::Etcd37, |kind| {
        let stage = Stage::start(kind, &[&flag]);
        [&TLS12, &TLS13].map(|version| {
            let client = stage.client().only(version).alpn(&["h2"]);
            let stream = client.connect(stage.port).unwrap();
            stream.conn.negotiated_cipher_suite().map(|suite| {
                // TLS 1.3 suites cannot be configured. Check only that TLS 1.3 is available.
                let tls13 = suite.tls13().is_some();
                (tls13, (!tls13).then(|| format!("{:?}", suite.suite())))
            })
        })
    });
    assert_eq!(agreed[0], agreed[1]);
    let chosen = Some(name.to_owned());
    assert_eq!(agreed[0], [Some((false, chosen)), Some((true, None))]);
}

/// Checks that a member with these flags exits with code 1, logs both parts, and creates no data. With `--auto-tls`, data may
/// exist.
fn refused(args: &[&str], parts: [&str; 2]) {
    let mut server = Launch::witan().prepare();
    let url = format!("https://127.0.0.1:{}", ports::free());
    server.add_args(["--listen-client-urls", &url]);
    server.add_args(args.iter().copied());
    server.start_unready_again();
    assert_eq!(server.wait_exit().code(), Some(1), "{args:?}");
    let log = server.tail();
    for part in parts {
        assert_contains(&log, part);
    }
    let created = server.dir().join("data").exists();
    assert!(args.contains(&"--auto-tls") || !created, "{args:?}");
}

#[test]
fn files_and_suites_that_cannot_be_served_are_refused_at_start() {
    let stage = Stage::prepare(Kind::Witan);
    let dir = stage.server.dir();
    let other = stage.authority.issue(dir, "other", &[]);
    let [cert, key] = &stage.pair.paths();
    let [_, other_key] = &other.paths();
    let empty = dir.join("empty");
    fs::write(&empty, "").unwrap();
    let (empty, missing) = (&empty.display().to_string(), "/nowhere/x.pem");
    let (c, k, ca, crl) = (
        "--cert-file",
        "--key-file",
        "--trusted-ca-file",
        "--client-crl-file",
    );
    let none = "no certificate in PEM";
    refused(&[c, missing, k, key], ["/nowhere/x.pem", "No such file"]);
    refused(&[c, cert, k, missing], ["/nowhere/x.pem", "No such file"]);
    refused(&[c, empty, k, key], ["--cert-file=", none]);
    refused(
        &[c, cert, k, cert],
        ["--key-file=", "no private key in PEM"],
    );
    refused(&[c, cert, k, other_key], ["--cert-file=", "KeyMismatch"]);
    refused(&[c, cert, k, key, ca, empty], ["--trusted-ca-file=", none]);
    refused(
        &[c, cert, k, key, ca, cert, crl, empty],
        ["--client-crl-file=", "not a certificate revocation list"],
    );
    refused(
        &[c, cert, k, key, "--client-cert-auth"],
        ["--client-cert-auth", "needs --trusted-ca-file"],
    );
    let suite = "--cipher-suites=TLS_RSA_WITH_RC4_128_SHA";
    refused(
        &["--auto-tls", suite],
        ["--cipher-suites: no suite is supported", "TLS_ECDHE"],
    );
}
