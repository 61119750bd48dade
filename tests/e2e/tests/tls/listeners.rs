//! The services and protocols of each listener.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use witan_e2e::{Kind, Tool, http, ports, with_etcd};

use super::stage::Stage;

const HEALTHY: &str = "{\"health\":\"true\",\"reason\":\"\"}";

#[test]
fn both_listeners_at_once() {
    let said = with_etcd(Kind::Etcd37, |kind| {
        // The stage sets --cert-file and --key-file.
        let stage = Stage::start(kind, &[]);
        let put = Tool::Etcdctl36.run(&stage.server.url(), &["put", "k", "v"]);
        let get = stage.etcdctl(None, &["get", "k"]);
        let former = stage.run(Tool::Etcdctl34V3, None, &["get", "k"]);
        let range = r#"{"key":"aw=="}"#;
        let gateway = stage.curl(&["-d", range], "/v3/kv/range").1;
        assert!(gateway.contains("\"value\":\"dg==\""), "{gateway}");
        let health = stage.curl(&[], "/health");
        let stranger = Tool::Etcdctl36.run(&stage.url(), &["--command-timeout=1s", "get", "k"]);
        if kind == Kind::Witan {
            for said in ["serving client traffic securely", "traffic insecurely"] {
                stage.server.wait_log(0, said);
            }
        }
        let texts = [put.stdout, get.stdout, former.stdout];
        (texts, health, stranger.code)
    });
    assert_eq!(said[0], said[1]);
    let [_, get, _] = &said[0].0;
    assert_eq!(
        (get.as_str(), &said[0].1, said[0].2),
        ("k\nv\n", &(Some(0), HEALTHY.to_owned()), Some(1))
    );
}

#[test]
fn urls_of_http_and_metrics_with_tls() {
    let mut stage = Stage::prepare(Kind::Witan);
    let [grpc, metrics] = [(); 2].map(|()| ports::free());
    let plain = stage.server.url();
    let http_urls = format!("{plain},{}", stage.url());
    let [grpc_url, metrics_url] = [grpc, metrics].map(|port| format!("https://127.0.0.1:{port}"));
    stage.add(&["--listen-client-urls", &grpc_url]);
    stage.add(&["--listen-client-http-urls", &http_urls]);
    stage.add(&["--listen-metrics-urls", &metrics_url]);
    stage.server.start_again();
    let client = stage.client();
    for port in [stage.port, metrics] {
        let answer = client.get(port, "/health").unwrap();
        assert!(answer.ends_with(HEALTHY), "{answer}");
        // This listener does not serve gRPC.
        let refused = client.clone().alpn(&["h2"]).connect(port);
        let error = refused.map(drop).unwrap_err().to_string();
        assert!(error.contains("NoApplicationProtocol"), "{error}");
    }
    let ca = format!("--cacert={}", stage.ca);
    let put = Tool::Etcdctl36.run(&grpc_url, &[&ca, "put", "k", "v"]);
    assert_eq!(put.stdout, "OK\n", "{}", put.stderr);
    let refused = client.clone().alpn(&["http/1.1"]).connect(grpc);
    assert!(refused.is_err());
}

/// A page in a browser cannot use a client certificate, so the server checks host names only without TLS.
#[test]
fn any_host_name_is_accepted_with_tls() {
    let codes = with_etcd(Kind::Etcd37, |kind| {
        let stage = Stage::start(kind, &["--host-whitelist=example.org"]);
        let host = ["-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: other"];
        let other = [("Host", "other")];
        let plain = stage.server.http_with(&other, "GET", "/version", "");
        (stage.curl(&host, "/version").1, plain.status)
    });
    assert_eq!(codes, [("200".to_owned(), 421), ("200".to_owned(), 421)]);
}

#[test]
fn the_wrong_protocol_is_reported() {
    let stage = Stage::start(Kind::Witan, &[]);
    let secure = format!("127.0.0.1:{}", stage.port);
    let answer = http::try_once(&secure, "GET", "/health", &[], b"").unwrap();
    assert_eq!(answer.status, 400);
    let refused = "Client sent an HTTP request to an HTTPS server.\n";
    assert_eq!(answer.text(), refused);
    let plain = Tool::Etcdctl36.run(
        &format!("http://{secure}"),
        &["--command-timeout=1s", "get", "k"],
    );
    assert_eq!(plain.code, Some(1));
    let refused = stage.client().connect(stage.server.client_port());
    assert!(refused.is_err(), "no TLS on the plain URL");
    let mut noise = TcpStream::connect(&secure).unwrap();
    noise.write_all(b"\x16\x03\x01\x00\x05hello").unwrap();
    let mut alert = Vec::new();
    // The server may send an alert. Only the end matters.
    let _ = noise.read_to_end(&mut alert);
    assert!(alert.len() < 64, "{alert:?}");
    stage.failures("not_tls", 2);
    stage.failures("tls", 1);
    stage.server.wait_log(0, "rejected connection on client");
    let again = stage.etcdctl(None, &["put", "k", "v"]);
    assert_eq!(again.stdout, "OK\n", "{}", again.stderr);
}
