//! Fills a server whose memory is limited, kills it, restarts it, and reads random keys. A server that fails on the way gets a
//! row that says so.
#![expect(clippy::print_stdout, reason = "a program that prints tables")]

use std::time::Instant;

use tokio::task::spawn_local;
use witan_e2e::{Server, linear::client::Choice, process};

use crate::{
    h2::Grpc,
    load::{self, quantile},
    program::Program,
    restart::{self, FILLERS, Scale, start_again},
    table,
    verb::Verb,
    watched::{Clock, SizedPut},
    wire,
};

/// Number of random keys that one client reads after the restart.
const READS: usize = 300;
const SEED: u64 = 53;

/// Measures each number of keys on a new server of each program, and prints a table. `limit_bytes` is the programs' limit. Must
/// run in a `LocalSet`.
pub async fn measure(programs: &[Program], scale: &Scale, limit_bytes: u64) {
    println!(
        "keys of 16 bytes, values of {}, {} MiB of memory, {READS} gets:\n\n{}",
        scale.value_bytes,
        limit_bytes >> 20,
        table::LIMITED_HEAD
    );
    for &keys in &scale.keys {
        for program in programs {
            let quota = restart::quota(keys, scale);
            let mut server = program.launch().arg(&quota).start();
            let mut cells = String::new();
            let end = match survive(&mut server, keys, scale, &mut cells).await {
                None => "answers".to_owned(),
                Some(what) => format!("{} {what}", why(&mut server)),
            };
            println!("| {keys} | {} | {cells}{end} |", program.name);
        }
    }
}

/// Fills, restarts and reads a server. Adds each measurement to `cells`. Returns the step in which the server failed.
async fn survive(
    server: &mut Server,
    keys: u64,
    scale: &Scale,
    cells: &mut String,
) -> Option<&'static str> {
    let begun = Instant::now();
    let put = SizedPut { clock: Clock::start(), value_bytes: scale.value_bytes };
    let address = server.address();
    // A client panics if its server fails.
    let fill = async move { load::fill_by(&address, || put, keys, FILLERS).await };
    if spawn_local(fill).await.is_err() {
        *cells += "| | | | | | ";
        return Some("in the fill");
    }
    let filled = begun.elapsed().as_secs_f64();
    *cells += &format!("{filled:.1} | {} | ", process_mib(server));
    server.kill9();
    let Some(took) = start_again(server) else {
        *cells += "| | | | ";
        return Some("in the restart");
    };
    *cells += &format!("{:.1} | {} | ", took.as_secs_f64(), process_mib(server));
    let address = server.address();
    let Ok(sorted) = spawn_local(async move { gets(&address, keys).await }).await else {
        *cells += "| | ";
        return Some("in the gets");
    };
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(&sorted, share));
    *cells += &format!("{p50:.2} | {p99:.2} | ");
    None
}

/// Returns the anonymous memory of a server's process in MiB.
fn process_mib(server: &Server) -> u64 {
    process::status_bytes(server.pid(), "RssAnon:") >> 20
}

/// Reads random keys, one after another. Returns the latencies in microseconds, in ascending order.
async fn gets(address: &str, keys: u64) -> Vec<u32> {
    let mut choice = Choice(SEED);
    let bound = usize::try_from(keys).unwrap_or(usize::MAX);
    let mut chosen = (0..READS).map(|_| choice.below(bound) as u64);
    let mut latencies = Vec::with_capacity(READS);
    let wire = Grpc::new(Verb::Get, address, 1);
    let next = |_| chosen.next();
    wire::drive(address, wire, 1, next, |took| latencies.push(took)).await;
    latencies.sort_unstable();
    latencies
}

/// Returns why a server has failed.
fn why(server: &mut Server) -> &'static str {
    match (server.memory_kills(), server.runs()) {
        (1.., _) => "killed",
        (0, false) => "ended",
        (0, true) => "refused",
    }
}
