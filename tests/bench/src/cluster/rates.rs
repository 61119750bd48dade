//! Puts at the rates of real clusters, spread over all members: far below what the servers can take.
#![expect(clippy::print_stdout, reason = "a program that prints tables")]

use std::time::Duration;

use witan_e2e::Cluster;

use super::{FILLERS, Options};
use crate::{
    load::{self, Measured},
    paced,
    program::turns,
    subject::Subject,
    table,
    verb::Verb,
};

/// Numbers of members.
const SIZES: [usize; 2] = [3, 1];

pub(super) async fn measure(options: &Options) {
    println!("{}", table::RATES_HEAD);
    for members in SIZES {
        let mut clusters = Vec::new();
        for program in &options.programs {
            let mut cluster = program.cluster(members);
            cluster.start_all();
            let leader = cluster.member(cluster.leader()).address();
            load::fill(&leader, Verb::Put, load::KEYS, FILLERS).await;
            clusters.push((program, cluster));
        }
        for &rate in &options.rates {
            let mut results = vec![Measured::default(); clusters.len()];
            for turn in turns(clusters.len(), options.rounds) {
                results[turn].add(one(&clusters[turn].1, rate, options.length).await);
            }
            for (turn, ((program, _), result)) in clusters.iter().zip(&results).enumerate() {
                let base = (turn > 0).then(|| &results[0]);
                println!(
                    "{}",
                    table::rates_line(members, rate, &program.name, result, base)
                );
            }
        }
    }
    println!();
}

/// Measures one cluster at a rate.
async fn one(cluster: &Cluster, rate: u32, length: Duration) -> Measured {
    let subject = Subject::all_of(cluster);
    match rate {
        0 => load::run_idle(&subject, length).await,
        _ => paced::run(&subject, || Verb::Put, rate, length).await,
    }
}
