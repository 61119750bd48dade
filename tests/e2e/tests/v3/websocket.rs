//! The gateway over a WebSocket, on Witan and on etcd 3.7. The client sends requests while it receives answers.

use witan_e2e::{
    Kind, assert_contains,
    websocket::{Frame, Socket},
};

use super::{pair, start};

#[test]
fn a_watch_stream_responds_like_etcd() {
    let [ours, theirs] = pair().map(|server| {
        let headers = ["Sec-WebSocket-Protocol: Bearer, token"];
        let mut socket = Socket::open(&server.address(), "/v3/watch", &headers);
        assert_contains(&socket.head, "sec-websocket-protocol: bearer\r\n");
        let mut said = Vec::new();
        socket.send(r#"{"create_request":{"key":"Zm9v"}}"#).unwrap();
        said.push(socket.text());
        let (first, second) = r#"{"create_request":{"key":"Zm9v","watch_id":"7"}}"#.split_at(20);
        socket.send_in_parts(first, second).unwrap();
        said.push(socket.text());
        server.http("POST", "/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#);
        let mut events = [socket.text(), socket.text()];
        // etcd's watchers have no order.
        events.sort();
        said.extend(events);
        socket.ping(b"there?").unwrap();
        assert_eq!(socket.receive().unwrap(), Frame::Pong(b"there?".to_vec()));
        socket
            .send(r#"{"cancel_request":{"watch_id":"7"}}"#)
            .unwrap();
        said.push(socket.text());
        socket.send(r#"{"progress_request":{}}"#).unwrap();
        said.push(socket.text());
        said
    });
    assert_eq!(ours, theirs);
    assert!(ours[2].contains("YmFy"), "{ours:?}");
}

#[test]
fn a_token_is_accepted_in_the_list_of_protocols() {
    let [ours, theirs] = pair().map(|server| {
        server.require_users(&["root:secret"]);
        let token = server.token("root", "secret");
        let mut said = Vec::new();
        for header in [
            format!("Sec-WebSocket-Protocol: Bearer, {token}"),
            "X: y".to_owned(),
        ] {
            let mut socket = Socket::open(&server.address(), "/v3/watch", &[&header]);
            socket.send(r#"{"create_request":{"key":"Zm9v"}}"#).unwrap();
            said.push(socket.text());
        }
        said
    });
    assert_eq!(ours, theirs);
    assert_contains(&ours[0], "created");
    assert!(!ours[0].contains("canceled"), "{ours:?}");
}

/// etcd waits for the end of the body, which arrives when no client reads the response any longer.
#[test]
fn other_calls_take_one_message() {
    let server = start(Kind::Witan);
    for (path, body, expect) in [
        ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#, "revision"),
        ("/v3beta/kv/range", r#"{"key":"Zm9v"}"#, "YmFy"),
    ] {
        let mut socket = Socket::open(&server.address(), path, &[]);
        socket.send(body).unwrap();
        let said = socket.text();
        assert!(said.contains(expect), "{said}");
        assert_eq!(socket.receive().unwrap(), Frame::Close(Some(1000)));
    }
}

/// An invalid message, path or query gets an error, and the socket is closed properly.
#[test]
fn a_call_that_fails_is_answered() {
    let mut server = start(Kind::Witan);
    for (path, message, expect) in [
        ("/v3/kv/put", "{}", "key is not provided"),
        ("/v3/kv/put", "nope", "invalid character"),
        ("/v3beta/kv/put", "{}", "key is not provided"),
        ("/v3/kv/range?encoding=hex", "{}", "unknown encoding"),
        ("/v3/watch?encoding=hex", "{}", "unknown encoding"),
        ("/v3/watch", "nope", "invalid character"),
        ("/v3/maintenance/snapshot", "nope", "invalid character"),
        ("/v3/lease/keepalive", "[]", "unexpected token"),
        ("/v3/nonsense", "{}", "Not Found"),
    ] {
        for message in [message, "", "\n"] {
            let mut socket = Socket::open(&server.address(), path, &[]);
            // An unknown path is answered immediately.
            let _ = socket.send(message);
            if message.trim().is_empty() {
                // The server may wait for more.
                let _ = socket.close();
                while matches!(socket.receive(), Ok(Frame::Text(_) | Frame::Pong(_))) {}
                continue;
            }
            let said = socket.text();
            assert!(said.contains(expect), "{path} {message}: {said}");
            assert_eq!(socket.receive().unwrap(), Frame::Close(Some(1000)));
        }
    }
    assert!(server.runs(), "{}", server.tail());
    server.answers(200, "GET", "/version", "");
}

#[test]
fn a_client_that_violates_the_protocol_is_disconnected() {
    let server = start(Kind::Witan);
    let open = |path| Socket::open(&server.address(), path, &[]);
    let mut said = open("/v3/watch");
    said.close().unwrap();
    assert_eq!(said.receive().unwrap(), Frame::Close(Some(1000)));
    assert!(said.receive().is_err(), "the connection ends");
    // Send a frame of an unknown kind.
    let mut said = open("/v3/watch");
    said.frame(0x83, b"x").unwrap();
    assert_eq!(said.receive().unwrap(), Frame::Close(Some(1002)));
    // Send a message that is larger than any request.
    let mut said = open("/v3/watch");
    let large = vec![b' '; 1 << 20];
    let ended = (0..8).any(|_| said.frame(0x01, &large).is_err() || said.frame(0x00, b"").is_err());
    if !ended {
        assert_eq!(said.receive().unwrap(), Frame::Close(Some(1009)));
    }
    // The server continues.
    server.v3("kv/range", "{\"key\":\"YQ==\"}");
}
