//! Clients that send pings too often, on Witan and on etcd 3.7.

use std::io::Write as _;

use witan_e2e::{Kind, Launch, Server};

use crate::h2;

/// Number of pings. It exceeds the number after which a strict server disconnects.
const PINGS: usize = 12;

/// Sends pings, each after the response to the previous one. Returns the number of responses and the reason for the
/// disconnection.
fn ping(server: &Server, with_call: bool) -> (usize, Option<(u8, String)>) {
    let mut stream = h2::open(server, None);
    if with_call {
        let begin = h2::begin(1, "/etcdserverpb.Watch/Watch");
        stream.write_all(&begin).expect("a call begins");
    }
    let mut answered = 0;
    for _ in 0..PINGS {
        let ping = h2::frame(h2::PING, 0, 0, b"are you?");
        if stream.write_all(&ping).is_err() {
            break;
        }
        loop {
            let Ok((kind, flags, _, payload)) = h2::read(&mut stream) else {
                return (answered, None);
            };
            if kind == h2::GOAWAY {
                let told = String::from_utf8_lossy(&payload[8..]).into_owned();
                return (answered, Some((payload[7], told)));
            }
            if kind == h2::PING && flags == 1 && payload == b"are you?" {
                break;
            }
        }
        answered += 1;
    }
    (answered, None)
}

#[test]
fn too_many_pings_end_the_connection() {
    let said = [Kind::Witan, Kind::Etcd37].map(|kind| {
        let start = |time: &str| {
            let flag = format!("--grpc-keepalive-min-time={time}");
            Launch::new(kind).arg(flag).start()
        };
        let (strict, lenient) = (start("1h"), start("1ns"));
        [
            ping(&strict, true),
            ping(&strict, false),
            ping(&lenient, true),
            // Without a call, pings are excessive.
            ping(&lenient, false),
        ]
    });
    assert_eq!(said[0], said[1]);
    let away = Some((11, "too_many_pings".to_owned()));
    assert_eq!(said[0][0].1, away);
    assert_eq!(said[0][2], (PINGS, None));
}
