//! HTTP/2 requests that are not gRPC are answered as over HTTP/1.1, on the same connection as gRPC.

use std::process::Command;

use witan_e2e::{Kind, tool::CommandOutput, with_etcd};

use super::stage::Stage;

const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];

/// Requests of every dialect in order: arguments of curl, and the target.
const REQUESTS: [(&[&str], &str); 32] = [
    (&["-XPUT", "-dvalue=1"], "/v2/keys/a?prevExist=false"),
    (&["-XPUT", "-dvalue=2&ttl=", "-dprevValue=1"], "/v2/keys/a"),
    (&[], "/v2/keys/a?quorum=true"),
    (&["-I"], "/v2/keys/a"),
    (&["-XPOST", "-dvalue=%C3%A4"], "/v2/keys/queue"),
    (&["-XPUT", "-dvalue=x"], "/v2/keys/a?prevExist=false"),
    (&[], "/v2/keys/nothing"),
    (
        &["-XPUT", "-dvalue=raw"],
        "/v2/keys/\u{e4}<x>|?recursive=true",
    ),
    (&[], "/v2/keys/?recursive=true&sorted=true"),
    (&[], "/v2/keys/a?wait=true&waitIndex=1"),
    (&["-XDELETE"], "/v2/keys/a"),
    (&["-XPATCH"], "/v2/keys/a"),
    (&["-T/dev/null"], "/v2/keys/b?value=query"),
    (&[], "/v2/members"),
    (&[], "/v2/stats/self/"),
    (&["-dvalue=old"], "/v1/keys/one"),
    (&[], "/v1/keys/one"),
    (&[], "/leader"),
    (&[r#"-d{"key":"aw==","value":"dg=="}"#], "/v3/kv/put"),
    (&[r#"-d{"key":"aw=="}"#], "/v3/kv/range"),
    (&[r#"-d{"key":""}"#], "/v3/kv/put"),
    (&["-d{"], "/v3/kv/range"),
    (&[], "/v3/kv/range"),
    (&["-d{}"], "/v3/nothing"),
    (&[], "/health"),
    (&[], "/readyz?verbose"),
    (&["-XPOST"], "/health"),
    (&[], "/version"),
    (&["-XOPTIONS", "-HOrigin: https://page"], "/v3/kv/put"),
    (
        &["-HOrigin: https://other", "-d{}", "-HHost: x"],
        "/v3/kv/put",
    ),
    (&[], "/console/"),
    (
        &["-HContent-Type: application/json", "-d{}"],
        "/etcdserverpb.KV/Range",
    ),
];

/// Returns the status, headers and body of a response, without the parts that depend on the HTTP version or the time.
fn comparable(answer: &str, target: &str) -> Vec<String> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{target}: {answer:?}"));
    let mut lines = head.lines();
    let status = lines.next().expect("a status line");
    let status = status.split(' ').nth(1).expect("a status");
    let of_version = ["date", "connection", "transfer-encoding"];
    let headers = lines.map(|line| line.split_once(':').expect("a header"));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut headers: Vec<String> = headers
        .filter(|(name, _)| !of_version.contains(&name.as_str()))
        .map(|(name, value)| match name.as_str() {
            // The ids in the body vary in length.
            "content-length" => name,
            _ => format!("{name}:{value}"),
        })
        .collect();
    headers.sort();
    assert!(answer.contains("ate: "), "{target}: no time in {head}");
    [[status.to_owned()].as_slice(), &headers, &[body.to_owned()]].concat()
}

fn ask(stage: &Stage, version: &str, args: &[&str], target: &str) -> Vec<String> {
    // curl's default header would hide the difference.
    let common = [version, "-i", "-HExpect:", "--path-as-is", "-g"];
    let (code, answer) = stage.curl(&[&common, args].concat(), target);
    assert_eq!(code, Some(0), "{version} {target}");
    let spoken = answer.starts_with("HTTP/2 ");
    assert_eq!(spoken, version == "--http2", "{answer}");
    comparable(&answer, target)
}

#[test]
fn every_dialect_answers_as_over_http1() {
    let answers = VERSIONS.map(|version| {
        let args = ["--enable-console", "--cors=https://page"];
        let stage = Stage::start(Kind::Witan, &args);
        let own = stage.url();
        REQUESTS.map(|(args, target)| {
            let mut answer = ask(&stage, version, args, target);
            for line in &mut answer {
                // Ids and URLs depend on the ports.
                *line = masked(&line.replace(&own, "URL"));
            }
            answer
        })
    });
    let [http1, http2] = answers;
    for (((args, target), http1), http2) in REQUESTS.iter().zip(http1).zip(http2) {
        assert_eq!(http1, http2, "{args:?} {target}");
        assert!(*target != "/console/" || http2[0] == "200", "{http2:?}");
    }
}

/// Masks words of more than four letters and digits that contain a digit, such as ids.
fn masked(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let core = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let number = core.len() > 4 && core.chars().any(|c| c.is_ascii_digit());
        out.push_str(if number { "#" } else { core });
        out.push_str(&word[core.len()..]);
    }
    out
}

#[test]
fn a_client_that_offers_both_gets_h2() {
    let said = with_etcd(Kind::Etcd37, |kind| {
        let stage = Stage::start(kind, &[]);
        let agreed = [
            &["h2", "http/1.1"][..],
            &["http/1.1", "h2"],
            &["grpc-exp", "h2"],
            &[],
        ]
        .map(|offered| {
            let stream = stage.client().alpn(offered).connect(stage.port).unwrap();
            stream.conn.alpn_protocol().map(<[u8]>::to_vec)
        });
        let shown = "%{http_version} %{http_code}";
        let post = ["-d{}", "-HContent-Type: application/json"];
        let statuses = VERSIONS.map(|version| {
            let common = [version, "-o", "/dev/null", "-w", shown];
            let of = |args: &[&str], target| stage.curl(&[&common, args].concat(), target).1;
            [
                of(&[], "/health"),
                of(&post, "/etcdserverpb.KV/Range"),
                of(&["-XPOST"], "/etcdserverpb.KV/Range"),
                // curl omits fields that HTTP/2 forbids, as browsers do.
                of(&["-HUpgrade: websocket"], "/v3/watch"),
            ]
        });
        (agreed, statuses)
    });
    assert_eq!(said[0], said[1]);
    let h2 = Some(b"h2".to_vec());
    assert_eq!(said[0].0, [h2.clone(), h2.clone(), h2, None]);
    assert_eq!(said[0].1[1][0], "2 200");
}

#[test]
fn certificates_and_host_names_count_over_http2() {
    let stage = Stage::mutual(Kind::Witan, &["--host-whitelist=example.org"]);
    let [cert, key] = stage.issue("someone").paths();
    let shown = ["--http2", "-o", "/dev/null", "-w", "%{http_code}"];
    let known = [&shown[..], &["--cert", &cert, "--key", &key]].concat();
    assert_eq!(stage.curl(&known, "/health").1, "200");
    assert_ne!(stage.curl(&shown, "/health").0, Some(0));
    // Without TLS, send an allowed host name, then another one.
    let clear = format!("{}/version", stage.server.url());
    for (host, status) in [("example.org", "200"), ("other", "421")] {
        let host = format!("Host: {host}");
        let mut curl = Command::new("curl");
        let curl = curl.args(["-sS", "--http2-prior-knowledge", "-H", &host]);
        let said = CommandOutput::of(curl.args(["-o/dev/null", "-w%{http_code}", &clear]));
        assert_eq!(said.stdout, status, "{host}");
    }
}
