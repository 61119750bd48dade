//! Flags that change the behavior of the running server: limits, connections, elections, logs, hosts. `flags.rs` tests flags of
//! ports, directories and configuration sources.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use futures_util::future::join_all;
use witan_api::v3::etcdserverpb::{RangeRequest, kv_client::KvClient};
use witan_e2e::{
    Folder, Kind, Launch, Tool, assert_contains, grpc, http, requests, tool::witan, wait,
};
use witan_http2_tests::frame::{Frame, kind};

fn pair(theirs: Kind, args: &[&str]) -> [witan_e2e::Server; 2] {
    [Kind::Witan, theirs].map(|kind| {
        args.iter()
            .fold(Launch::new(kind), |launch, arg| launch.arg(*arg))
            .start()
    })
}

#[test]
fn ids_are_etcds() {
    let advertised = "http://10.1.2.3:2380";
    let ids = [Kind::Witan, Kind::Etcd34].map(|kind| {
        let server = Launch::new(kind)
            .arg(format!("--initial-advertise-peer-urls={advertised}"))
            .arg(format!("--initial-cluster=default={advertised}"))
            .arg("--initial-cluster-token=another-token")
            .start();
        let members = server.http("GET", "/v2/members", "");
        let cluster = members.header("x-etcd-cluster-id").map(str::to_owned);
        let members = members.json();
        assert_eq!(members["members"][0]["peerURLs"][0], advertised);
        (cluster, members["members"][0]["id"].clone())
    });
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn limits_of_requests() {
    let limits = ["--max-request-bytes=2000", "--max-txn-ops=2"];
    let servers = pair(Kind::Etcd37, &limits);
    let said = servers.map(|server| {
        let large = "x".repeat(3000);
        let put = Tool::Etcdctl36.run(&server.url(), &["put", "k", &large]);
        let txn = "\nput a 1\nput b 2\nput c 3\n\n\n";
        let txn = Tool::Etcdctl36.run_with_input(&server.url(), &["txn"], txn);
        let small = Tool::Etcdctl36.run(&server.url(), &["put", "k", "v"]);
        let last = |text: &str| text.lines().last().unwrap_or_default().to_owned();
        [
            (put.code, last(&put.stderr)),
            (txn.code, last(&txn.stderr)),
            (small.code, small.stdout),
        ]
    });
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0][0].1, "Error: etcdserver: request is too large");
}

#[test]
fn the_memory_budget_has_the_configured_size() {
    let asked = Launch::witan()
        .arg("--memory-budget-bytes=100000000")
        .start();
    assert_eq!(asked.metric("witan_memory_budget_bytes"), Some(1e8));
    assert_contains(asked.wait_log(0, "memory budget"), "100000000");
    wait::until_true("memory is measured", || {
        asked.metric("witan_memory_bytes{kind=\"other\"}") > Some(1e6)
    });
    let default = Launch::witan().start();
    let budget = default.metric("witan_memory_budget_bytes");
    assert!(budget > Some(0.0) && budget < Some(1e15), "{budget:?}");
}

