//! The common part of the two lean clients: one connection, a fixed number of slots with one
//! request each in flight, one write for all requests that answers in one read set free.
//!
//! Why clients of our own: on a machine whose processors the server shares with its clients, a
//! general HTTP client costs as much as the server and would mostly measure itself.

use std::time::Instant;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc::Receiver,
};

use crate::dial::dial;

/// Bytes of answers read at once.
const READ_BYTES: usize = 64 << 10;

/// A protocol, as bytes: it never touches a socket.
pub trait Wire {
    /// Writes the beginning of a connection.
    fn greet(&mut self, out: &mut Vec<u8>);

    /// Asks for `key` in `slot`.
    fn ask(&mut self, slot: usize, key: u64, out: &mut Vec<u8>);

    /// Takes the next complete answer off the front of `input`: its slot, or `None` if more bytes
    /// are needed. `used` grows by the bytes that were taken.
    ///
    /// # Panics
    /// If the answer is not a success: a benchmark of failures is worth nothing.
    fn answer(&mut self, input: &[u8], used: &mut usize, out: &mut Vec<u8>) -> Option<usize>;
}

/// Runs one connection until `next` has no more keys for any slot. `done` gets the microseconds
/// that each answer took.
///
/// # Panics
/// If the server closes the connection or answers an error.
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
            let took = now.duration_since(begun[slot]).as_micros();
            done(u32::try_from(took).unwrap_or(u32::MAX));
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

/// Runs one connection that sends each request of `due` at once, at most `slots` without their answers, until `due`
/// ends. `done` gets the microseconds from the instant at which the request was due to its answer.
///
/// # Panics
/// If the server closes the connection or answers an error.
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
                    let took = now.saturating_duration_since(begun[slot]).as_micros();
                    done(u32::try_from(took).unwrap_or(u32::MAX));
                    free.push(slot);
                }
                input.drain(..used);
            }
        }
    }
}
