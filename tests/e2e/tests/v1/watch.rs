//! v1's two kinds of watch: for later changes (GET), and from an index of the history (POST).

use std::thread;

use witan_e2e::{Launch, Server, http, rows, wait};

/// Starts a watch and waits until it is registered.
fn watch(server: &Server, target: &str, form: &str) -> thread::JoinHandle<http::Response> {
    let before = server.v2_watchers();
    let (address, target, form) = (server.address(), target.to_owned(), form.to_owned());
    let method = if form.is_empty() { "GET" } else { "POST" };
    let watch = thread::spawn(move || http::once(&address, method, &target, &form));
    wait::until_true("the watch is registered", || server.v2_watchers() > before);
    watch
}

fn write(server: &Server, method: &str, target: &str, form: &str) -> http::Response {
    let answer = server.http(method, target, form);
    assert!(answer.status < 300, "{method} {target}: {}", answer.text());
    answer
}

#[test]
fn a_get_waits_for_the_next_change_at_or_below() {
    let server = Launch::witan().start();
    for (watched, method, target, form) in [
        ("/v1/watch/a", "POST", "/v1/keys/a", "value=1"),
        ("/v1/watch/a", "POST", "/v1/keys/a", "value=2&prevValue=1"),
        ("/v1/watch/", "DELETE", "/v1/keys/a", ""),
        ("/v1/watch/d", "POST", "/v1/keys/d/e/f", "value=1"),
    ] {
        let seen = watch(&server, watched, "");
        let answer = write(&server, method, target, form);
        let seen = seen.join().expect("the watch answers");
        assert_eq!(seen.text(), answer.text(), "{watched}");
        let kind = seen.header("Content-Type");
        assert_eq!(kind, Some("text/plain; charset=utf-8"));
    }
}

#[test]
fn changes_of_v2_have_v1s_form() {
    let server = Launch::witan().start();
    let table = r#"
        PUT /v2/keys/w/d dir=true {"action":"SET","key":"/w/d","dir":true,"newKey":true,"index":I}
        PUT /v2/keys/w/a?prevExist=false value=1 {"action":"SET","key":"/w/a","value":"1","newKey":true,"index":I}
        PUT /v2/keys/w/a?prevExist=true value=2 {"action":"SET","key":"/w/a","prevValue":"1","value":"2","index":I}
        PUT /v2/keys/w/a?prevValue=2 value=3 {"action":"SET","key":"/w/a","prevValue":"2","value":"3","index":I}
        DELETE /v2/keys/w/a?prevValue=3 - {"action":"DELETE","key":"/w/a","prevValue":"3","index":I}
        DELETE /v2/keys/w?recursive=true - {"action":"DELETE","key":"/w","dir":true,"index":I}
    "#;
    for [method, target, form, expect] in rows(table) {
        let seen = watch(&server, "/v1/watch/w", "");
        let answer = write(&server, method, target, form);
        let expect = expect.replace('I', &answer.etcd_index().to_string());
        assert_eq!(seen.join().expect("the watch answers").text(), expect);
    }
}

#[test]
fn an_expiration_is_a_delete_with_its_date() {
    let server = Launch::witan().start();
    let set = write(&server, "POST", "/v1/keys/t", "value=1&ttl=1").json();
    let seen = watch(&server, "/v1/watch/t", "")
        .join()
        .expect("the watch answers");
    let index = set["index"].as_u64().expect("an index") + 1;
    let date = set["expiration"].as_str().expect("a date");
    let expect = format!(
        r#"{{"action":"DELETE","key":"/t","prevValue":"1","expiration":"{date}","index":{index}}}"#
    );
    assert_eq!(seen.text(), expect);
}

#[test]
fn a_post_reads_the_history_or_waits() {
    let server = Launch::witan().start();
    let first = write(&server, "POST", "/v1/keys/h", "value=1");
    let index = first.json()["index"].as_u64().expect("an index");
    let second = write(&server, "POST", "/v1/keys/h", "value=2");
    write(&server, "POST", "/v1/keys/other", "value=1");
    let asked = |index: u64| server.http("POST", "/v1/watch/h", &format!("index={index}"));
    assert_eq!(asked(1).text(), first.text());
    assert_eq!(asked(index).text(), first.text());
    assert_eq!(asked(index + 1).text(), second.text());
    // Each round writes at the next two indexes. The second write changes the key.
    for from in [0, index + 5, index + 8] {
        let form = format!("index={from}");
        let seen = watch(&server, "/v1/watch/h", &form);
        write(&server, "POST", "/v1/keys/other", "value=1");
        let answer = write(&server, "POST", "/v1/keys/h", "value=3");
        let seen = seen.join().expect("the watch answers");
        assert_eq!(seen.text(), answer.text(), "{form}");
    }
}

#[test]
fn changes_beyond_the_history_are_skipped() {
    const HISTORY: u64 = 1000;
    let server = Launch::witan().without_fsync().start();
    let first = write(&server, "POST", "/v1/keys/h", "value=0").json();
    let first = first["index"].as_u64().expect("an index");
    let mut connection = server.connect();
    for value in 1..=HISTORY {
        let form = format!("value={value}");
        let answer = connection.request("POST", "/v1/keys/h", &[], form.as_bytes());
        assert_eq!(answer.expect("an answer").status, 200);
    }
    let seen = server
        .http("POST", "/v1/watch/h", &format!("index={first}"))
        .json();
    assert_eq!(seen["value"], "1");
    assert_eq!(seen["index"], first + 1);
}

#[test]
fn a_watch_ends_with_the_process() {
    let mut server = Launch::witan().start();
    let stays = watch(&server, "/v1/watch/a", "");
    assert!(server.terminate().success());
    let seen = stays.join().expect("the watch answers");
    assert_eq!(seen.status, 500);
    assert_eq!(
        seen.text(),
        r#"{"errorCode":500,"message":"watcher is cleared due to etcd recovery","cause":"/a"}"#
    );
}
