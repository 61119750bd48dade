//! A follower is lost with its disk, removed, and replaced by a new member, while clients write at a rate: how long until
//! the new one votes, and what the clients notice.
#![expect(clippy::print_stdout, reason = "a program that prints tables")]

use std::time::{Duration, Instant};

use tokio::{join, time::sleep};
use witan_api::v3::etcdserverpb::{
    MemberAddRequest, MemberPromoteRequest, MemberRemoveRequest, cluster_client::ClusterClient,
};
use witan_e2e::{Cluster, cluster, grpc, wait};

use super::{FILLERS, MEMBERS, Options, catch_up};
use crate::{floor, load, paced, program::Program, subject::Subject, table, verb::Verb};

/// Puts per second while the member is replaced.
const RATE: u32 = 5000;

/// Time after filling, in which checkpoints and the like settle.
const SETTLE: Duration = Duration::from_secs(5);

/// Between two attempts to promote the learner.
const RETRY: Duration = Duration::from_millis(50);

pub(super) async fn measure(options: &Options) {
    println!("{}", table::REPLACED_HEAD);
    for program in &options.programs {
        let line = one(program, options).await;
        println!("| {} | {} | {line}", options.behind_mib, program.name);
    }
    println!();
}

async fn one(program: &Program, options: &Options) -> String {
    let mut cluster = program.cluster(MEMBERS);
    cluster.start_all();
    let values = (options.behind_mib << 20) / (Verb::LARGE_BYTES as u64);
    let first = cluster.member(cluster.leader()).address();
    load::fill(&first, Verb::LargePut, values, FILLERS).await;
    sleep(SETTLE).await;
    let leader = cluster.leader();
    let subject = Subject::cluster(&cluster, leader);
    let quiet = paced::run(&subject, || Verb::Put, RATE, options.length).await;
    let joining = replace(&mut cluster, leader, program).await;
    let begun = Instant::now();
    cluster.member_mut(joining).start_unready_again();
    let subject = Subject::cluster(&cluster, leader);
    let (done, end) = catch_up::done_and_end();
    let busy = paced::run_until(&subject, || Verb::Put, RATE, end);
    let took = async {
        let voted = votes(&cluster, leader, joining).await;
        drop(done);
        voted.then(|| begun.elapsed())
    };
    let (busy, took) = join!(busy, took);
    let copied = floor::copy(cluster.member(leader).dir(), options.behind_mib << 20);
    table::replaced_line(&quiet, &busy, took, copied)
}

/// Kills a follower, removes it, and adds a learner that is not started yet; returns the learner's place.
async fn replace(cluster: &mut Cluster, leader: usize, program: &Program) -> usize {
    let lost = cluster.follower();
    let id = wait::until("the follower answers", || {
        cluster::status(cluster.member(lost))
    })
    .id;
    cluster.member_mut(lost).kill9();
    let mut client = ClusterClient::new(grpc::connect(&cluster.member(leader).address()).await);
    let removed = client.member_remove(MemberRemoveRequest { id }).await;
    removed.expect("two of three members can remove one");
    let present: Vec<usize> = (0..MEMBERS).filter(|at| *at != lost).collect();
    let joining = cluster.prepare_joining_of(&program.launch(), "http", &present);
    let peer_urls = vec![cluster.member(joining).peer_url()];
    let added = client.member_add(MemberAddRequest { peer_urls, is_learner: true });
    added.await.expect("a learner can be added");
    joining
}

/// Completes when the learner has applied what the leader had, and is promoted; `false` if it does not get that far.
async fn votes(cluster: &Cluster, leader: usize, joining: usize) -> bool {
    let members = [leader, joining].map(|at| cluster.member(at).address());
    if !catch_up::catches_up(members).await {
        return false;
    }
    let mut client = ClusterClient::new(grpc::connect(&cluster.member(leader).address()).await);
    let id = wait::until("the learner answers", || {
        cluster::status(cluster.member(joining))
    })
    .id;
    while client
        .member_promote(MemberPromoteRequest { id })
        .await
        .is_err()
    {
        sleep(RETRY).await;
    }
    true
}
