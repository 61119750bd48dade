//! Raw HTTP requests to Witan and to etcd 3.4: clients that close their side and wait for the response, and requests that are
//! too large. Answers to oversized requests may differ, but other clients must be served in the meantime.

use witan_e2e::{Kind, Launch, Server, http::Response};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const HEADERS: [&str; 4] = ["X-Etcd-Index", "Content-Type", "Allow", "Transfer-Encoding"];
const FORM_BYTES_MAX: usize = 10 << 20;

fn twins() -> [Server; 2] {
    [Kind::Witan, Kind::Etcd34].map(|kind| Launch::new(kind).start())
}

fn seen(answer: &Response) -> (u16, Vec<Option<String>>, String) {
    let headers = HEADERS.map(|name| answer.header(name).map(str::to_owned));
    (answer.status, headers.into(), answer.text())
}

fn request(method: &[u8], target: &[u8], rest: &[u8]) -> Vec<u8> {
    let version = b" HTTP/1.1\r\nHost: x\r\n";
    [method, b" /v2/keys", target, version, rest].concat()
}

fn form(target: &[u8], body: &[u8]) -> Vec<u8> {
    let head = format!("{FORM}Content-Length: {}\r\n\r\n", body.len());
    request(b"PUT", target, &[head.as_bytes(), body].concat())
}

#[test]
fn clients_that_close_their_side_get_their_answers() {
    let get = |target: &[u8]| request(b"GET", target, b"\r\n");
    let two = [get(b"/nope"), get(b"/h")].concat();
    let cut = format!("{FORM}Content-Length: 9\r\n\r\nvalue=1");
    let requests = [
        (1, get(b"/nope")),
        (1, form(b"/h", b"value=1")),
        (2, two),
        (1, request(b"PUT", b"/cut", cut.as_bytes())),
        (1, get(b"/h?wait=true")),
        (1, get(b"/h?wait=true&stream=true&recursive=true")),
    ];
    let twins = twins();
    for (answers, bytes) in requests {
        let [ours, etcds] = twins.each_ref().map(|server| {
            let mut connection = server.connect();
            connection.send_raw(&bytes).expect("the server reads");
            connection.half_close().expect("it is open");
            let read = |_| seen(&connection.response("GET").expect("an answer"));
            (0..answers).map(read).collect::<Vec<_>>()
        });
        assert_eq!(ours, etcds, "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_form_may_have_ten_mebibytes() {
    let whole = |length: usize| {
        let mut body = b"value=".to_vec();
        body.resize(length, b'x');
        form(b"/f?noValueOnSuccess=true", &body)
    };
    let twins = twins();
    let mut connections = twins.each_ref().map(Server::connect);
    for length in [FORM_BYTES_MAX, FORM_BYTES_MAX + 1, 7] {
        let [ours, etcds] = connections.each_mut().map(|connection| {
            connection
                .send_raw(&whole(length))
                .expect("the server reads");
            connection.response("PUT").expect("an answer")
        });
        assert_eq!(seen(&ours), seen(&etcds), "{length} bytes");
    }
}

/// Sends an oversized request, during which the server may close the connection. Returns the status of the response, if any.
fn send_large(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut connection = server.connect();
    let _ = connection.send_raw(bytes);
    let answer = connection.response("PUT").ok();
    answer.map(|answer| answer.status)
}

#[test]
fn a_control_byte_in_a_target_is_refused() {
    let [ours, etcds] = twins().map(|server| send_large(&server, &form(b"/\x7f", b"value=1")));
    assert_eq!((ours, etcds), (Some(400), Some(400)));
}

#[test]
fn large_requests_are_refused_and_others_are_served() {
    let server = Launch::witan().start();
    let mut other = server.connect();
    // The lengths in bytes of the target and of a header, and the status.
    let sizes = [
        (8 << 10, 1, 404),
        (40 << 10, 1, 414),
        (1 << 20, 1, 431),
        (1, 64 << 10, 404),
        (1, 2 << 20, 431),
    ];
    let requests = sizes.map(|(target, header, status)| {
        let target = format!("/{}", "x".repeat(target));
        let header = format!("A: {}\r\n\r\n", "x".repeat(header));
        (
            request(b"GET", target.as_bytes(), header.as_bytes()),
            status,
        )
    });
    let headers: String = (0..200).map(|n| format!("A{n}: x\r\n")).collect();
    let many = request(b"GET", b"/nope", format!("{headers}\r\n").as_bytes());
    for (bytes, expected) in requests.into_iter().chain([(many, 431)]) {
        let what = format!("{} bytes, status {expected}", bytes.len());
        // A client that is still sending when the server closes the connection may miss the response.
        if let Some(status) = send_large(&server, &bytes) {
            assert_eq!(status, expected, "{what}");
        }
        let answer = other.request("GET", "/v2/keys/", &[], b"");
        assert_eq!(answer.expect("an answer").status, 200, "{what}");
    }
}
