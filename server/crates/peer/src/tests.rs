//! Tests members with real sockets, whose nodes have no replica.

mod impostors;
mod stopping;
mod unread;

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, sync_channel},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use witan_base::{
    account::SMALL_BYTES,
    metrics::{MetricsPage, Register},
    panics::PanicMetrics,
};
use witan_config::Config;
use witan_machine::member::{Member, MemberRegistry, StoreLineage};
use witan_node::testing::{events, waker, without_replica};
use witan_replica::host::Lane;
use witan_transport::bind_peers;

use super::*;

const CLUSTER: u64 = 7;

/// A timeout that is long enough on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    node: Node,
    peers: Peers,
    post: PeerPost,
    page: MetricsPage,
}

/// Calls `condition` until it returns a value. Panics with `what` after [`PATIENCE`].
fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited without success: {what}");
        std::thread::yield_now();
    }
}

type Sockets = (Vec<Vec<BoundPeer>>, MemberRegistry, Vec<SocketAddr>);

fn sockets(count: usize) -> Sockets {
    sockets_at(&vec!["http://127.0.0.1"; count])
}

/// Binds the socket of a member at each of these URLs, which have no port. Returns the sockets, the members with their URLs,
/// and the addresses.
fn sockets_at(urls: &[&str]) -> Sockets {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap();
    let _context = runtime.enter();
    let mut members = MemberRegistry { cluster_id: CLUSTER, ..MemberRegistry::default() };
    let mut addresses = Vec::new();
    let bound = (1..)
        .zip(urls)
        .map(|(id, url)| {
            let config = Config {
                listen_peer_urls: vec![format!("{url}:0").parse().unwrap()],
                ..Config::default()
            };
            let bound = bind_peers(&config).unwrap();
            let address = bound[0].local_addr().unwrap();
            addresses.push(address);
            let member = Member {
                id,
                peer_urls: vec![format!("{url}:{}", address.port())],
                ..Member::default()
            };
            members.by_id.insert(MemberId(id), member);
            bound
        })
        .collect();
    (bound, members, addresses)
}

/// Starts the network of a member with default settings and without TLS.
fn started(id: u64, bound: Vec<BoundPeer>, members: &MemberRegistry) -> Running {
    started_with(
        id,
        bound,
        members,
        PeerDialer::default(),
        Config::default().peers,
    )
}

/// Starts the network of member `id`, whose node has no replica.
fn started_with(
    id: u64,
    bound: Vec<BoundPeer>,
    members: &MemberRegistry,
    dialer: PeerDialer,
    settings: PeerSettings,
) -> Running {
    let node = without_replica(MemberId(id), members.cluster_id);
    let on = Register::default();
    let metrics = PeerMetrics::register(&on, PanicMetrics::register(&on));
    let (peers, post) = start(
        node.clone(),
        bound,
        members,
        (settings, dialer, metrics),
        SnapshotReceiver::without_folder(),
    )
    .unwrap();
    Running { node, peers, post, page: MetricsPage::new(on) }
}

fn stop(running: Running) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(running.peers.stop());
}

impl Running {
    fn send(&mut self, to: u64, lane: Lane, message: Bytes) {
        let from = self.node.identity().member_id;
        let to = MemberId(to);
        self.post
            .post(vec![Envelope { to, from, lane, message, snapshot: None }]);
    }

    fn messages(&mut self) -> Vec<Envelope> {
        let mut messages = Vec::new();
        self.post
            .wait(Duration::ZERO, waker(&self.node), &mut messages);
        messages
    }

    /// Waits until both streams to a member are open.
    fn wait_open(&self, to: u64) {
        until("both streams open", || {
            let peer = self.post.shared.peer(MemberId(to))?;
            peer.is_open().then_some(())
        });
    }
}

