//! Cases that last as long as the server's timeouts, usually a minute. Each case has its own server, so the cases run in
//! parallel.

use std::thread;

use crate::{bodies, slow, unread};

#[test]
fn clients_end_at_the_timeouts_of_the_server() {
    let cases = [
        bodies::a_hundred_megabytes,
        slow::one_byte_a_second,
        unread::http1_answers_unread,
        unread::v2_streams_unread,
    ];
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(case);
        }
    });
}
