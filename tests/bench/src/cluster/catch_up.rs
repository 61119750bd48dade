//! Measures how long a follower that missed many writes needs to apply the leader's entries while clients write, and the effect
//! on the clients.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{StatusRequest, maintenance_client::MaintenanceClient};
use witan_e2e::grpc;

use super::{MEMBERS, Options};
use crate::{load, program::Program, subject::Subject, table, verb::Verb};

/// Number of clients that write while the member catches up.
const WRITERS: usize = 64;

/// Maximum number of entries by which a caught-up follower may lag under load.
const LAG: u64 = 2000;

/// Pause between two checks of both members, and the timeout of a check.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Time limit within which a member must catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(180);

pub(super) async fn measure(options: &Options) {
    println!(
        "{} MiB behind, 64 writers\n\n{}",
        options.behind_mib,
        table::CATCH_UP_HEAD
    );
    for program in &options.programs {
        let line = one(program, options).await;
        println!("| {} | {line}", program.name);
    }
    println!();
}

/// Returns the row of a program. A follower misses the writes of a fill and catches up while clients write.
async fn one(program: &Program, options: &Options) -> String {
    let mut cluster = program.cluster(MEMBERS);
    let lagging = cluster.follower();
    cluster.member_mut(lagging).kill9();
    let leader = cluster.leader();
    let values = (options.behind_mib << 20) / (Verb::LARGE_BYTES as u64);
    let address = cluster.member(leader).address();
    load::fill(&address, Verb::LargePut, values).await;
    load::fill(&address, Verb::Put, load::KEYS).await;
    let mut lagging = cluster.take_member(lagging);
    let subject = Subject::cluster(&cluster, cluster.leader());
    let quiet = load::run(&subject, Verb::Put, WRITERS, options.length).await;
    let members = [subject.address().to_owned(), lagging.address()];
    let mut took = None;
    let busy = load::run_until(&subject, Verb::Put, WRITERS, async {
        let begun = Instant::now();
        lagging.start_unready_again();
        took = catches_up(members).await.then(|| begun.elapsed());
    });
    let busy = busy.await;
    table::catch_up_line(&quiet, &busy, took)
}

/// Waits until the second member is at most [`LAG`] entries behind the first one. Returns `false` on a timeout.
pub(super) async fn catches_up(members: [String; 2]) -> bool {
    let channels = members.map(|address| grpc::lazy(&address));
    timeout(CATCH_UP_MAX, caught_up(&channels)).await.is_ok()
}

async fn caught_up([leader, follower]: &[Channel; 2]) {
    loop {
        let indexes = (applied(leader).await, applied(follower).await);
        if matches!(indexes, (Some(wanted), Some(reached)) if reached + LAG >= wanted) {
            return;
        }
        sleep(LOOK).await;
    }
}

/// Returns the raft index of a member's last applied entry, or `None` if the member does not answer.
async fn applied(channel: &Channel) -> Option<u64> {
    let mut client = MaintenanceClient::new(channel.clone());
    let answer = timeout(LOOK_MAX, client.status(StatusRequest {})).await;
    Some(answer.ok()?.ok()?.into_inner().raft_applied_index)
}