#[test]
fn messages_of_both_lanes_arrive_in_order_once_and_with_their_sender() {
    let (mut bound, members, _) = sockets(2);
    let mut two = started(2, bound.remove(1), &members);
    let mut one = started(1, bound.remove(0), &members);
    one.wait_open(2);
    // A message from another member is not forwarded.
    one.post.post(vec![Envelope {
        to: MemberId(2),
        from: MemberId(3),
        lane: Lane::Control,
        message: Bytes::from_static(b"from another member"),
        snapshot: None,
    }]);
    let count = 1000_u32;
    for at in 0..count {
        one.send(2, Lane::Control, Bytes::copy_from_slice(&at.to_be_bytes()));
        let mut long = vec![0; 10_000];
        long[..4].copy_from_slice(&at.to_be_bytes());
        one.send(2, Lane::Bulk, long.into());
    }
    let mut seen = [Vec::new(), Vec::new()];
    until("all messages", || {
        for envelope in two.messages() {
            assert_eq!((envelope.from, envelope.to), (MemberId(1), MemberId(2)));
            let lane = usize::from(envelope.lane == Lane::Bulk);
            let at = u32::from_be_bytes(*envelope.message.first_chunk().unwrap());
            seen[lane].push(at);
        }
        (seen.iter().map(Vec::len).sum::<usize>() == 2 * count as usize).then_some(())
    });
    for seen in seen {
        assert_eq!(seen, (0..count).collect::<Vec<_>>());
    }
    let opened = (MemberId(2), PeerEvent::StreamOpened);
    assert_eq!(events(&one.node), [opened], "nothing was lost");
    let page = two.page.render();
    let line = "etcd_network_peer_received_bytes_total{From=\"1\"} ";
    let bytes = page.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    assert!(bytes.parse::<u64>().unwrap() >= 10_000 * u64::from(count));
    until("a round trip is measured", || {
        two.messages();
        let line = "etcd_network_peer_round_trip_time_seconds_count{To=\"2\"} 0";
        (!one.page.render().contains(line)).then_some(())
    });
    stop(one);
    stop(two);
}

#[test]
fn a_message_ends_a_wait() {
    let (mut bound, members, _) = sockets(2);
    let mut two = started(2, bound.remove(1), &members);
    let mut one = started(1, bound.remove(0), &members);
    one.wait_open(2);
    // Wait for the first message, because a stream that opens during a wait does not always wake the thread.
    one.send(2, Lane::Bulk, Bytes::from_static(b"first"));
    until("the first message", || {
        (!two.messages().is_empty()).then_some(())
    });
    let sender = std::thread::spawn(move || {
        one.send(2, Lane::Bulk, Bytes::from_static(b"at once"));
        one
    });
    let begun = Instant::now();
    let mut messages = Vec::new();
    while messages.is_empty() {
        two.post
            .wait(10 * PATIENCE, waker(&two.node), &mut messages);
    }
    assert_eq!(messages[0].message, "at once");
    assert!(begun.elapsed() < 5 * PATIENCE);
    stop(sender.join().unwrap());
    stop(two);
}

#[test]
fn a_member_that_reads_nothing_but_sends_keeps_its_streams() {
    let (mut bound, members, _) = sockets(2);
    let settings = PeerSettings {
        read_timeout: 3 * link::PING_INTERVAL / 2,
        ..Config::default().peers
    };
    let mut start = |at: usize, id| {
        started_with(
            id,
            bound.remove(at),
            &members,
            PeerDialer::default(),
            settings,
        )
    };
    // The second member reads nothing, as if the replica's thread hung in a sync.
    let two = start(1, 2);
    let mut one = start(0, 1);
    one.wait_open(2);
    two.wait_open(1);
    let pings = |page: String| {
        let line = "etcd_network_peer_received_bytes_total{From=\"2\"} ";
        let bytes = page.lines().find_map(|l| l.strip_prefix(line))?;
        Some(bytes.parse::<usize>().unwrap() / (frame::HEADER_BYTES + 8))
    };
    until("pings of several read timeouts", || {
        one.messages();
        (pings(one.page.render())? >= 10).then_some(())
    });
    let line = "etcd_network_disconnected_peers_total{Local=\"1\",Remote=\"2\"} 0";
    assert!(one.page.render().contains(line), "{}", one.page.render());
    stop(one);
    stop(two);
}

