//! Compares Witan with etcd on this machine: one client process loads each server in turn.
//!
//! `witan-bench` prints a table of loads. With `--keys`, it prints a table of filled servers. `--help` lists the options. Every
//! other round uses the servers in reverse order. Build witan in release first; `tests/tools` provides the etcd binaries.
#![expect(
    clippy::print_stdout,
    reason = "the program prints its results as tables"
)]

use std::time::Duration;

use clap::Parser;
use witan_bench::{
    floor, limited,
    load::{self, Measured},
    program::{Program, Selection, turns},
    restart::{self, Scale},
    subject::Subject,
    table,
    verb::Verb,
};
use witan_e2e::Server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers of clients, unless `--loads` is set.
const CLIENTS: [usize; 3] = [1, 64, 1000];

/// Compares Witan with etcd on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    scale: Scale,
    /// Seconds that a measurement of a load takes.
    #[arg(long, default_value = "4", value_parser = witan_bench::seconds)]
    seconds: Duration,
    /// Maximum memory of each server in MiB. With --keys, the table shows whether the server survives.
    #[arg(long)]
    limit_mib: Option<u64>,
    /// Loads such as put:64: a request and its number of clients. By default, all requests by 1, 64 and 1000 clients.
    #[arg(long, value_delimiter = ',', value_parser = Verb::with_clients)]
    loads: Vec<(Verb, usize)>,
}

fn main() {
    let arguments = Arguments::parse();
    let limit_bytes = arguments.limit_mib.map(|mib| mib << 20);
    let mut programs = arguments.selection.programs();
    for program in &mut programs {
        program.limit_bytes = limit_bytes;
    }
    let scale = &arguments.scale;
    witan_bench::run(async {
        match (scale.keys.is_empty(), limit_bytes) {
            (false, None) => restart::measure(&programs, scale).await,
            (false, Some(limit)) => limited::measure(&programs, scale, limit).await,
            (true, _) => compare(&programs, &arguments).await,
        }
    });
}

async fn compare(programs: &[Program], arguments: &Arguments) {
    let servers: Vec<(&Program, Server)> = programs
        .iter()
        .map(|program| (program, program.launch().start()))
        .collect();
    // Fill the servers, so that every get finds its key.
    for (program, server) in &servers {
        for verb in [Verb::Put, Verb::V2Put] {
            if verb.served_by(program.kind) {
                load::fill(&server.address(), verb, load::KEYS).await;
            }
        }
    }
    let length = arguments.seconds;
    if let Some((_, server)) = servers.first() {
        let floor = floor::measure(server.dir(), length);
        let (median, slow) = (floor.quantile(0.5), floor.quantile(0.99));
        println!("append and fdatasync of one put alone: p50 {median:.2} ms, p99 {slow:.2} ms\n");
    }
    println!("{}", table::HEAD);
    let mut loads = arguments.loads.clone();
    if loads.is_empty() {
        let each = |verb| CLIENTS.map(|clients| (verb, clients));
        loads.extend(Verb::ALL.into_iter().flat_map(each));
    }
    for (verb, clients) in &loads {
        let able = servers.iter().filter(|(of, _)| verb.served_by(of.kind));
        let able: Vec<&(&Program, Server)> = able.collect();
        let mut results = vec![Measured::default(); able.len()];
        for at in turns(able.len(), arguments.scale.rounds) {
            let subject = Subject::one(&able[at].1);
            results[at].add(load::run(&subject, *verb, *clients, length).await);
        }
        for (at, ((program, _), result)) in able.iter().zip(&results).enumerate() {
            let base = (at > 0).then(|| &results[0]);
            println!(
                "{}",
                table::line(verb.label(), *clients, &program.name, result, base)
            );
        }
    }
}
