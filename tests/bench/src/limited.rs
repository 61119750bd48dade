//! Fills a server whose memory is limited, kills it, restarts it, and reads random keys. Then many clients read keys, most of
//! them in a hot set. A server that fails before the end gets a row that says so.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::task::spawn_local;
use witan_e2e::{Server, linear::client::Choice, process};

use crate::{
    h2::Grpc,
    load::{self, FILLERS, Measured, quantile},
    program::Program,
    restart::{self, Scale, start_again},
    subject::Subject,
    table,
    verb::Verb,
    watched::{Clock, SizedPut},
    wire,
};

/// Number of random keys that one client reads after the restart.
const READS: usize = 300;
const SEED: u64 = 53;

/// Number of clients that read the hot set, and the duration of their load.
const HOT_CLIENTS: usize = 64;
const HOT_LENGTH: Duration = Duration::from_secs(10);

/// Measures each number of keys on a new server of each program and prints a table. `limit_bytes` is the programs' limit. Must
/// run in a `LocalSet`.
pub async fn measure(programs: &[Program], scale: &Scale, limit_bytes: u64) {
    println!(
        "keys of 16 bytes, values of {}, {} MiB of memory, {READS} gets, then gets by {HOT_CLIENTS} clients, 90 % of them in a \
         tenth of the keys\n\n{}",
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

/// Fills, restarts and reads a server. Adds each measurement to `cells`, and empty cells after a failure. Returns the step in
/// which the server failed, or `None`.
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
        *cells += "| | | | | | | | | ";
        return Some("in the fill");
    }
    let filled = begun.elapsed().as_secs_f64();
    *cells += &format!("{filled:.1} | {} | ", process_mib(server));
    server.kill9();
    let Some(took) = start_again(server) else {
        *cells += "| | | | | | | ";
        return Some("in the restart");
    };
    *cells += &format!("{:.1} | {} | ", took.as_secs_f64(), process_mib(server));
    let address = server.address();
    let Ok(sorted) = spawn_local(async move { gets(&address, keys).await }).await else {
        *cells += "| | | | | ";
        return Some("in the gets");
    };
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(&sorted, share));
    *cells += &format!("{p50:.2} | {p99:.2} | ");
    let hot = AssertUnwindSafe(hot_gets(server, keys)).catch_unwind();
    let Ok(hot) = hot.await else {
        *cells += "| | | ";
        return Some("in the gets of the hot set");
    };
    let (second, cpu) = (hot.elapsed.as_secs_f64(), hot.server_cpu.as_secs_f64());
    let requests = hot.requests as f64;
    let (rate, cpu_us) = (requests / second, cpu / requests * 1e6);
    *cells += &format!("{rate:.0} | {cpu_us:.0} | {:.1} | ", hot.quantile(0.99));
    None
}

/// Measures gets by many clients. Nine of ten gets read a key in the first tenth of the keys.
async fn hot_gets(server: &Server, keys: u64) -> Measured {
    let next = move |state: &mut u64| {
        // The constants of Knuth's MMIX generator. Its high bits are the most random.
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let random = *state >> 33;
        match random % 10 {
            0 => random / 10 % keys,
            1.. => random / 10 % (keys / 10),
        }
    };
    let end = tokio::time::sleep(HOT_LENGTH);
    load::run_over(&Subject::one(server), (Verb::Get, HOT_CLIENTS), next, end).await
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

/// Returns why a server has failed: killed at its memory limit, ended for another reason, or still running but refusing
/// requests.
fn why(server: &mut Server) -> &'static str {
    match (server.memory_kills(), server.runs()) {
        (1.., _) => "killed",
        (0, false) => "ended",
        (0, true) => "refused",
    }
}
