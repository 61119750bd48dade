//! The minimum cost of durable writes on this machine: appending one put to a file with fdatasync, and sending a whole state
//! through a socket to a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use crate::{load::Measured, micros, verb::VALUE_BYTES};

/// Size of a record in bytes: key, value, and an estimate of a log's overhead.
const RECORD_BYTES: usize = 16 + VALUE_BYTES + 64;

/// Number of bytes in one write to a socket.
const PART_BYTES: usize = 1 << 20;

/// Sends `bytes` bytes, rounded down to whole MiB, through a local socket to a file in `folder` and syncs the file. Returns the
/// duration. Panics if the disk fails.
pub fn copy(folder: &Path, bytes: u64) -> Duration {
    let path = folder.join("floor");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let begun = Instant::now();
    let sender = std::thread::spawn(move || {
        let mut socket = TcpStream::connect(address).expect("it listens");
        let part = vec![b'v'; PART_BYTES];
        for _ in 0..bytes / PART_BYTES as u64 {
            socket.write_all(&part).expect("it reads");
        }
    });
    let (mut socket, _) = listener.accept().expect("it connects");
    let mut file = File::create(&path).expect("the folder is writable");
    io::copy(&mut socket, &mut file).expect("the disk has room");
    file.sync_data().expect("the disk keeps it");
    let took = begun.elapsed();
    sender.join().expect("all bytes are sent");
    fs::remove_file(&path).expect("it is ours");
    took
}

/// Appends records to a file in `folder` for `length` and syncs each record. Panics if the disk fails.
pub fn measure(folder: &Path, length: Duration) -> Measured {
    let path = folder.join("floor");
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .append(true)
        .open(&path)
        .expect("the folder is writable");
    let record = [b'v'; RECORD_BYTES];
    let begun = Instant::now();
    let mut measured = Measured::default();
    while begun.elapsed() < length {
        let one = Instant::now();
        file.write_all(&record).expect("the disk has room");
        file.sync_data().expect("the disk keeps it");
        measured.latencies.push(micros(one.elapsed()));
    }
    fs::remove_file(&path).expect("it is ours");
    measured.requests = measured.latencies.len() as u64;
    measured.elapsed = begun.elapsed();
    measured.latencies.sort_unstable();
    measured
}
