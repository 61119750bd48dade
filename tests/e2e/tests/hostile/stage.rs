//! A server, another client that must not be delayed, and the measurement of the server's memory.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    panic,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use witan_api::v3::etcdserverpb::kv_client::KvClient;
use witan_e2e::{Launch, Server, grpc, http, process, requests, wait};

/// Allowance in bytes for memory that grows for other reasons: pages that the allocator keeps, the other client's history, and
/// a checkpoint.
pub(crate) const SLACK_BYTES: u64 = 48 << 20;

/// Time that another client may wait on a busy machine, independent of a request's cost.
pub(crate) const NOISE: Duration = Duration::from_millis(250);

const ROUNDS_MIN: usize = 3;

/// A time that is longer than every timeout of the server.
pub(crate) const LONG: Duration = Duration::from_secs(240);

/// Runs `act` on a new server next to another client and checks that the server's memory grows by at most `bound_bytes`. `act`
/// returns a description of the result.
pub(crate) fn case(name: &str, bound_bytes: u64, act: impl FnOnce(&Server) -> String) {
    case_on(Launch::witan(), name, bound_bytes, act);
}

/// Like [`case`], with the options of `launch`.
pub(crate) fn case_on(
    launch: Launch,
    name: &str,
    bound_bytes: u64,
    act: impl FnOnce(&Server) -> String,
) {
    load_on(launch, name, bound_bytes, |server| {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let bystander = scope.spawn(|| live(server, &stop));
            let stops = Stops(&stop);
            let happened = act(server);
            drop(stops);
            format!("{happened} | {} rounds of others", result(bystander))
        })
    });
}

/// Like [`case_on`], without the other client, for loads that also delay well-behaved clients.
pub(crate) fn load_on(
    launch: Launch,
    name: &str,
    bound_bytes: u64,
    act: impl FnOnce(&Server) -> String,
) {
    raise_descriptors();
    let mut server = launch.start();
    for i in 0..100 {
        server.http("PUT", &format!("/v2/keys/warm/{i}"), "value=up");
    }
    let (happened, grown) = grown(&server, || act(&server));
    assert!(server.runs(), "{name}: the server died\n{}", server.tail());
    let peak = process::status_bytes(server.pid(), "VmHWM:");
    let mib = |bytes: u64| bytes >> 20;
    // Write to stderr directly, because the test harness captures printed output.
    let _ = writeln!(
        io::stderr(),
        "| {name} | {happened} | peak {} MiB, {} MiB more (bound {}) |",
        mib(peak),
        mib(grown),
        mib(bound_bytes)
    );
    assert!(grown <= bound_bytes, "{name}: grew by {grown} bytes");
}

/// Runs `act`. Returns its result and the largest growth of the server's memory during it.
pub(crate) fn grown<T>(server: &Server, act: impl FnOnce() -> T) -> (T, u64) {
    let memory = |label| process::status_bytes(server.pid(), label);
    let before = memory("VmRSS:");
    process::reset_peak(server.pid());
    let done = act();
    (done, memory("VmHWM:").saturating_sub(before))
}

/// Raises the soft limit of open files to the hard limit, for this process and the servers that it starts. Returns the limit.
pub(crate) fn raise_descriptors() -> u64 {
    let (_, hard) = rlimit::Resource::NOFILE
        .get()
        .expect("every process has limits");
    rlimit::Resource::NOFILE
        .set(hard, hard)
        .expect("the soft limit may be raised to the hard one");
    hard
}

/// Returns the result of a thread. Panics with the panic of the thread.
fn result<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(result) => result,
        Err(panicked) => panic::resume_unwind(panicked),
    }
}

/// Runs `act` while `count` other clients send requests. Returns its result and the longest duration of a request. `client`
/// returns a function that sends one request.
pub(crate) fn longest_request<T, C: FnMut()>(
    count: usize,
    client: impl Fn() -> C + Sync,
    act: impl FnOnce() -> T,
) -> (T, Duration) {
    let stop = AtomicBool::new(false);
    let one = || {
        let mut ask = client();
        let mut longest = Duration::ZERO;
        while !stop.load(Ordering::SeqCst) {
            let begun = Instant::now();
            ask();
            longest = longest.max(begun.elapsed());
            wait::wall_time(Duration::from_millis(2));
        }
        longest
    };
    thread::scope(|scope| {
        let others: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
        let stops = Stops(&stop);
        let done = act();
        drop(stops);
        let longest = others.into_iter().map(result).max();
        (done, longest.unwrap_or_default())
    })
}

