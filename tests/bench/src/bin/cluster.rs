//! Compares three members of Witan with three members of etcd. Prints a table for each part. The defaults give a first
//! impression; `tests/bench/tables` has the arguments for the tables of `docs/benchmarks.md`. `--help` lists the options.

use clap::{Parser, ValueEnum as _};
use witan_bench::{
    cluster::{Load, Options, Part},
    program::Selection,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Compares three members of Witan with three members of etcd.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    options: Options,
    /// The parts to measure; by default, all.
    #[arg(long, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Use TLS between members.
    #[arg(long)]
    peer_tls: bool,
}

fn main() {
    let Arguments { selection, mut options, parts, peer_tls } = Arguments::parse();
    options.programs = selection.programs();
    for program in &mut options.programs {
        program.peer_scheme = if peer_tls { "https" } else { "http" };
    }
    if options.loads.is_empty() {
        options.loads = Load::all();
    }
    let parts = match parts.as_slice() {
        [] => Part::value_variants(),
        chosen => chosen,
    };
    witan_bench::run(async {
        for part in parts {
            part.measure(&options).await;
        }
    });
}
