//! The common part of the lean clients: one connection with a fixed number of slots, each with one request in flight. One write
//! contains the requests of all slots that a read has freed.
//!
//! A general HTTP client costs as much as the server. On a machine that both share, a benchmark would mostly measure the
//! client.

use std::time::Instant;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc::Receiver,
};

use crate::{dial::dial, micros};

const READ_BYTES: usize = 64 << 10;

/// A protocol that encodes and decodes bytes without I/O.
pub trait Wire {
    /// Writes the bytes that begin a connection.
    fn greet(&mut self, out: &mut Vec<u8>);

    /// Encodes a request for `key` in `slot`.
    fn ask(&mut self, slot: usize, key: u64, out: &mut Vec<u8>);

    /// Returns the slot of the next complete answer in `input` and adds its size to `used`, or returns `None` if more bytes are
    /// needed. Writes frames for the server to `out`. Panics if the answer is not a success.
    fn answer(&mut self, input: &[u8], used: &mut usize, out: &mut Vec<u8>) -> Option<usize>;
}

/// Runs one connection until `next` has no more keys for any slot. `done` gets the duration of each answer in microseconds.
/// Panics if the server closes the connection or answers with an error.
pub async fn drive(
    address: &str,
    mut wire: impl Wire,
    slots: usize,
    mut next: impl FnMut(usize) -> Option<u64>,
    mut done: impl FnMut(u32),
) {
    let mut stream = dial(address).await;
    let (mut out, mut input) = (Vec::new(), Vec::with_capacity(READ_BYTES));
    let mut begun = vec![Instant::now(); slots];
    let mut open = 0;
    wire.greet(&mut out);
    for slot in 0..slots {
        if let Some(key) = next(slot) {
            wire.ask(slot, key, &mut out);
            open += 1;
        }
    }
    while open > 0 {
        if !out.is_empty() {
            stream.write_all(&out).await.expect("it reads");
            stream.flush().await.expect("it reads");
            out.clear();
        }
        input.reserve(READ_BYTES);
        let read = stream.read_buf(&mut input).await.expect("it answers");
        assert!(read > 0, "the server closed the connection");
        let now = Instant::now();
        let mut used = 0;
        while let Some(slot) = wire.answer(&input, &mut used, &mut out) {
            done(micros(now.duration_since(begun[slot])));
            match next(slot) {
                Some(key) => {
                    begun[slot] = now;
                    wire.ask(slot, key, &mut out);
                }
                None => open -= 1,
            }
        }
        input.drain(..used);
    }
}

/// Sends each request of `due` immediately on one connection, with at most `slots` unanswered requests, until `due` ends.
/// `done` gets the microseconds from the time at which a request was due to its answer. Panics if the server closes the
/// connection or answers with an error.
pub async fn drive_paced(
    address: &str,
    mut wire: impl Wire,
    slots: usize,
    mut due: Receiver<(u64, Instant)>,
    mut done: impl FnMut(u32),
) {
    let mut stream = dial(address).await;
    let (mut out, mut input) = (Vec::new(), Vec::with_capacity(READ_BYTES));
    let mut begun = vec![Instant::now(); slots];
    let mut free: Vec<usize> = (0..slots).collect();
    wire.greet(&mut out);
    let mut more = true;
    while more || free.len() < slots {
        if !out.is_empty() {
            stream.write_all(&out).await.expect("it reads");
            stream.flush().await.expect("it reads");
            out.clear();
        }
        input.reserve(READ_BYTES);
        tokio::select! {
            request = due.recv(), if more && !free.is_empty() => match request {
                Some((key, at)) => {
                    let slot = free.pop().expect("one is free");
                    begun[slot] = at;
                    wire.ask(slot, key, &mut out);
                }
                None => more = false,
            },
            read = stream.read_buf(&mut input) => {
                assert!(read.expect("it answers") > 0, "the server closed the connection");
                let now = Instant::now();
                let mut used = 0;
                while let Some(slot) = wire.answer(&input, &mut used, &mut out) {
                    done(micros(now.duration_since(begun[slot])));
                    free.push(slot);
                }
                input.drain(..used);
            }
        }
    }
}