/// Learners do not count toward the quorum, so a single member can have some that do not run.
#[test]
fn the_number_of_learners_is_bounded_by_a_flag() {
    let server = Launch::witan().arg("--max-learners=2").start();
    let add = |port: u16| {
        let urls = format!("--peer-urls=http://127.0.0.1:{port}");
        let args = ["member", "add", "new", "--learner", &urls];
        Tool::Etcdctl36.run(&server.url(), &args)
    };
    for port in [1, 2] {
        add(port).succeeded();
    }
    let third = add(3);
    let refused = "Error: etcdserver: too many learner members in cluster\n";
    assert!(third.stderr.ends_with(refused), "{}", third.all());
    let list = server.v3("cluster/member/list", "{}");
    let mut members = list["members"].as_array().expect("a list").iter();
    let learner = members.find(|member| member["isLearner"] == true);
    let promote = format!(r#"{{"ID":{}}}"#, learner.expect("a learner")["ID"]);
    let lags = server.answers(400, "POST", "/v3/cluster/member/promote", &promote);
    assert_contains(lags.text(), "in sync with leader");
}

#[test]
fn connection_settings() {
    let mut server = Launch::witan()
        .arg("--max-concurrent-streams=3")
        .arg("--grpc-keepalive-interval=1s")
        .arg("--grpc-keepalive-timeout=1s")
        .arg("--socket-reuse-port")
        .start();
    let mut stream = TcpStream::connect(server.address()).expect("connect");
    stream
        .set_read_timeout(Some(wait::PATIENCE))
        .expect("the timeout is set");
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .expect("send");
    let mut streams = None;
    let mut pinged = false;
    // The client answers nothing, so the server sends a ping and then ends the connection.
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    while let Some(frame) = Frame::read(&mut bytes) {
        pinged |= frame.kind == kind::PING;
        if frame.kind == kind::SETTINGS && frame.flags == 0 {
            for setting in frame
                .payload
                .chunks_exact(6)
                .filter(|setting| setting[..2] == [0, 3])
            {
                streams = setting[2..].try_into().ok().map(u32::from_be_bytes);
            }
        }
    }
    assert_eq!(streams, Some(3), "SETTINGS_MAX_CONCURRENT_STREAMS");
    assert!(pinged, "a silent connection is pinged");
    let mut second = Launch::witan().arg("--socket-reuse-port").prepare();
    let url = server.url();
    second.add_args(["--listen-client-urls", &url]);
    second.add_args(["--advertise-client-urls", &url]);
    second.start_unready_again();
    second.wait_log(0, witan_e2e::server::READY);
    assert!(server.runs() && second.runs());
    assert_eq!(server.terminate().code(), Some(0));
    assert_eq!(server.http("GET", "/version", "").status, 200);
}

#[test]
fn elections_and_warnings() {
    let wrong = witan(&["--heartbeat-interval=100", "--election-timeout=300"]);
    let rule = "--election-timeout[300ms] should be at least as 5 times as \
                --heartbeat-interval[100ms]";
    assert_ne!(wrong.code, Some(0));
    assert!(wrong.stderr.contains(rule), "{}", wrong.all());
    let mut server = Launch::witan()
        .arg("--heartbeat-interval=20")
        .arg("--election-timeout=200")
        .arg("--pre-vote=false")
        .arg("--unsafe-no-fsync")
        .arg("--warning-apply-duration=1ns")
        .arg("--warning-unary-request-duration=1ns")
        .start();
    server.etcdctl(&["put", "k", "v"]);
    server.wait_log(0, "apply request took too long");
    const SLOW: &str = "\"msg\":\"request took too long\"";
    server.wait_log(0, SLOW);
    // A stall of the disk makes thousands of requests slow at the same time. The server logs some per second and counts the
    // others.
    let skip = server.log().len();
    let (runtime, address) = (grpc::runtime(), server.address());
    let kv = KvClient::new(runtime.block_on(grpc::connect(&address)));
    wait::until_true("the log counts omitted lines", || {
        let asked = [(); 50].map(|()| {
            let mut kv = kv.clone();
            async move { kv.range(RangeRequest::default()).await }
        });
        let answers = runtime.block_on(join_all(asked));
        assert!(answers.iter().all(Result::is_err));
        let log = server.log();
        let mut lines = log[skip..].iter().filter(|line| line.contains(SLOW));
        lines.any(|line| !line.contains("\"left_out\":0"))
    });
    let syncs = server.metric("etcd_disk_wal_fsync_duration_seconds_count");
    assert_eq!(syncs, Some(0.0), "something was synced");
    // A kill loses no data. Only a power cut can lose data.
    server.kill9_and_start();
    let kept = Tool::Etcdctl36.run(&server.url(), &["get", "k"]);
    assert_eq!(kept.stdout, "k\nv\n");
}

#[test]
fn logs_are_written_to_the_configured_outputs() {
    let dir = Folder::new("logs");
    let file = dir.join("witan.log");
    let mut server = Launch::witan()
        .arg(format!("--log-outputs={},stdout", file.display()))
        .arg("--log-format=json")
        .start();
    server.http("PUT", "/config/local/log", r#"{"Level":"INFO"}"#);
    server.terminate();
    let written = fs::read_to_string(&file).expect("the log file is there");
    assert!(written.contains(witan_e2e::server::READY), "{written}");
    assert!(written.contains("set the log level to info"), "{written}");
    for line in written.lines() {
        assert_eq!(line.matches(r#""level":"#).count(), 1, "{line}");
        let line: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(line["level"].is_string() && line["ts"].is_string() && line["msg"].is_string());
    }
    let mut console = Launch::witan().arg("--log-format=console").start();
    console.terminate();
    let log = console.log();
    let json = log.iter().any(|line| line.starts_with('{'));
    assert!(!json, "{}", console.tail());
    let mut silent = Launch::witan().arg("--log-level=error").prepare();
    silent.start_unready_again();
    wait::until_true("it answers", || silent.is_healthy());
    silent.terminate();
    assert_eq!(silent.log(), Vec::<String>::new());
}

#[test]
fn log_files_rotate() {
    let dir = Folder::new("rotate");
    // The test needs a megabyte of warnings, and each write causes one.
    let server = Launch::witan()
        .arg(format!("--log-outputs={}", dir.join("witan.log").display()))
        .arg("--enable-log-rotation")
        .arg(r#"--log-rotation-config-json={"maxsize": 1, "maxbackups": 1}"#)
        .arg("--unsafe-no-fsync")
        .arg("--warning-apply-duration=1ns");
    let mut server = server.prepare();
    server.start_unready_again();
    wait::until_true("it answers", || server.is_healthy());
    let files = || fs::read_dir(&*dir).expect("an own folder").count();
    grpc::runtime().block_on(async {
        let mut kv = KvClient::new(grpc::connect(&server.address()).await);
        let put = requests::put("k", "");
        for _ in 0..1_000_000 {
            if files() > 1 {
                return;
            }
            kv.put(put.clone()).await.expect("a put");
        }
    });
    assert_eq!(files(), 2, "the full log file was rotated");
}

#[test]
fn browsers_and_hosts() {
    let allowed = "http://allowed.example:80";
    let servers = pair(
        Kind::Etcd34,
        &[
            "--cors=http://allowed.example:80",
            "--host-whitelist=good.example",
        ],
    );
    let seen = servers.map(|server| {
        let get = |headers: &[(&str, &str)]| {
            let answer = server.http_with(headers, "GET", "/v2/keys/", "");
            let header = |name: &str| answer.header(name).map(str::to_owned);
            (
                answer.status,
                header("access-control-allow-origin"),
                header("access-control-allow-methods"),
                header("access-control-allow-headers"),
            )
        };
        [
            get(&[("Origin", allowed), ("Host", "good.example")]),
            get(&[("Origin", "http://other.example"), ("Host", "good.example")]),
            get(&[("Host", "good.example:2379")]),
            get(&[("Host", "bad.example")]),
            get(&[]),
        ]
    });
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0][0].1.as_deref(), Some(allowed));
    assert_eq!(seen[0][3].0, 421);
}

/// A browser sends a page's forms and texts to any server and loads images from it. etcd executes such requests. Two of them
/// are expensive here: a discovery token occupies a slot for a week, and `/debug/top` slows all requests for seconds.
#[test]
fn pages_of_other_origins_can_neither_write_nor_cause_work() {
    let allowed = "http://allowed.example:80";
    let server = Launch::witan().arg(format!("--cors={allowed}")).start();
    let json = r#"{"key": "YQ==", "value": "Yg=="}"#;
    for (method, path, kind, body, done) in [
        ("POST", "/v3/kv/put", "text/plain", json, 200),
        ("POST", "/v2/keys/queue", http::FORM, "value=b", 201),
        ("GET", "/new?size=3", http::FORM, "", 200),
        ("GET", "/debug/top?seconds=1", http::FORM, "", 200),
    ] {
        let ask = |name: &str, value: &str| {
            let headers = [("Content-Type", kind), (name, value)];
            server.http_with(&headers, method, path, body).status
        };
        assert_eq!(ask("Origin", allowed), done, "{path}");
        assert_eq!(ask("Origin", &server.url()), done, "{path}");
        assert_eq!(ask("Sec-Fetch-Site", "none"), done, "{path}");
        for other in ["http://other.example", "null"] {
            assert_eq!(ask("Origin", other), 403, "{path} {other}");
        }
        assert_eq!(ask("Sec-Fetch-Site", "cross-site"), 403, "{path}");
    }
    let open = Launch::witan().start();
    let foreign = [("Origin", "http://other.example")];
    let token = open.http_with(&foreign, "GET", "/new?size=3", "");
    assert_eq!(token.status, 200);
}

/// A browser opens a page's WebSockets to any server. etcd accepts every origin.
#[test]
fn pages_of_other_origins_open_no_websocket() {
    let opens = |server: &witan_e2e::Server, origin: Option<&str>| {
        let mut headers = vec![
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        let mut connection = server.connect();
        connection
            .send("GET", "/v3/watch", &headers, b"")
            .expect("the request is sent");
        connection.head("GET").expect("an answer").status
    };
    let allowed = "http://allowed.example:80";
    let server = Launch::witan().arg(format!("--cors={allowed}")).start();
    assert_eq!(opens(&server, Some(allowed)), 101);
    assert_eq!(opens(&server, None), 101);
    assert_eq!(opens(&server, Some(&server.url())), 101);
    for other in ["http://other.example", "null", "http://allowed.example"] {
        assert_eq!(opens(&server, Some(other)), 403, "{other}");
    }
    let server = Launch::witan().start();
    assert_eq!(opens(&server, Some("http://other.example")), 101);
}

#[test]
fn the_gateway_can_be_turned_off() {
    let statuses = ["true", "false"].map(|value| {
        pair(Kind::Etcd34, &[&format!("--enable-grpc-gateway={value}")]).map(|server| {
            let json = r#"{"key": "Zm9v"}"#;
            [
                server.http("POST", "/v3/kv/range", json).status,
                server.http("GET", "/version", "").status,
            ]
        })
    });
    assert_eq!(statuses[0][0], statuses[0][1]);
    assert_eq!(statuses[1][0], statuses[1][1]);
    assert_eq!((statuses[0][0][0], statuses[1][0][0]), (200, 404));
}
