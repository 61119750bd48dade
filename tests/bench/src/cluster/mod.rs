//! Three members of each program beside one another: requests at the leader, at a follower and at all, watchers,
//! the load of Kubernetes' nodes, memory, what happens when the leader dies, and a member that catches up.

mod catch_up;
mod failover;
mod kubernetes;
mod memory;
mod objects;
mod occupied;
mod rates;
mod replaced;
mod requests;
mod watchers;
mod wide_watches;

use std::time::Duration;

use crate::program::Program;
pub use requests::Load;

/// Members of every cluster.
const MEMBERS: usize = 3;

/// Clients that fill a cluster.
const FILLERS: usize = 256;

/// The parts of the benchmark; each measures one property of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Requests at the leader, at a follower and at all members.
    Requests,
    /// Puts at the rates of real clusters.
    Rates,
    /// Events to 10,000 watchers at all members.
    Watchers,
    /// Large events to many streams at all members.
    WideWatches,
    /// Leases of nodes, and pods, of Kubernetes clusters.
    Kubernetes,
    /// Memory, disk and traffic of puts of distinct keys.
    Memory,
    /// `kill -9` of the leader.
    Failover,
    /// A member that missed much, while clients write.
    CatchUp,
    /// A member that is lost with its disk and replaced, while clients write.
    Replaced,
}

impl Part {
    /// All of them, in the order of the document.
    pub const ALL: [Part; 9] = [
        Part::Requests,
        Part::Rates,
        Part::Watchers,
        Part::WideWatches,
        Part::Kubernetes,
        Part::Memory,
        Part::Failover,
        Part::CatchUp,
        Part::Replaced,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Part::Requests => "requests",
            Part::Rates => "rates",
            Part::Watchers => "watchers",
            Part::WideWatches => "wide-watches",
            Part::Kubernetes => "kubernetes",
            Part::Memory => "memory",
            Part::Failover => "failover",
            Part::CatchUp => "catch-up",
            Part::Replaced => "replaced",
        }
    }

    /// Measures and prints. Needs a `LocalSet`.
    ///
    /// # Panics
    /// If a server refuses something.
    pub async fn measure(self, options: &Options) {
        match self {
            Part::Requests => requests::measure(options).await,
            Part::Rates => rates::measure(options).await,
            Part::Watchers => watchers::measure(options).await,
            Part::WideWatches => wide_watches::measure(options).await,
            Part::Kubernetes => kubernetes::measure(options).await,
            Part::Memory => memory::measure(options).await,
            Part::Failover => failover::measure(options).await,
            Part::CatchUp => catch_up::measure(options).await,
            Part::Replaced => replaced::measure(options).await,
        }
    }
}

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Programs, of which the first is the base of all ratios.
    pub programs: Vec<Program>,
    /// Loads of [`Part::Requests`].
    pub loads: Vec<Load>,
    /// Puts per second of [`Part::Rates`]; 0 measures clusters that nobody uses.
    pub rates: Vec<u32>,
    /// Nodes of [`Part::Kubernetes`], one step after the other.
    pub nodes: Vec<u32>,
    /// Watchers of single nodes of [`Part::Kubernetes`].
    pub watchers: usize,
    /// Streams of [`Part::WideWatches`].
    pub streams: usize,
    /// Puts per second of [`Part::WideWatches`].
    pub puts: u32,
    /// Bytes of the values of these puts.
    pub value_bytes: usize,
    /// Length of one measurement.
    pub length: Duration,
    /// How often each load is measured on each program.
    pub rounds: usize,
    /// Keys of [`Part::Memory`].
    pub keys: u64,
    /// How often the leader is killed.
    pub kills: usize,
    /// How many MiB of values the member of [`Part::CatchUp`] has missed, and that of [`Part::Replaced`] has to get.
    pub behind_mib: u64,
}
