//! A source that answers calls and pings while its streams are stuck.

use std::{
    collections::HashSet,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use witan_e2e::{Kind, Launch, Server, wait};

use super::{run, source, status, wait_copied};

const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;

/// A frame with more bytes stops its stream.
const SMALL_BYTES: usize = 4096;

/// Forwards connections to a server. Once enabled, drops large DATA frames of the server and all later frames of the same
/// stream.
struct Proxy {
    url: String,
    stalls: Arc<AtomicBool>,
}

impl Proxy {
    fn to(server: &Server, stalls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let stalls = Arc::new(AtomicBool::new(stalls));
        let (address, told) = (server.address(), stalls.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a connection");
                let server = TcpStream::connect(&address).expect("the server listens");
                let (mut from, mut to) = (twin(&client), twin(&server));
                thread::spawn(move || io::copy(&mut from, &mut to));
                let told = told.clone();
                // An error means that one side has closed the connection.
                thread::spawn(move || pass(server, client, &told));
            }
        });
        Self { url, stalls }
    }
}

fn twin(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a descriptor is free")
}

/// Forwards the server's frames. Once `stalls` is set, drops a stream's first large DATA frame and everything after it.
fn pass(mut server: TcpStream, mut client: TcpStream, stalls: &AtomicBool) -> io::Result<()> {
    let mut stalled = HashSet::new();
    loop {
        let mut head = [0; HEAD_BYTES];
        server.read_exact(&mut head)?;
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut contents = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        server.read_exact(&mut contents)?;
        if stalls.load(Ordering::SeqCst) && kind == DATA && contents.len() > SMALL_BYTES {
            stalled.insert(stream);
        }
        if !stalled.contains(&stream) {
            client.write_all(&[&head[..], &contents].concat())?;
        }
    }
}

/// Without this detection, the status would report that everything is copied, and a cut-over would wait forever.
#[test]
fn a_stalled_watch_is_detected() {
    let source = source(Kind::Etcd37);
    let proxy = Proxy::to(&source, false);
    let mut member = Launch::witan().prepare();
    member.add_args(["--from", &proxy.url]);
    member.start_again();
    wait_copied(&member, &source);
    proxy.stalls.store(true, Ordering::SeqCst);
    run(&source, &["put", "b", &"x".repeat(2 * SMALL_BYTES)]);
    wait::until_true("it is noticed", || {
        status(&member)["error"]
            .to_string()
            .contains("has delivered nothing")
    });
    proxy.stalls.store(false, Ordering::SeqCst);
    wait_copied(&member, &source);
}

#[test]
fn a_stalled_snapshot_is_abandoned() {
    let source = source(Kind::Etcd37);
    let proxy = Proxy::to(&source, true);
    let mut member = Launch::witan().prepare();
    member.add_args(["--from", &proxy.url]);
    member.start_unready_again();
    assert_eq!(member.wait_exit().code(), Some(1));
    member.wait_log(0, "has delivered nothing");
}
