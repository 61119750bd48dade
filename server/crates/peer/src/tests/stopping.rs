//! Tests the end of the streams' thread.

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
