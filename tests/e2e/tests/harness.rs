//! The harness against real etcd: what it shows is what is on the wire.

use witan_e2e::{Kind, Launch, Tool, http, wait};

#[test]
fn shows_status_headers_and_body_as_sent() {
    let etcd = Launch::new(Kind::Etcd34).start();
    let answer = etcd.http("PUT", "/v2/keys/message", "value=Hello");
    assert_eq!((answer.status, answer.reason.as_str()), (201, "Created"));
    assert!(answer.has_spelled("X-Etcd-Index"), "{:?}", answer.headers);
    assert_eq!(answer.json()["node"]["value"], "Hello");
    assert_eq!(etcd.http("HEAD", "/v2/keys/message", "").body, b"");
}

#[test]
fn reads_the_chunks_of_a_stream_one_by_one() {
    let etcd = Launch::new(Kind::Etcd34).start();
    let mut watch = http::Connection::open(&etcd.address()).expect("connect");
    watch
        .send("GET", "/v2/keys/s?wait=true&stream=true", &[], b"")
        .expect("send");
    assert_eq!(watch.head("GET").expect("head").status, 200);
    for value in ["one", "two"] {
        etcd.http("PUT", "/v2/keys/s", &format!("value={value}"));
        let chunk = watch.chunk().expect("chunk").expect("no end");
        assert!(String::from_utf8_lossy(&chunk).contains(value), "{chunk:?}");
    }
}

#[test]
fn restarts_on_the_same_folder_after_a_kill() {
    let mut etcd = Launch::new(Kind::Etcd36).start();
    let put = Tool::Etcdctl36.run(&etcd.url(), &["put", "k", "v"]);
    assert_eq!(
        (put.code, put.stdout.as_str()),
        (Some(0), "OK\n"),
        "{}",
        put.all()
    );
    etcd.kill9();
    assert!(!etcd.runs());
    etcd.start_again();
    assert_eq!(
        Tool::Etcdctl36.run(&etcd.url(), &["get", "k"]).stdout,
        "k\nv\n"
    );
    assert!(etcd.terminate().code().is_none_or(|code| code == 0));
}

#[test]
fn a_dropped_server_leaves_nothing_behind() {
    let etcd = Launch::new(Kind::Etcd36).start();
    let (address, dir) = (etcd.address(), etcd.dir().to_path_buf());
    drop(etcd);
    wait::until_true("nobody listens", || {
        http::Connection::open(&address).is_err()
    });
    assert!(!dir.exists());
}

#[tokio::test]
async fn opens_grpc_channels() {
    let etcd = Launch::new(Kind::Etcd36).start();
    let _channel = witan_e2e::grpc::connect(&etcd.address()).await;
}
