//! Tests an opener that does not finish its handshake. Also tests a stream on which the other side's kernel accepts no data,
//! although the process answered the handshake.

use std::net::Ipv4Addr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use super::*;

/// Size in bytes of the buffer for unread data. The kernel may double it.
const RECEIVED_BYTES: u32 = 4 << 10;

/// Size in bytes of a message that exceeds the reader's buffer but not the writer's.
const MESSAGE_BYTES: usize = 64 << 10;

/// Accepts a stream with its handshake. Returns its kind, and the stream without reading anything else from it.
async fn accept(listener: &TcpListener) -> (StreamKind, TcpStream) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut magic = [0; handshake::MAGIC.len() + 1];
    stream.read_exact(&mut magic).await.unwrap();
    let hello = frame::read(&mut stream, handshake::HANDSHAKE_BYTES_MAX, PATIENCE).await;
    let hello = handshake::Handshake::decode(&hello.unwrap().contents).unwrap();
    let answer = handshake::encode_answer(Ok(()));
    let answer = frame::encode(frame::FrameKind::Answer, &answer);
    stream.write_all(&answer).await.unwrap();
    (hello.kind, stream)
}

#[test]
fn a_stream_that_acknowledges_nothing_is_opened_again() {
    let (mut bound, mut members, _) = sockets(2);
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap();
    let listener = {
        let _context = runtime.enter();
        let socket = TcpSocket::new_v4().unwrap();
        // The streams inherit the size.
        socket.set_recv_buffer_size(RECEIVED_BYTES).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        socket.listen(16).unwrap()
    };
    let url = format!("http://{}", listener.local_addr().unwrap());
    let member = Member { id: 2, peer_urls: vec![url], ..Member::default() };
    members.by_id.insert(MemberId(2), member);
    let settings = PeerSettings {
        // Silence does not end the stream.
        read_timeout: 10 * PATIENCE,
        write_timeout: Duration::from_millis(500),
        ..Config::default().peers
    };
    let dialer = PeerDialer::default();
    let mut one = started_with(1, bound.remove(0), &members, dialer, settings);
    let again = runtime.block_on(async {
        let _open = [accept(&listener).await, accept(&listener).await];
        one.wait_open(2);
        one.send(2, Lane::Bulk, vec![0; MESSAGE_BYTES].into());
        timeout(PATIENCE, accept(&listener)).await
    });
    let (kind, _stream) = again.expect("the stream is opened again");
    assert_eq!(kind, StreamKind::Bulk);
    stop(one);
}

#[test]
fn an_unfinished_handshake_is_counted_as_a_timeout() {
    let (mut bound, members, addresses) = sockets(2);
    let two = started(2, bound.remove(1), &members);
    let opening = [&handshake::MAGIC[..], &[handshake::PROTOCOL]].concat();
    assert_eq!(asked(addresses[1], &opening), b"");
    let line = "witan_peer_refused_total{reason=\"timeout\"} 1";
    until(line, || two.page.render().contains(line).then_some(()));
    stop(two);
}
