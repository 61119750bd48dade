//! Measures the memory of the core's v3 key space, and the duration of its operations.
//!
//! `cargo run --release -p witan-bench --bin memory [KEYS]` fills one process per shape and prints a line for each: resident
//! memory beyond the empty process, and CPU nanoseconds per put and per get (of the process, so that other work on the machine
//! does not count). If the plain fill of 1M keys (16 + 256 bytes) needs more than [`PLAIN_MIB_MAX`], the program fails.
//!
//! `ascend` is the plain fill; `random` puts keys in random order; `update` puts each key three times and then compacts; `view`
//! freezes a view after every put, as a server with one client does; `path` uses long keys with common prefixes.

use std::{
    io::Write as _,
    process::{Command as Process, ExitCode},
};

use bytes::Bytes;
use witan_e2e::process;
use witan_machine::kv::{Compact, Kv, KvCommand, KvOperation, Put, Range, ValueSource};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Maximum memory in MiB for 1M keys of 16 + 256 bytes.
const PLAIN_MIB_MAX: f64 = 360.0;
const KEYS: usize = 1_000_000;
const VALUE_BYTES: usize = 256;
/// Number of puts that are prepared and timed together.
const BATCH: usize = 1000;
/// Number of puts after a compaction, which is more than a complete sweep needs.
const SWEEP_PUTS: usize = 10_000;
const GETS: usize = 1_000_000;
const SHAPES: [&str; 5] = ["ascend", "random", "update", "view", "path"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let keys = arguments
        .get(1)
        .map_or(KEYS, |n| n.parse().expect("a number of keys"));
    match arguments.get(2) {
        Some(shape) => one(shape, keys),
        None => all(&arguments[0], keys),
    }
}

/// Runs one process per shape, so that no measurement includes another shape's memory.
fn all(program: &str, keys: usize) -> ExitCode {
    let mut failed = false;
    for shape in SHAPES {
        let status = Process::new(program)
            .args([&keys.to_string(), shape])
            .status();
        failed |= !status.expect("the bench itself can be started").success();
    }
    ExitCode::from(u8::from(failed))
}

fn one(shape: &str, keys: usize) -> ExitCode {
    let before = resident_mib();
    let mut kv = Kv::default();
    let put_ns = fill(shape, keys, &mut kv);
    let mib = resident_mib() - before;
    let get_ns = gets(shape, keys, &kv);
    let mut line = format!(
        "{shape:7} {keys} keys: {mib:6.1} MiB, {put_ns:5} ns/put, {get_ns:5} ns/get, \
         dbSize {:.1} MiB",
        kv.size_bytes() as f64 / 1048576.0
    );
    let restart = restart_ms(&kv);
    line += &format!(", load {restart} ms");
    if shape == "update" {
        line += &compaction(&mut kv, keys);
    }
    writeln!(std::io::stdout(), "{line}").expect("stdout is open");
    let wrong = shape == "ascend" && keys == KEYS && mib > PLAIN_MIB_MAX;
    ExitCode::from(u8::from(wrong))
}

fn fill(shape: &str, keys: usize, kv: &mut Kv) -> u64 {
    let rounds = if shape == "update" { 3 } else { 1 };
    let mut frozen = kv.clone();
    let mut spent = 0;
    for round in 0..rounds {
        for first in (0..keys).step_by(BATCH) {
            let last = keys.min(first + BATCH);
            let puts: Vec<KvCommand> = (first..last)
                .map(|at| put(key(shape, at, keys), at as u64 ^ round))
                .collect();
            let begun = cpu_ns();
            for command in &puts {
                kv.apply(command).expect("a plain put");
                if shape == "view" {
                    frozen = kv.clone();
                }
            }
            spent += cpu_ns() - begun;
        }
    }
    drop(frozen);
    spent / (keys as u64 * rounds)
}

fn put(key: Bytes, number: u64) -> KvCommand {
    let mut value = vec![0; VALUE_BYTES];
    value[..8].copy_from_slice(&number.to_le_bytes());
    KvCommand {
        operation: Some(KvOperation::Put(Put {
            key,
            value: value.into(),
            ..Put::default()
        })),
    }
}

fn key(shape: &str, at: usize, keys: usize) -> Bytes {
    // The multiplier is odd and has no factor in common with powers of ten, so this is a permutation.
    let shuffled = (at * 611_953 + 17) % keys;
    Bytes::from(match shape {
        "ascend" => format!("key-{at:012}"),
        "path" => format!(
            "/registry/pods/namespace-{:03}/pod-{shuffled:024}",
            shuffled % 1000
        ),
        _ => format!("key-{shuffled:012}"),
    })
}

fn gets(shape: &str, keys: usize, kv: &Kv) -> u64 {
    let wanted: Vec<Range> = (0..GETS.min(keys))
        .map(|at| Range { key: key(shape, at * 7919 % keys, keys), ..Range::default() })
        .collect();
    let begun = cpu_ns();
    let found: usize = wanted
        .iter()
        .map(|range| {
            kv.range(range, ValueSource::Memory)
                .expect("a plain get")
                .kvs
                .len()
        })
        .sum();
    assert_eq!(found, wanted.len());
    (cpu_ns() - begun) / wanted.len() as u64
}

/// Returns the milliseconds in which a restart builds the key space from its checkpoint.
fn restart_ms(kv: &Kv) -> u64 {
    use witan_machine::record::RecordChange;
    let mut records = Vec::new();
    kv.changes(None, &mut |change| match change {
        RecordChange::Put { key, value } => records.push((key, value)),
        RecordChange::Delete { .. } => unreachable!("a first checkpoint deletes nothing"),
    });
    records.sort();
    let begun = cpu_ns();
    let mut loaded = Kv::default();
    for (key, value) in &records {
        loaded.load(key, value).expect("a sound record");
    }
    loaded.finish_load().expect("a whole checkpoint");
    (cpu_ns() - begun) / 1_000_000
}

/// Compacts the keys and times it with the puts that follow, which continue the sweep.
fn compaction(kv: &mut Kv, keys: usize) -> String {
    let compact = Compact { revision: kv.revision().0 };
    let begun = cpu_ns();
    kv.apply(&KvCommand { operation: Some(KvOperation::Compact(compact)) })
        .expect("a first compaction");
    let first_ms = (cpu_ns() - begun) / 1_000_000;
    let mut slowest_ns = 0;
    let begun = cpu_ns();
    for number in 0..SWEEP_PUTS {
        let command = put(key("update", number % keys, keys), number as u64);
        let begun = cpu_ns();
        kv.apply(&command).expect("a plain put");
        slowest_ns = slowest_ns.max(cpu_ns() - begun);
    }
    format!(
        ", compaction {first_ms} ms and {} ms over {SWEEP_PUTS} puts (slowest {} us), \
         dbSize then {:.1} MiB",
        (cpu_ns() - begun) / 1_000_000,
        slowest_ns / 1000,
        kv.size_bytes() as f64 / 1048576.0,
    )
}

fn resident_mib() -> f64 {
    process::resident_bytes(std::process::id()) as f64 / 1_048_576.0
}

/// Returns the CPU time of the process's only thread in nanoseconds.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    stat.split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok())
        .expect("a number")
}
