//! Compares Witan with etcd on this machine: one client process loads each server in turn.
//!
//! `witan-bench [--seconds N] [--rounds N] [--servers witan,etcd36,etcd34] [--loads put:64,v2get:1]` prints a table of loads.
//! By default, these are all loads at 1, 64 and 1000 clients. `witan-bench --keys N,N [--value-bytes N] [--rebuild yes]` fills
//! each server with this number of keys, kills it and restarts it. With `--rebuild`, a learner also receives the state.
//! `--limit-mib N` limits the memory of each server; with `--keys`, the table shows whether the server survives.
//! `--witan after=PATH,before=PATH` compares several builds of witan; every other round uses the servers in reverse order.
//! Build witan in release first; `tests/tools` provides the etcd binaries.
#![expect(clippy::print_stdout, reason = "a program that prints tables")]

use std::{env, process::ExitCode, time::Duration};

use witan_bench::{
    floor, limited,
    load::{self, Measured},
    program::{Program, programs, turns},
    restart::{self, Scale},
    subject::Subject,
    table,
    verb::{VALUE_BYTES, Verb},
};
use witan_e2e::Server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers of clients, unless `--loads` is set.
const CLIENTS: [usize; 3] = [1, 64, 1000];

/// Number of clients that fill a server.
const FILLERS: usize = 256;

struct Options {
    seconds: u64,
    rounds: usize,
    scale: Scale,
    limit_bytes: Option<u64>,
    servers: Vec<Program>,
    loads: Vec<(Verb, usize)>,
}

fn main() -> ExitCode {
    witan_bench::run(
        options(env::args().skip(1)),
        "main.rs",
        async |options| match (options.scale.keys.is_empty(), options.limit_bytes) {
            (false, None) => restart::measure(&options.servers, &options.scale).await,
            (false, Some(limit)) => {
                limited::measure(&options.servers, &options.scale, limit).await;
            }
            (true, _) => compare(&options).await,
        },
    )
}

async fn compare(options: &Options) {
    let servers: Vec<(&Program, Server)> = options
        .servers
        .iter()
        .map(|program| (program, program.launch().start()))
        .collect();
    // Fill the servers, so that every get finds its key.
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

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let all = |verb| CLIENTS.map(|clients| (verb, clients));
    let mut options = Options {
        seconds: 4,
        rounds: 2,
        scale: Scale {
            keys: Vec::new(),
            value_bytes: VALUE_BYTES,
            rounds: 2,
            rebuild: false,
        },
        limit_bytes: None,
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
            "--keys" => {
                let keys = |text: &str| text.parse().map_err(|_| format!("no number: {text}"));
                options.scale.keys = value.split(',').map(keys).collect::<Result<_, _>>()?;
            }
            "--value-bytes" => {
                options.scale.value_bytes = usize::try_from(number()?).unwrap_or(usize::MAX);
            }
            "--rebuild" => options.scale.rebuild = value == "yes",
            "--limit-mib" => options.limit_bytes = Some(number()? << 20),
            "--servers" => servers = value,
            "--witan" => builds = Some(value),
            "--loads" => options.loads = value.split(',').map(load).collect::<Result<_, _>>()?,
            _ => return Err(format!("no such flag: {flag}")),
        }
    }
    options.scale.rounds = options.rounds;
    options.servers = programs(&servers, builds.as_deref())?;
    for program in &mut options.servers {
        program.limit_bytes = options.limit_bytes;
    }
    Ok(options)
}

fn load(text: &str) -> Result<(Verb, usize), String> {
    let wrong = || format!("no such load: {text}");
    let (name, clients) = text.split_once(':').ok_or_else(wrong)?;
    let verb = Verb::named(name).ok_or_else(wrong)?;
    Ok((verb, clients.parse().map_err(|_| wrong())?))
}
