//! Certificate files that change under a running server, and a certificate that the server creates.

use std::fs;

use witan_e2e::{Kind, Launch, Tool, ports, with_etcd};
use x509_cert::{Certificate, der::Decode as _};

use super::{
    authority::Authority,
    client::{Client, ask, shown},
    stage::{HOSTS, Stage},
};

fn serial(client: &Client, port: u16) -> Vec<u8> {
    let connection = client.connect(port).expect("a connection");
    let certificate = shown(&connection);
    let certificate = Certificate::from_der(&certificate).expect("the server shows a certificate");
    let certificate = certificate.tbs_certificate;
    certificate.serial_number.as_bytes().to_vec()
}

#[test]
fn certificates_change_without_a_restart() {
    let stage = Stage::start(Kind::Witan, &[]);
    let client = stage.client();
    let mut open = client.connect(stage.port).unwrap();
    let first = serial(&client, stage.port);
    let next = stage.authority.issue(stage.server.dir(), "next", &HOSTS);
    next.replace(&stage.pair);
    let second = serial(&client, stage.port);
    assert_ne!(first, second);
    // An open connection continues.
    assert!(ask(&mut open, "/health").is_ok());
    // A changed certificate without its key, or a truncated file, has no effect.
    let other = stage.authority.issue(stage.server.dir(), "other", &HOSTS);
    fs::copy(&other.cert, &stage.pair.cert).unwrap();
    assert_eq!(serial(&client, stage.port), second);
    stage.server.wait_log(0, "the previous ones stay in use");
    fs::write(&stage.pair.key, "torn").unwrap();
    assert_eq!(serial(&client, stage.port), second);
    fs::copy(&other.key, &stage.pair.key).unwrap();
    let third = serial(&client, stage.port);
    assert!(third != first && third != second);
    let ends = rcgen::date_time_ymd(4096, 1, 1).unix_timestamp();
    let series = format!("witan_tls_certificate_not_after_seconds {ends}");
    let metrics = stage.server.http("GET", "/metrics", "").text();
    assert!(metrics.lines().any(|line| line == series), "{metrics}");
}

#[test]
fn a_new_authority_is_trusted_without_a_restart() {
    let stage = Stage::mutual(Kind::Witan, &[]);
    let known = stage.issue("someone");
    let get = |pair| stage.client().with(pair).get(stage.port, "/health");
    assert!(get(&known).is_ok());
    let dir = stage.server.dir();
    let next = Authority::new("next");
    let later = next.issue(dir, "later", &[]);
    assert!(get(&later).is_err());
    let both = [
        fs::read_to_string(&stage.ca).unwrap(),
        fs::read_to_string(next.write(&dir.join("next.crt"))).unwrap(),
    ];
    fs::write(&stage.ca, both.concat()).unwrap();
    assert!(get(&known).is_ok() && get(&later).is_ok());
}

#[test]
fn auto_tls_creates_a_certificate_and_keeps_it() {
    let shown = with_etcd(Kind::Etcd37, |kind| {
        let mut server = Launch::new(kind).prepare();
        let port = ports::free();
        let urls = format!("{},https://127.0.0.1:{port}", server.url());
        server.add_args(["--listen-client-urls", &urls]);
        server.add_args(["--auto-tls", "--self-signed-cert-validity=2"]);
        server.start_again();
        let url = format!("https://127.0.0.1:{port}");
        let file = server.dir().join("data/fixtures/client/cert.pem");
        let key = file.with_file_name("key.pem");
        let made = fs::read_to_string(&file).unwrap();
        let authority = format!("--cacert={}", file.display());
        let trusted = Tool::Etcdctl36.run(&url, &[&authority, "put", "k", "v"]);
        let blind = Tool::Etcdctl36.run(&url, &["--insecure-skip-tls-verify", "get", "k"]);
        server.terminate();
        server.start_again();
        assert_eq!(fs::read_to_string(&file).unwrap(), made, "it is kept");
        assert!(server.http("GET", "/health", "").status == 200);
        let mode = {
            use std::os::unix::fs::PermissionsExt as _;
            fs::metadata(key).unwrap().permissions().mode() & 0o777
        };
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        let der = CertificateDer::from_pem_slice(made.as_bytes()).unwrap();
        let certificate = Certificate::from_der(&der).unwrap().tbs_certificate;
        let validity = certificate.validity;
        let lasts = validity.not_after.to_unix_duration() - validity.not_before.to_unix_duration();
        let subject = certificate.subject.to_string();
        (subject, lasts.as_secs(), mode, trusted.stdout, blind.stdout)
    });
    assert_eq!(shown[0], shown[1]);
    let years = 2 * 365 * 24 * 60 * 60;
    assert_eq!(
        (shown[0].1, shown[0].2, shown[0].3.as_str()),
        (years, 0o600, "OK\n")
    );
}
