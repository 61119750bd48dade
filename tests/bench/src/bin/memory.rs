//! Measures the memory of the core's v3 key space.
//!
//! `cargo run --release -p witan-bench --bin memory [KEYS]` puts keys in ascending order in one process and in random order in
//! another process. It prints the difference between the resident memory of each and the resident memory of the empty process.
//! If 1M keys (16 + 256 bytes) in ascending order need more than [`PLAIN_MIB_MAX`], the program fails.

use std::{
    io::Write as _,
    process::{Command as Process, ExitCode},
};

use bytes::Bytes;
use witan_e2e::process;
use witan_machine::kv::{Kv, KvCommand, KvOperation, Put};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Maximum memory in MiB for 1M keys of 16 + 256 bytes.
const PLAIN_MIB_MAX: f64 = 360.0;
const KEYS: usize = 1_000_000;
const VALUE_BYTES: usize = 256;
const ORDERS: [&str; 2] = ["ascend", "random"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let keys = arguments
        .get(1)
        .map_or(KEYS, |n| n.parse().expect("a number of keys"));
    match arguments.get(2) {
        Some(order) => one(order, keys),
        None => all(&arguments[0], keys),
    }
}

/// Runs one process per order, so that no measurement includes the memory of another measurement.
fn all(program: &str, keys: usize) -> ExitCode {
    let mut failed = false;
    for order in ORDERS {
        let status = Process::new(program)
            .args([&keys.to_string(), order])
            .status();
        failed |= !status.expect("the bench itself can be started").success();
    }
    ExitCode::from(u8::from(failed))
}

/// Prints the memory of one order. Fails if a million ascending keys need more than [`PLAIN_MIB_MAX`].
fn one(order: &str, keys: usize) -> ExitCode {
    let before = resident_mib();
    let mut kv = Kv::default();
    for at in 0..keys {
        kv.apply(&put(order, at, keys)).expect("a plain put");
    }
    let mib = resident_mib() - before;
    let size_mib = kv.size_bytes() as f64 / 1_048_576.0;
    let line = format!("{order:7} {keys} keys: {mib:6.1} MiB, dbSize {size_mib:.1} MiB");
    writeln!(std::io::stdout(), "{line}").expect("stdout is open");
    let wrong = order == "ascend" && keys == KEYS && mib > PLAIN_MIB_MAX;
    ExitCode::from(u8::from(wrong))
}

/// Creates the put with the number `at` of `keys`. The orders put the same keys.
fn put(order: &str, at: usize, keys: usize) -> KvCommand {
    // The multiplier has no factor in common with powers of ten, so this is a permutation for such numbers of keys.
    let number = match order {
        "ascend" => at,
        _ => (at * 611_953 + 17) % keys,
    };
    let mut value = vec![0; VALUE_BYTES];
    value[..8].copy_from_slice(&(at as u64).to_le_bytes());
    let key = Bytes::from(format!("key-{number:012}"));
    KvCommand {
        operation: Some(KvOperation::Put(Put {
            key,
            value: value.into(),
            ..Put::default()
        })),
    }
}

fn resident_mib() -> f64 {
    process::resident_bytes(std::process::id()) as f64 / 1_048_576.0
}