#[test]
fn a_turn_takes_few_frames_of_a_flood_and_answers_one_ping() {
    let (mut bound, members, addresses) = sockets(2);
    let mut two = started(2, bound.remove(1), &members);
    let mut flood = TcpStream::connect(addresses[1]).unwrap();
    flood.write_all(&greeting(CLUSTER, 1, 2)).unwrap();
    flood.read_exact(&mut [0; frame::HEADER_BYTES + 9]).unwrap();
    let frames =
        [frame::FrameKind::Message, frame::FrameKind::Ping].map(|kind| frame::encode(kind, b""));
    let count = 20_000;
    flood.write_all(&frames.concat().repeat(count)).unwrap();
    let (mut taken, mut turns) = (0, 0);
    until("all messages", || {
        let messages = two.messages().len();
        assert!(
            messages <= (16 << 20) / SMALL_BYTES,
            "{messages} in one turn"
        );
        taken += messages;
        turns += usize::from(messages > 0);
        (taken == count).then_some(())
    });
    flood.set_nonblocking(true).unwrap();
    let mut pongs = vec![0; count * frame::HEADER_BYTES];
    let answered = flood.read(&mut pongs).unwrap() / frame::HEADER_BYTES;
    assert!(answered <= turns, "{answered} pongs in {turns} turns");
    stop(two);
}

#[test]
fn a_silent_stream_is_closed() {
    let (mut bound, members, addresses) = sockets(2);
    let settings = PeerSettings {
        read_timeout: Duration::from_millis(50),
        ..Config::default().peers
    };
    let dialer = PeerDialer::default();
    let mut two = started_with(2, bound.remove(1), &members, dialer, settings);
    let mut silent = TcpStream::connect(addresses[1]).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.write_all(&greeting(CLUSTER, 1, 2)).unwrap();
    let mut answer = [0; frame::HEADER_BYTES + 9];
    silent.read_exact(&mut answer).unwrap();
    silent.set_nonblocking(true).unwrap();
    until("the stream is closed", || {
        two.messages();
        (silent.read(&mut [0]).ok()? == 0).then_some(())
    });
    stop(two);
}

#[test]
fn a_member_whose_process_ended_is_reported_immediately_and_can_reconnect() {
    let (mut bound, members, addresses) = sockets(2);
    let two = started(2, bound.remove(1), &members);
    let mut one = started(1, bound.remove(0), &members);
    one.wait_open(2);
    events(&one.node);
    stop(two);
    until("the end is noticed", || {
        let gone = (MemberId(2), PeerEvent::ProcessGone);
        events(&one.node).contains(&gone).then_some(())
    });
    // The queue of the second stream closes only when the reconnection of that stream is refused.
    until("a lost message is reported", || {
        one.send(2, Lane::Bulk, Bytes::from_static(b"lost"));
        let lost = events(&one.node);
        lost.contains(&(MemberId(2), PeerEvent::Unreachable))
            .then_some(())
    });
    let page = one.page.render();
    let line = "etcd_network_active_peers{Local=\"1\",Remote=\"2\"} 0";
    assert!(page.contains(line), "{page}");
    // Listen on the same address, as after a restart. A process that retries may have connected to itself at this address, so
    // the bind can fail at first.
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let again = {
        let runtime = runtime.unwrap();
        let _context = runtime.enter();
        let config = Config {
            listen_peer_urls: vec![format!("http://{}", addresses[1]).parse().unwrap()],
            ..Config::default()
        };
        until("the address is free", || bind_peers(&config).ok())
    };
    events(&one.node);
    let mut two = started(2, again, &members);
    until("the open stream is reported", || {
        let opened = (MemberId(2), PeerEvent::StreamOpened);
        events(&one.node).contains(&opened).then_some(())
    });
    one.wait_open(2);
    one.send(2, Lane::Bulk, Bytes::from_static(b"found"));
    until("a message arrives again", || {
        let messages = two.messages();
        messages.iter().any(|m| m.message == "found").then_some(())
    });
    stop(one);
    stop(two);
}

/// Sends these bytes on a new connection and returns everything that is received.
fn asked(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut back = Vec::new();
    // A reset after the response also ends the connection.
    let _ = stream.read_to_end(&mut back);
    back
}

