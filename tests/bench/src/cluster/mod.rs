//! Compares clusters of three members: requests, watches, the load of Kubernetes nodes, memory, failover, and a member that
//! catches up.

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

/// Number of clients that fill a cluster.
const FILLERS: usize = 256;

/// A part of the benchmark, which measures one property of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Requests at the leader, at a follower and at all members.
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
    /// All parts in the order of the document.
    pub const ALL: [Part; 8] = [
        Part::Requests,
        Part::Rates,
        Part::WideWatches,
        Part::Kubernetes,
        Part::Memory,
        Part::Failover,
        Part::CatchUp,
        Part::Replaced,
    ];

    /// Returns the name of the part on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Part::Requests => "requests",
            Part::Rates => "rates",
            Part::WideWatches => "wide-watches",
            Part::Kubernetes => "kubernetes",
            Part::Memory => "memory",
            Part::Failover => "failover",
            Part::CatchUp => "catch-up",
            Part::Replaced => "replaced",
        }
    }

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
#[derive(Clone, Debug)]
pub struct Options {
    /// The programs. The first one is the base of all ratios.
    pub programs: Vec<Program>,
    /// The loads of [`Part::Requests`].
    pub loads: Vec<Load>,
    /// Puts per second of [`Part::Rates`]. 0 measures idle clusters.
    pub rates: Vec<u32>,
    /// Numbers of nodes of [`Part::Kubernetes`], one per step.
    pub nodes: Vec<u32>,
    /// Number of watchers of single nodes of [`Part::Kubernetes`].
    pub watchers: usize,
    /// Number of streams of [`Part::WideWatches`].
    pub streams: usize,
    /// Puts per second of [`Part::WideWatches`].
    pub puts: u32,
    /// Size of a value of [`Part::WideWatches`] in bytes.
    pub value_bytes: usize,
    /// Duration of one measurement.
    pub length: Duration,
    /// Number of measurements of each load on each program.
    pub rounds: usize,
    /// Number of keys of [`Part::Memory`].
    pub keys: u64,
    /// Number of times that the leader is killed.
    pub kills: usize,
    /// MiB of values that the member of [`Part::CatchUp`] has missed, or that the member of [`Part::Replaced`] must receive.
    pub behind_mib: u64,
}
