//! The cases that last as long as the server's timeouts, a minute most of them. They mostly wait, and each has a server of
//! its own: they run beside each other.

use std::thread;

use crate::{bodies, flood, slow, unread, views};

#[test]
fn clients_that_are_waited_for_until_a_timeout() {
    let cases = [
        bodies::a_hundred_megabytes,
        flood::streams_that_are_never_ended,
        slow::one_byte_a_second,
        unread::http1_answers_unread,
        unread::v2_streams_unread,
        unread::http2_without_a_window,
        views::a_snapshot_that_is_read_slowly,
    ];
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(case);
        }
    });
}
