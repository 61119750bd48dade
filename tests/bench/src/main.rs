//! Witan beside etcd on this machine: the same client drives each server in turn, in one run.
//!
//! `witan-bench [--seconds N] [--rounds N] [--servers witan,etcd36,etcd34] [--loads put:64,v2get:1]`
//! prints a table of loads (all of them, at 1, 64 and 1000 clients, if none are named).
//! `witan-bench --keys N` fills each server with so many keys, kills it and starts it again.
//! `--witan after=PATH,before=PATH` puts several builds of witan side by side; every other round
//! goes through the servers in the opposite order.
//! Build witan in release first; the etcd binaries come from `tests/tools`.
#![expect(clippy::print_stdout, reason = "a program that prints tables")]

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use witan_bench::{
    floor,
    load::{self, Measured},
    program::{Program, programs, turns},
    subject::Subject,
    table,
    verb::Verb,
};
use witan_e2e::{Server, process};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers of clients, unless loads are named.
const CLIENTS: [usize; 3] = [1, 64, 1000];

/// Clients that fill a server.
const FILLERS: usize = 256;

/// Time after filling, in which checkpoints and the like settle.
const SETTLE: Duration = Duration::from_secs(5);

struct Options {
    seconds: u64,
    rounds: usize,
    keys: Option<u64>,
    servers: Vec<Program>,
    loads: Vec<(Verb, usize)>,
}

fn main() -> ExitCode {
    witan_bench::run(
        options(env::args().skip(1)),
        "main.rs",
        async |options| match options.keys {
            Some(keys) => memory(&options, keys).await,
            None => compare(&options).await,
        },
    )
}

async fn compare(options: &Options) {
    let servers: Vec<(&Program, Server)> = options
        .servers
        .iter()
        .map(|program| (program, program.launch().start()))
        .collect();
    // so that every get finds its key
    for (program, server) in &servers {
        for verb in [Verb::Put, Verb::V2Put] {
            if verb.served_by(program.kind) {
                load::fill(&server.address(), verb, load::KEYS, FILLERS).await;
            }
        }
    }
    let length = Duration::from_secs(options.seconds);
    if let Some((_, server)) = servers.first() {
        let floor = floor::measure(server.dir(), length);
        let (median, slow) = (floor.quantile(0.5), floor.quantile(0.99));
        println!("append and fdatasync of one put alone: p50 {median:.2} ms, p99 {slow:.2} ms\n");
    }
    println!("{}", table::HEAD);
    for (verb, clients) in &options.loads {
        let able = servers.iter().filter(|(of, _)| verb.served_by(of.kind));
        let able: Vec<&(&Program, Server)> = able.collect();
        let mut results = vec![Measured::default(); able.len()];
        for at in turns(able.len(), options.rounds) {
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

async fn memory(options: &Options, keys: u64) {
    println!(
        "{keys} keys of 16 + {} bytes\n\n{}",
        witan_bench::verb::VALUE_BYTES,
        table::FILL_HEAD
    );
    for program in &options.servers {
        let mut server = program.launch().start();
        let before = process::cpu(server.pid());
        load::fill(&server.address(), Verb::Put, keys, FILLERS).await;
        tokio::time::sleep(SETTLE).await;
        let spent = process::cpu(server.pid()).saturating_sub(before);
        let resident = process::resident_bytes(server.pid()) >> 20;
        let disk = process::folder_bytes(server.dir()) >> 20;
        let written = process::written_bytes(server.pid()) >> 20;
        let (mut restart, mut start_cpu) = (Duration::MAX, Duration::MAX);
        // the least of all rounds: what is above it is other work of the machine
        for _ in 0..options.rounds {
            server.kill9();
            let begun = Instant::now();
            server.start_again();
            restart = restart.min(begun.elapsed());
            start_cpu = start_cpu.min(process::cpu(server.pid()));
        }
        let again = process::resident_bytes(server.pid()) >> 20;
        println!(
            "| {} | {resident} | {disk} | {written} | {:.1} | {:.1} | {:.1} | {again} |",
            program.name,
            spent.as_secs_f64(),
            restart.as_secs_f64(),
            start_cpu.as_secs_f64(),
        );
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let all = |verb| CLIENTS.map(|clients| (verb, clients));
    let mut options = Options {
        seconds: 4,
        rounds: 2,
        keys: None,
        servers: Vec::new(),
        loads: Verb::ALL.into_iter().flat_map(all).collect(),
    };
    let (mut servers, mut builds) = ("witan,etcd36,etcd34".to_owned(), None);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{flag}: no number: {value}"))
        };
        match flag.as_str() {
            "--seconds" => options.seconds = number()?.max(1),
            "--rounds" => options.rounds = usize::try_from(number()?.max(1)).unwrap_or(1),
            "--keys" => options.keys = Some(number()?),
            "--servers" => servers = value,
            "--witan" => builds = Some(value),
            "--loads" => options.loads = value.split(',').map(load).collect::<Result<_, _>>()?,
            _ => return Err(format!("no such flag: {flag}")),
        }
    }
    options.servers = programs(&servers, builds.as_deref())?;
    Ok(options)
}

fn load(text: &str) -> Result<(Verb, usize), String> {
    let wrong = || format!("no such load: {text}");
    let (name, clients) = text.split_once(':').ok_or_else(wrong)?;
    let verb = Verb::named(name).ok_or_else(wrong)?;
    Ok((verb, clients.parse().map_err(|_| wrong())?))
}
