//! Compares three members of Witan with three members of etcd.
//!
//! `cluster [--seconds N] [--rounds N] [--servers witan,etcd36,etcd34] [--witan after=PATH,before=PATH] [--parts
//! requests,rates,wide-watches,kubernetes,memory,failover,catch-up,replaced] [--loads
//! put:64:leader,get:1:follower,put:64:all] [--rates 0,500] [--streams N] [--puts N] [--value-bytes N] [--nodes 1000,5000]
//! [--watchers N] [--keys N] [--kills N] [--behind-mib N] [--peers http|https]` prints a table for each part. The defaults give
//! a first impression; `docs/benchmarks.md` lists the arguments for its tables.

use std::{env, process::ExitCode, time::Duration};

use witan_bench::{
    cluster::{Load, Options, Part},
    program::programs,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = options(env::args().skip(1));
    witan_bench::run(options, "bin/cluster.rs", async |(options, parts)| {
        for part in parts {
            part.measure(&options).await;
        }
    })
}

fn options(mut args: impl Iterator<Item = String>) -> Result<(Options, Vec<Part>), String> {
    let mut options = Options {
        programs: Vec::new(),
        loads: Load::all(),
        rates: vec![0, 100, 500, 1000, 2000],
        nodes: vec![1000, 2000, 5000, 10_000, 20_000, 40_000, 80_000, 160_000],
        watchers: 500,
        streams: 10_000,
        puts: 2,
        value_bytes: 3 << 10,
        length: Duration::from_secs(2),
        rounds: 1,
        keys: 100_000,
        kills: 5,
        behind_mib: 64,
    };
    let mut parts = Part::ALL.to_vec();
    let (mut servers, mut builds) = ("witan,etcd36,etcd34".to_owned(), None);
    let mut peer_scheme = "http";
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || {
            let number = value.parse::<u64>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| format!("{flag}: no number above 0: {value}"))
        };
        let count = || number().map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        match flag.as_str() {
            "--seconds" => options.length = Duration::from_secs(number()?),
            "--rounds" => options.rounds = count()?,
            "--keys" => options.keys = number()?,
            "--kills" => options.kills = count()?,
            "--behind-mib" => options.behind_mib = number()?,
            "--peers" if value == "http" => peer_scheme = "http",
            "--peers" if value == "https" => peer_scheme = "https",
            "--servers" => servers = value,
            "--witan" => builds = Some(value),
            "--parts" => parts = value.split(',').map(part).collect::<Result<_, _>>()?,
            "--rates" => options.rates = numbers(&value)?,
            "--nodes" => options.nodes = numbers(&value)?,
            "--watchers" => options.watchers = count()?,
            "--streams" => options.streams = count()?,
            "--puts" => options.puts = u32::try_from(number()?).unwrap_or(u32::MAX),
            "--value-bytes" => options.value_bytes = count()?,
            "--loads" => {
                options.loads = value
                    .split(',')
                    .map(Load::named)
                    .collect::<Result<_, _>>()?;
            }
            _ => return Err(format!("no such flag: {flag}")),
        }
    }
    options.programs = programs(&servers, builds.as_deref())?;
    for program in &mut options.programs {
        program.peer_scheme = peer_scheme;
    }
    Ok((options, parts))
}

fn numbers(text: &str) -> Result<Vec<u32>, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("no number: {text}"));
    text.split(',').map(number).collect()
}

fn part(name: &str) -> Result<Part, String> {
    let mut parts = Part::ALL.into_iter();
    let part = parts.find(|part| part.name() == name);
    part.ok_or_else(|| format!("no such part: {name}"))
}
