//! Witan beside etcd on this machine: the same client drives each server in turn, in one run.
//!
//! `witan-bench [--seconds N] [--rounds N] [--keys N] [--servers witan,etcd36,etcd34]
//! [--loads put:1,put:64,put:1000,get:64]`. Build witan in release first; the etcd binaries come
//! from `tests/tools`. With `--keys` it only fills each server with so many keys and prints memory
//! and disk.
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use witan_bench::{
    load::{self, Measured, Verb},
    process, table,
};
use witan_e2e::{Kind, Launch, Server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients that fill a server.
const FILLERS: usize = 256;

/// A quiet second after filling, in which checkpoints and the like settle.
const SETTLE: Duration = Duration::from_secs(5);

struct Options {
    seconds: u64,
    rounds: usize,
    keys: Option<u64>,
    servers: Vec<Kind>,
    loads: Vec<(Verb, usize)>,
}

fn main() -> ExitCode {
    let options = match options(env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            println!("{wrong}; see the head of tests/bench/src/main.rs");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only a thread");
    match options.keys {
        Some(keys) => runtime.block_on(memory(&options.servers, keys)),
        None => runtime.block_on(compare(&options)),
    }
    ExitCode::SUCCESS
}

async fn compare(options: &Options) {
    let servers: Vec<Server> = options.servers.iter().map(|kind| launch(*kind)).collect();
    println!("{}", table::HEAD);
    for (verb, clients) in &options.loads {
        let mut results = vec![Measured::default(); servers.len()];
        for _ in 0..options.rounds {
            for (server, result) in servers.iter().zip(&mut results) {
                let length = Duration::from_secs(options.seconds);
                let address = server.address();
                result.add(load::run(&address, server.pid(), *verb, *clients, length).await);
            }
        }
        let name = format!(
            "{} {clients}",
            if *verb == Verb::Put { "put" } else { "get" }
        );
        for (at, (kind, result)) in options.servers.iter().zip(&results).enumerate() {
            let base = (at > 0).then(|| &results[0]);
            println!("{}", table::line(&name, kind.name(), result, base));
        }
    }
    println!();
    for (kind, server) in options.servers.iter().zip(&servers) {
        println!("{}", sizes(*kind, server));
    }
}

async fn memory(servers: &[Kind], keys: u64) {
    println!("{keys} keys of 16 + {} bytes", load::VALUE_BYTES);
    for kind in servers {
        let mut server = launch(*kind);
        let before = process::cpu(server.pid());
        load::fill(&server.address(), keys, FILLERS).await;
        tokio::time::sleep(SETTLE).await;
        let spent = process::cpu(server.pid()).saturating_sub(before);
        println!(
            "{}, CPU {:.1} s",
            sizes(*kind, &server),
            spent.as_secs_f64()
        );
        server.kill9();
        let begun = Instant::now();
        server.start_again();
        let restart = begun.elapsed().as_secs_f64();
        let resident = process::resident_bytes(server.pid()) >> 20;
        println!(
            "{:<8} restarts in {restart:.1} s with {resident} MiB",
            kind.name()
        );
    }
}

fn launch(kind: Kind) -> Server {
    Launch::new(kind).start()
}

fn sizes(kind: Kind, server: &Server) -> String {
    format!(
        "{:<8} memory {} MiB, on disk {} MiB, written {} MiB",
        kind.name(),
        process::resident_bytes(server.pid()) >> 20,
        process::folder_bytes(server.dir()) >> 20,
        process::written_bytes(server.pid()) >> 20,
    )
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        seconds: 4,
        rounds: 2,
        keys: None,
        servers: vec![Kind::Witan, Kind::Etcd36, Kind::Etcd34],
        loads: vec![
            (Verb::Put, 1),
            (Verb::Put, 64),
            (Verb::Put, 1000),
            (Verb::Get, 64),
        ],
    };
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
            "--servers" => {
                options.servers = value.split(',').map(kind).collect::<Result<_, _>>()?
            }
            "--loads" => options.loads = value.split(',').map(load).collect::<Result<_, _>>()?,
            _ => return Err(format!("no such flag: {flag}")),
        }
    }
    Ok(options)
}

fn kind(name: &str) -> Result<Kind, String> {
    [Kind::Witan, Kind::Etcd36, Kind::Etcd34]
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| format!("no such server: {name}"))
}

fn load(text: &str) -> Result<(Verb, usize), String> {
    let wrong = || format!("no such load: {text}");
    let (verb, clients) = text.split_once(':').ok_or_else(wrong)?;
    let verb = match verb {
        "put" => Verb::Put,
        "get" => Verb::Get,
        _ => return Err(wrong()),
    };
    Ok((verb, clients.parse().map_err(|_| wrong())?))
}
