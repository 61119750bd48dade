//! Tests the end of the streams' thread.

use std::future::pending;

use super::*;

/// The lookup of a host name also occupies a blocking thread.
#[test]
fn a_stop_does_not_wait_for_a_blocked_thread() {
    let (mut bound, members, _) = sockets(1);
    let one = started(1, bound.remove(0), &members);
    let (begin, begun) = sync_channel(1);
    let (release, released) = sync_channel::<()>(1);
    one.post.runtime.spawn_blocking(move || {
        begin.send(()).unwrap();
        let _ = released.recv_timeout(PATIENCE);
    });
    begun.recv_timeout(PATIENCE).expect("the thread runs");
    stop(one);
    assert!(release.try_send(()).is_ok(), "the stop waited");
}

/// Encodes the start of a stream from member 1 to member 2 for a snapshot.
fn greeting_of_snapshot() -> Vec<u8> {
    let bulk = greeting(CLUSTER, 1, 2);
    let (start, frame) = bulk.split_at(handshake::MAGIC.len() + 1);
    let hello = handshake::Handshake::decode(&frame[frame::HEADER_BYTES..]).unwrap();
    let hello = handshake::Handshake { kind: StreamKind::Snapshot, ..hello };
    let frame = frame::encode(frame::FrameKind::Handshake, &hello.encode());
    [start, &frame].concat()
}

/// The thread that writes a received snapshot waits for the task of the stream.
#[test]
fn a_stop_ends_streams_before_it_waits_for_blocking_threads() {
    let (mut bound, members, addresses) = sockets(2);
    let two = started(2, bound.remove(1), &members);
    let mut stream = TcpStream::connect(addresses[1]).unwrap();
    stream.write_all(&greeting_of_snapshot()).unwrap();
    let mut answer = [0; frame::HEADER_BYTES + 9];
    stream.read_exact(&mut answer).unwrap();
    let (begin, begun) = sync_channel(1);
    let (tell, told) = sync_channel(1);
    let runtime = two.post.runtime.clone();
    two.post.runtime.spawn_blocking(move || {
        begin.send(()).unwrap();
        let _ = stream.read(&mut [0]);
        // Once the runtime has ended, it aborts a new task immediately.
        let has_ended = runtime.spawn(pending::<()>()).is_finished();
        tell.send(has_ended).unwrap();
    });
    begun.recv_timeout(PATIENCE).expect("the thread runs");
    stop(two);
    let has_ended = told.recv_timeout(PATIENCE).expect("the stream ends");
    assert!(!has_ended, "the stop waited for the thread first");
}
