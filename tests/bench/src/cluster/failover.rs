//! Kills the leader repeatedly and measures the time until a member acknowledges a write.
//!
//! A new put is sent to each survivor every few milliseconds. Earlier puts that are still waiting for the failed leader would
//! otherwise hide that the cluster serves again.

use std::time::{Duration, Instant};

use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_local},
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::kv_client::KvClient;
use witan_e2e::{Cluster, grpc, requests};

use super::{MEMBERS, Options};
use crate::table;

/// Interval between two puts to a survivor.
const PROBE: Duration = Duration::from_millis(2);

const FAILOVER_MAX: Duration = Duration::from_secs(30);

/// Upper bounds of the histogram's bars in milliseconds.
const BOUNDS_MS: [u32; 9] = [25, 50, 100, 200, 400, 800, 1600, 3200, u32::MAX];

/// Width of the longest bar.
const BAR: usize = 50;

pub(super) async fn measure(options: &Options) {
    let mut clusters = Vec::new();
    for program in &options.programs {
        clusters.push((program, program.cluster(MEMBERS), Vec::new()));
    }
    for _ in 0..options.kills {
        for (_, cluster, took) in &mut clusters {
            took.push(one(cluster).await);
        }
    }
    println!("{}", table::FAILOVER_HEAD);
    let mut base = None;
    for (program, _, took) in &mut clusters {
        took.sort_unstable();
        println!("{}", table::failover_line(&program.name, took, base));
        base.get_or_insert(took[took.len() / 2]);
    }
    for (program, _, took) in &clusters {
        println!("\n```text\n{}\n{}```", program.name, histogram(took));
    }
    println!();
}

/// Kills the leader and restarts it when the cluster is serving again. Returns the time from the kill to the first
/// acknowledgment.
async fn one(cluster: &mut Cluster) -> Duration {
    let leader = cluster.leader();
    let mut survivors = Vec::new();
    for (_, member) in cluster
        .members()
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != leader)
    {
        let channel = grpc::connect(&member.address()).await;
        // Open the connection before the kill.
        put(channel.clone()).await.expect("a cluster that serves");
        survivors.push(channel);
    }
    let begun = Instant::now();
    cluster.member_mut(leader).kill9();
    let served = timeout(FAILOVER_MAX, first_acknowledgment(survivors)).await;
    served.expect("the others serve without the leader");
    let took = begun.elapsed();
    cluster.member_mut(leader).start_again();
    took
}

/// Puts to the survivors at each [`PROBE`] until one put is acknowledged.
async fn first_acknowledgment(survivors: Vec<Channel>) {
    let (sender, mut acknowledged) = mpsc::channel(1);
    let probing = spawn_local(async move {
        let mut puts = JoinSet::new();
        let mut ticks = interval(PROBE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            for channel in &survivors {
                let (channel, sender) = (channel.clone(), sender.clone());
                puts.spawn_local(async move {
                    if put(channel).await.is_ok() {
                        // A full channel means that an earlier put was acknowledged.
                        let _ = sender.try_send(());
                    }
                });
            }
        }
    });
    acknowledged.recv().await;
    probing.abort();
}

async fn put(channel: Channel) -> Result<(), tonic::Status> {
    let put = requests::put("failover", "v");
    KvClient::new(channel).put(put).await.map(|_| ())
}

/// Returns a histogram with one line per bar.
fn histogram(sorted: &[Duration]) -> String {
    let mut from = 0;
    let bars = BOUNDS_MS.map(|bound| {
        let below = Duration::from_millis(u64::from(bound));
        let until = sorted.partition_point(|took| *took < below);
        let count = until - from;
        from = until;
        count
    });
    let most = bars.iter().copied().max().unwrap_or(0).max(1);
    let mut low = 0;
    let mut out = String::new();
    for (bound, count) in BOUNDS_MS.into_iter().zip(bars) {
        let range = match bound {
            u32::MAX => format!("{low} and more"),
            _ => format!("{low} to {bound}"),
        };
        let bar = "#".repeat((count * BAR).div_ceil(most));
        out += &format!("{range:>13} ms {count:>3} {bar}\n");
        low = bound;
    }
    out
}