/// Runs `act`. Returns its result and the longest wait of several other clients. There are more clients than workers, so that
/// some share a worker with `act`.
pub(crate) fn longest_wait<T>(server: &Server, act: impl FnOnce() -> T) -> (T, Duration) {
    const OTHERS: usize = 6;
    let client = || {
        let mut connection = server.connect();
        move || {
            let answer = connection.request("GET", "/version", &[], b"");
            assert_eq!(answer.expect("an answer").status, 200);
        }
    };
    longest_request(OTHERS, client, act)
}

/// Runs `act` and checks that other clients wait for at most a quarter of its duration plus [`NOISE`]. Repeats a failed attempt
/// a few times.
pub(crate) fn others_go_on(server: &Server, what: &str, mut act: impl FnMut()) {
    go_on(what, || longest_wait(server, &mut act));
}

/// Like [`others_go_on`], but `longest` runs the action and returns the longest wait.
pub(crate) fn go_on(what: &str, mut longest: impl FnMut() -> ((), Duration)) {
    wait::undisturbed(|| {
        let begun = Instant::now();
        let ((), waited) = longest();
        let took = begun.elapsed();
        if waited <= took / 4 + NOISE {
            return Ok(());
        }
        Err(format!(
            "{what}: another client waited {waited:?} of {took:?}"
        ))
    });
}

/// Runs `one` in parallel for each number below `clients`. Returns the results in the order of the numbers.
pub(crate) fn at_once<T: Send>(clients: usize, one: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let one = &one;
    thread::scope(|scope| {
        let spawn = |at| scope.spawn(move || one(at));
        let clients: Vec<_> = (0..clients).map(spawn).collect();
        let ended = clients.into_iter().map(|client| client.join());
        ended.map(|end| end.expect("it ends")).collect()
    })
}

/// Sets a flag when it is dropped, even by a panic.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count)
}

/// Checks `condition` until it is true. Panics with `what` after [`LONG`].
pub(crate) fn patiently(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "not in {LONG:?}: {what}");
        wait::wall_time(Duration::from_millis(100));
    }
}

/// Puts and gets in three dialects, on new connections and on a lasting one. Returns the number of complete rounds, which is at
/// least `ROUNDS_MIN`.
fn live(server: &Server, stop: &AtomicBool) -> usize {
    let runtime = grpc::runtime();
    let channel = runtime.block_on(grpc::connect(&server.address()));
    let mut client = KvClient::new(channel);
    let mut round = 0;
    while round < ROUNDS_MIN || !stop.load(Ordering::SeqCst) {
        let value = format!("round-{round}");
        let put = server.http("PUT", "/v2/keys/bystander", &format!("value={value}"));
        assert!(matches!(put.status, 200 | 201), "{}", put.text());
        let got = server.http("GET", "/v2/keys/bystander", "");
        assert_eq!(got.json()["node"]["value"], value.as_str());
        server.v3("kv/put", r#"{"key":"YnlzdGFuZGVy","value":"eA=="}"#);
        let put = client.put(requests::put("bystander", value.clone()));
        runtime.block_on(put).expect("a put of another client");
        let got = client.range(requests::range("bystander", ""));
        let got = runtime.block_on(got).expect("a get of another client");
        assert_eq!(got.into_inner().kvs[0].value, value.as_bytes());
        round += 1;
    }
    round
}

/// Opens a raw connection whose reads and writes have a timeout.
pub(crate) fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_nodelay(true).expect("a TCP socket");
    let patience = Some(wait::PATIENCE);
    stream.set_write_timeout(patience).expect("a TCP socket");
    stream.set_read_timeout(patience).expect("a TCP socket");
    stream
}

/// Reads until the connection ends or a read times out. Returns the data and whether the connection ended.
pub(crate) fn rest(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let ended = match stream.read_to_end(&mut bytes) {
        Ok(_) => true,
        Err(error) => !http::is_silence(&error),
    };
    (bytes, ended)
}

/// Returns the status line of a response, or how the connection ended without one.
pub(crate) fn verdict(stream: &mut TcpStream) -> String {
    let (bytes, ended) = rest(stream);
    let line = bytes.split(|&b| b == b'\r').next().unwrap_or_default();
    match (bytes.starts_with(b"HTTP/1.1 "), ended) {
        (true, _) => String::from_utf8_lossy(&line[9..]).into_owned(),
        (false, true) => "closed".into(),
        (false, false) => "open".into(),
    }
}
