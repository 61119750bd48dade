//! Puts at the rates of real clusters, far below the servers' maximum, spread over all members.

use std::time::Duration;

use witan_e2e::Cluster;

use super::{Options, occupied};
use crate::{
    load::{self, Measured},
    paced,
    program::turns,
    subject::Subject,
    table,
    verb::Verb,
};

/// Numbers of members in the compared clusters.
const SIZES: [usize; 2] = [3, 1];

pub(super) async fn measure(options: &Options) {
    println!("{}", table::RATES_HEAD);
    for members in SIZES {
        let mut clusters = Vec::new();
        for program in &options.programs {
            let cluster = program.cluster(members);
            let leader = cluster.member(cluster.leader()).address();
            load::fill(&leader, Verb::Put, load::KEYS).await;
            clusters.push((program, cluster));
        }
        let rates = options.rates.iter().map(|rate| Load::Puts(*rate));
        for load in rates.chain([Load::Occupied]) {
            let mut results = vec![Measured::default(); clusters.len()];
            for turn in turns(clusters.len(), options.rounds) {
                results[turn].add(load.measure(&clusters[turn].1, options.length).await);
            }
            for (turn, ((program, _), result)) in clusters.iter().zip(&results).enumerate() {
                let base = (turn > 0).then(|| &results[0]);
                println!(
                    "{}",
                    table::rates_line(members, &load.name(), &program.name, result, base)
                );
            }
        }
    }
    println!();
}

#[derive(Clone, Copy, Debug)]
enum Load {
    /// Puts per second. 0 means no clients.
    Puts(u32),
    /// Clients that watch and keep leases alive.
    Occupied,
}

impl Load {
    fn name(self) -> String {
        match self {
            Self::Puts(rate) => rate.to_string(),
            Self::Occupied => "0, watched".to_owned(),
        }
    }

    async fn measure(self, cluster: &Cluster, length: Duration) -> Measured {
        let subject = Subject::all_of(cluster);
        match self {
            Self::Puts(0) => load::run_idle(&subject, length).await,
            Self::Puts(rate) => paced::run(&subject, || Verb::Put, rate, length).await,
            Self::Occupied => occupied::run(cluster, length).await,
        }
    }
}
