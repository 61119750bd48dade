//! Compares clusters of three members: requests, rates, watches, Kubernetes' load, memory, failover, and a member that
//! catches up or is replaced.

mod catch_up;
mod failover;
mod kubernetes;
mod memory;
mod objects;
mod occupied;
mod rates;
mod replaced;
mod requests;
mod wide_watches;

use std::time::Duration;

use crate::program::Program;
pub use requests::Load;

/// Number of members in every cluster.
const MEMBERS: usize = 3;

/// A part of the benchmark, which measures one property of a cluster.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Part {
    /// Requests to the leader, to a follower and to all members.
    Requests,
    /// Puts at the rates of real clusters.
    Rates,
    /// Large events to many streams at all members.
    WideWatches,
    /// Node leases and pods, as in Kubernetes clusters.
    Kubernetes,
    /// Memory, disk and traffic of puts of distinct keys.
    Memory,
    /// `kill -9` of the leader.
    Failover,
    /// A member that catches up after many writes, while clients write.
    CatchUp,
    /// A member whose disk is lost and that is replaced, while clients write.
    Replaced,
}

impl Part {
    /// Measures the part and prints the results. Must run in a `LocalSet`. Panics if a server refuses a request.
    pub async fn measure(self, options: &Options) {
        match self {
            Part::Requests => requests::measure(options).await,
            Part::Rates => rates::measure(options).await,
            Part::WideWatches => wide_watches::measure(options).await,
            Part::Kubernetes => kubernetes::measure(options).await,
            Part::Memory => memory::measure(options).await,
            Part::Failover => failover::measure(options).await,
            Part::CatchUp => catch_up::measure(options).await,
            Part::Replaced => replaced::measure(options).await,
        }
    }
}

/// The settings of the measurements.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The programs. The first program is the base of all ratios.
    #[arg(skip)]
    pub programs: Vec<Program>,
    /// The loads of the part `requests`, such as put:64:leader; by default, all in docs/benchmarks.md.
    #[arg(long, value_delimiter = ',', value_parser = Load::named)]
    pub loads: Vec<Load>,
    /// Puts per second of the part `rates`. 0 measures idle clusters.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 100, 500, 1000, 2000])]
    pub rates: Vec<u32>,
    /// Numbers of nodes of the part `kubernetes`, one per step.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 2000, 5000, 10_000, 20_000, 40_000, 80_000, 160_000])]
    pub nodes: Vec<u32>,
    /// Number of watchers of single nodes of the part `kubernetes`.
    #[arg(long, default_value_t = 500)]
    pub watchers: usize,
    /// Number of streams of the part `wide-watches`.
    #[arg(long, default_value_t = 10_000)]
    pub streams: usize,
    /// Puts per second of the part `wide-watches`.
    #[arg(long, default_value_t = 2)]
    pub puts: u32,
    /// Size of a value of the part `wide-watches` in bytes.
    #[arg(long, default_value_t = 3 << 10)]
    pub value_bytes: usize,
    /// Seconds that one measurement takes.
    #[arg(long = "seconds", default_value = "2", value_parser = crate::seconds)]
    pub length: Duration,
    /// Number of measurements of each load on each program.
    #[arg(long, default_value_t = 1)]
    pub rounds: usize,
    /// Number of keys of the part `memory`.
    #[arg(long, default_value_t = 100_000)]
    pub keys: u64,
    /// Number of times that the part `failover` kills the leader.
    #[arg(long, default_value_t = 5)]
    pub kills: usize,
    /// MiB of values that the member of the part `catch-up` has missed, or that the member of the part `replaced` must receive.
    #[arg(long, default_value_t = 64)]
    pub behind_mib: u64,
}