/// Encodes the start of a bulk stream: the magic bytes, the protocol version and the handshake.
fn greeting(cluster_id: u64, from: u64, to: u64) -> Vec<u8> {
    let hello = handshake::Handshake {
        cluster_id,
        from: MemberId(from),
        to: MemberId(to),
        store: StoreLineage::default(),
        to_store: 0,
        kind: StreamKind::Bulk,
        release: "test".into(),
        peer_urls: Vec::new(),
    };
    let frame = frame::encode(frame::FrameKind::Handshake, &hello.encode());
    [&handshake::MAGIC[..], &[handshake::PROTOCOL], &frame].concat()
}

#[test]
fn unknown_openers_are_refused_with_a_reason() {
    let (mut bound, mut members, addresses) = sockets(2);
    members.removed_ids.insert(MemberId(3));
    let mut two = started(2, bound.remove(1), &members);
    for (opening, reason) in [
        (greeting(8, 1, 2), "cluster_id"),
        (greeting(CLUSTER, 1, 1), "wrong_target"),
        (greeting(CLUSTER, 2, 2), "foreign_identity"),
        (greeting(CLUSTER, 3, 2), "removed"),
        (greeting(CLUSTER, 4, 2), "unknown_member"),
        ([&handshake::MAGIC[..], &[99; 100]].concat(), "protocol"),
        (
            [&handshake::MAGIC[..], &[handshake::PROTOCOL], &[1; 300]].concat(),
            "malformed",
        ),
    ] {
        let message = frame::encode(frame::FrameKind::Message, b"from a stranger");
        let back = asked(addresses[1], &[opening, message].concat());
        let answer = back.get(frame::HEADER_BYTES..);
        let answer = answer.and_then(handshake::decode_answer);
        let refusal = answer.map(|answer| answer.unwrap_err().label());
        assert_eq!(refusal, Some(reason));
        let line = format!("witan_peer_refused_total{{reason=\"{reason}\"}} 1");
        assert!(two.page.render().contains(&line), "{line}");
    }
    assert!(two.messages().is_empty());
    let members = asked(addresses[1], b"GET /members HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(members.starts_with(b"HTTP/1.1 200 OK\r\n"));
    stop(two);
}

#[test]
fn a_connection_serves_one_request() {
    let (mut bound, members, addresses) = sockets(2);
    let two = started(2, bound.remove(1), &members);
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n");
    for (request, status) in [
        (
            get("/members") + "\r\n" + &get("/version") + "\r\n",
            "200 OK",
        ),
        (
            get("/members") + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "200 OK",
        ),
        (
            get("/members/hashkv") + "Content-Length: 2049\r\n\r\n" + &" ".repeat(2049),
            "400 Bad Request",
        ),
        ("no request\r\n\r\n".to_owned(), "400 Bad Request"),
        ("\0".repeat(handshake::MAGIC.len() + 1), "400 Bad Request"),
    ] {
        let answer = asked(addresses[1], request.as_bytes());
        let answer = String::from_utf8(answer).unwrap();
        let line = format!("HTTP/1.1 {status}\r\n");
        assert!(answer.starts_with(&line), "{request}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    stop(two);
}

#[test]
fn the_stream_of_a_removed_member_ends_although_it_never_pings() {
    let (mut bound, mut members, addresses) = sockets(2);
    let mut two = started(2, bound.remove(1), &members);
    let mut stream = TcpStream::connect(addresses[1]).unwrap();
    stream.write_all(&greeting(CLUSTER, 1, 2)).unwrap();
    let message = frame::encode(frame::FrameKind::Message, b"of a member");
    stream.write_all(&message).unwrap();
    until("the message arrives", || two.messages().pop());
    members.by_id.remove(&MemberId(1));
    members.removed_ids.insert(MemberId(1));
    two.post.update_members(&members);
    until("the stream ends", || {
        two.messages();
        stream.write_all(&message).err()
    });
    stop(two);
}

/// Number of idle connections. It exceeds the limit.
const SILENT: usize = 350;

#[test]
fn silent_connections_do_not_block_members() {
    let (mut bound, members, addresses) = sockets(2);
    let two = started(2, bound.remove(1), &members);
    let silent: Vec<TcpStream> = (0..SILENT)
        .map(|_| TcpStream::connect(addresses[1]).unwrap())
        .collect();
    // Connections beyond the limit are closed immediately, and the other connections after the timeout.
    let (closed, ends): (_, Receiver<()>) = sync_channel(SILENT);
    for mut stream in silent {
        let closed = closed.clone();
        std::thread::spawn(move || {
            let _ = stream.read(&mut [0]);
            closed.send(()).unwrap();
        });
    }
    let one = started(1, bound.remove(0), &members);
    one.wait_open(2);
    for _ in 0..SILENT {
        ends.recv_timeout(PATIENCE).expect("each is closed");
    }
    stop(one);
    stop(two);
}

/// Number of connections that are reopened as soon as they end. It exceeds the limit.
const RENEWED: usize = 300;

#[test]
fn renewed_silent_connections_do_not_block_members() {
    let (mut bound, members, addresses) = sockets(2);
    let two = started(2, bound.remove(1), &members);
    let (stop_stranger, address) = (Arc::<AtomicBool>::default(), addresses[1]);
    let stopped = stop_stranger.clone();
    let stranger = std::thread::spawn(move || {
        let mut open = VecDeque::new();
        while !stopped.load(Relaxed) {
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.write_all(&handshake::MAGIC[..1]);
            open.push_back(stream);
            if open.len() > RENEWED {
                // The listener has closed the oldest connection, because there are too many.
                let mut oldest = open.pop_front().unwrap();
                let _ = oldest.read(&mut [0]);
            }
        }
    });
    let one = started(1, bound.remove(0), &members);
    one.wait_open(2);
    stop_stranger.store(true, Relaxed);
    stranger.join().unwrap();
    stop(one);
    stop(two);
}

#[test]
fn a_removed_member_is_forgotten_and_an_added_member_is_dialed() {
    let (mut bound, members, _) = sockets(3);
    let mut alone = members.clone();
    alone.by_id.remove(&MemberId(3));
    let third = bound.remove(2);
    let mut one = started(1, bound.remove(0), &alone);
    one.send(3, Lane::Bulk, Bytes::from_static(b"dropped"));
    // Start this member only now, because the first member would otherwise accept its stream as the stream of an unknown
    // member.
    let mut three = started(3, third, &members);
    one.post.update_members(&members);
    one.wait_open(3);
    one.send(3, Lane::Bulk, Bytes::from_static(b"kept"));
    let first = until("a message", || three.messages().pop());
    assert_eq!(first.message, "kept");
    alone.removed_ids.insert(MemberId(3));
    one.post.update_members(&alone);
    assert!(one.post.shared.peer(MemberId(3)).is_none());
    let of_it = ["To=\"3\"", "From=\"3\"", "Remote=\"3\""];
    until("the end of the series", || {
        let page = one.page.render();
        (!of_it.iter().any(|label| page.contains(label))).then_some(())
    });
    stop(one);
    stop(three);
}

#[test]
fn a_member_that_is_not_known_yet_is_answered_at_the_url_that_it_names() {
    let (mut bound, members, _) = sockets(3);
    let mut alone = members.clone();
    alone.by_id.remove(&MemberId(1));
    alone.by_id.remove(&MemberId(3));
    let mut known = members.clone();
    known.by_id.remove(&MemberId(3));
    let mut three = started(3, bound.remove(2), &members);
    let mut two = started(2, bound.remove(1), &alone);
    let mut one = started(1, bound.remove(0), &members);
    one.wait_open(2);
    three.wait_open(2);
    let passes = |from: &mut Running, to: &mut Running, text: &'static str| {
        until("a message arrives", || {
            let id = to.node.identity().member_id.0;
            from.send(id, Lane::Control, Bytes::from_static(text.as_bytes()));
            let messages = to.messages();
            messages.iter().any(|m| m.message == text).then_some(())
        });
    };
    passes(&mut one, &mut two, "from a leader");
    passes(&mut two, &mut one, "an answer");
    passes(&mut two, &mut three, "another answer");
    // The entry that adds the first member is applied.
    two.post.update_members(&known);
    assert!(two.post.shared.remotes.lock().keys().eq(&[MemberId(3)]));
    passes(&mut two, &mut one, "as a member");
    // The other member exits before it joins the cluster.
    stop(three);
    until("the member is forgotten", || {
        two.messages();
        two.post.shared.remotes.lock().is_empty().then_some(())
    });
    stop(one);
    stop(two);
}
