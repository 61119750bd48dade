//! The clients that a TLS port accepts.

use std::fs;

use witan_e2e::{Folder, Kind, Tool, ports, with_etcd};

use super::{
    authority::{Authority, Pair, text},
    client::Client,
    stage::{HOSTS, Stage},
};

#[test]
fn only_clients_of_the_authority_are_served() {
    let said = with_etcd(Kind::Etcd37, |kind| {
        // The stage sets --trusted-ca-file and --client-cert-auth.
        let stage = Stage::mutual(kind, &[]);
        let known = stage.issue("someone");
        let foreign = Authority::new("another").issue(stage.server.dir(), "stranger", &HOSTS);
        let codes = [Some(&known), Some(&foreign), None]
            .map(|pair| stage.etcdctl(pair, &["put", "k", "v"]).code);
        let [cert, key] = known.paths();
        let with = stage.curl(&["--cert", &cert, "--key", &key], "/health");
        let without = stage.curl(&[], "/health").0.is_some_and(|code| code != 0);
        // The plain URL requires no certificate.
        let plain = stage.server.http("GET", "/health", "").status;
        if kind == Kind::Witan {
            stage.failures("client_certificate", 3);
            stage.server.wait_log(0, "rejected connection");
        }
        (codes, with, without, plain)
    });
    assert_eq!(said[0], said[1]);
    let (codes, _, without, plain) = &said[0];
    assert_eq!(*codes, [Some(0), Some(1), Some(1)]);
    assert!(*without && *plain == 200);
}

#[test]
fn a_ca_file_alone_also_requires_client_certificates() {
    let codes = with_etcd(Kind::Etcd37, |kind| {
        let mut stage = Stage::prepare(kind);
        let ca = stage.ca.clone();
        stage.add(&["--trusted-ca-file", &ca]);
        stage.server.start_again();
        let known = stage.issue("someone");
        [Some(&known), None].map(|pair| stage.etcdctl(pair, &["get", "k"]).code)
    });
    assert_eq!(codes, [[Some(0), Some(1)]; 2]);
}

#[test]
fn a_client_may_present_the_ca_certificate_itself() {
    let codes = with_etcd(Kind::Etcd37, |kind| {
        let stage = Stage::mutual(kind, &[]);
        let own = stage.authority.own(stage.server.dir());
        let foreign = Folder::new("foreign-authority");
        let other = Authority::new("authority of the test").own(&foreign);
        [&own, &other].map(|pair| {
            let put = ["put", "k", "v"];
            stage.etcdctl(Some(pair), &put).code
        })
    });
    assert_eq!(codes, [[Some(0), Some(1)]; 2]);
}

#[test]
fn revoked_certificates_are_refused_on_every_listener() {
    let mut stage = Stage::prepare(Kind::Witan);
    let [good, bad] = ["good", "bad"].map(|name| stage.issue(name));
    let list = stage.server.dir().join("crl");
    fs::write(&list, stage.authority.revoke(&[bad.serial])).unwrap();
    let [grpc, metrics] = [(); 2].map(|()| ports::free());
    let urls = format!("{},{}", stage.server.url(), stage.url());
    let (ca, path) = (stage.ca.clone(), list.display().to_string());
    stage.add(&["--trusted-ca-file", &ca, "--client-crl-file", &path]);
    for (flag, value) in [
        ("--listen-client-urls", format!("https://127.0.0.1:{grpc}")),
        ("--listen-client-http-urls", urls),
        (
            "--listen-metrics-urls",
            format!("https://127.0.0.1:{metrics}"),
        ),
    ] {
        stage.add(&[flag, &value]);
    }
    stage.server.start_again();
    let grpc_url = format!("https://127.0.0.1:{grpc}");
    let served = |pair: &Pair| {
        let client: Client = stage.client().with(pair);
        let [cert, key] = pair.paths();
        let files = [
            format!("--cacert={ca}"),
            format!("--cert={cert}"),
            format!("--key={key}"),
        ];
        let [a, b, c] = files.each_ref().map(String::as_str);
        let args = [a, b, c, "--command-timeout=2s", "put", "k", "v"];
        let put = Tool::Etcdctl36.run(&grpc_url, &args);
        [
            client.get(stage.port, "/health").is_ok(),
            client.get(metrics, "/metrics").is_ok(),
            put.code == Some(0),
        ]
    };
    assert_eq!((served(&good), served(&bad)), ([true; 3], [false; 3]));
    stage.server.wait_log(0, "revoked");
    // The list is reloaded, and PEM is also accepted.
    let both = stage.authority.revoke(&[bad.serial, good.serial]);
    fs::write(&list, text("X509 CRL", &both)).unwrap();
    assert_eq!(served(&good), [false; 3]);
    fs::write(&list, stage.authority.revoke(&[])).unwrap();
    assert_eq!((served(&good), served(&bad)), ([true; 3], [true; 3]));
    // The list takes effect even while the other files are unreadable.
    let key = fs::read(&stage.pair.key).unwrap();
    fs::write(&stage.pair.key, "torn").unwrap();
    fs::write(&list, stage.authority.revoke(&[bad.serial])).unwrap();
    assert_eq!((served(&good), served(&bad)), ([true; 3], [false; 3]));
    fs::write(&stage.pair.key, key).unwrap();
    // Without the list, revoked clients cannot be identified.
    fs::remove_file(&list).unwrap();
    assert_eq!(served(&good), [false; 3]);
}

#[test]
fn names_of_clients() {
    let allowed = "a.example,10.1.2.3";
    let flag = format!("--client-cert-allowed-hostname={allowed}");
    let codes = with_etcd(Kind::Etcd37, |kind| {
        let stage = Stage::mutual(kind, &[&flag]);
        [
            &["a.example", "b.example"][..],
            &["10.1.2.3"],
            &["b.example"],
            &[],
        ]
        .map(|hosts| {
            let pair = stage.authority.issue(stage.server.dir(), "client", hosts);
            stage.etcdctl(Some(&pair), &["get", "k"]).code
        })
    });
    assert_eq!(codes, [[Some(0), Some(0), Some(1), Some(1)]; 2]);
}

#[test]
fn common_names_of_clients_in_a_file() {
    let codes = with_etcd(Kind::Etcd37, |kind| {
        let mut stage = Stage::prepare(kind);
        let (client, peer) = (stage.server.url(), stage.server.peer_url());
        let [cert, key] = stage.pair.paths();
        let yaml = format!(
            "name: m\ndata-dir: {}\nlisten-client-urls: {client},{}\n\
             advertise-client-urls: {client}\nlisten-peer-urls: {peer}\n\
             initial-advertise-peer-urls: {peer}\ninitial-cluster: m={peer}\n\
             client-transport-security:\n  cert-file: {cert}\n  key-file: {key}\n  \
             client-cert-auth: true\n  trusted-ca-file: {}\n  allowed-cn: [one, two]\n",
            stage.server.dir().join("yaml-data").display(),
            stage.url(),
            stage.ca
        );
        let file = stage.server.dir().join("etcd.yaml");
        fs::write(&file, yaml).unwrap();
        stage.add(&["--config-file", &file.display().to_string()]);
        stage.server.start_again();
        ["two", "three"].map(|name| {
            let pair = stage.issue(name);
            stage.etcdctl(Some(&pair), &["get", "k"]).code
        })
    });
    assert_eq!(codes, [[Some(0), Some(1)]; 2]);
}
