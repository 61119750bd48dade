//! Replaces a follower whose disk is lost, while clients write at a rate. Measures the time until the new member votes, and the
//! effect on the clients.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use witan_api::v3::etcdserverpb::{
    MemberAddRequest, MemberPromoteRequest, MemberRemoveRequest, cluster_client::ClusterClient,
};
use witan_e2e::{Cluster, Server, cluster, grpc, wait};

use super::{MEMBERS, Options, catch_up};
use crate::{floor, load, paced, program::Program, subject::Subject, table, verb::Verb};

/// Puts per second while the member is replaced.
const RATE: u32 = 5000;

/// Pause between two attempts to promote the learner.
const RETRY: Duration = Duration::from_millis(50);
const ATTEMPTS: u32 = 1000;

pub(super) async fn measure(options: &Options) {
    println!("{}", table::REPLACED_HEAD);
    for program in &options.programs {
        let line = one(program, options).await;
        println!("| {} | {} | {line}", options.behind_mib, program.name);
    }
    println!();
}

/// Returns the row of a program: the load on a filled cluster, and the same load while a follower is replaced.
async fn one(program: &Program, options: &Options) -> String {
    let mut cluster = program.cluster(MEMBERS);
    let values = (options.behind_mib << 20) / (Verb::LARGE_BYTES as u64);
    let first = cluster.member(cluster.leader()).address();
    load::fill(&first, Verb::LargePut, values).await;
    sleep(load::SETTLE).await;
    let leader = cluster.leader();
    let subject = Subject::cluster(&cluster, leader);
    let quiet = paced::run(&subject, || Verb::Put, RATE, options.length).await;
    let (mut joining, id) = replace(&mut cluster, leader, program).await;
    let subject = Subject::cluster(&cluster, leader);
    let members = [subject.address().to_owned(), joining.address()];
    let mut took = None;
    let busy = paced::run_until(&subject, || Verb::Put, RATE, async {
        let begun = Instant::now();
        joining.start_unready_again();
        took = votes(members, id).await.then(|| begun.elapsed());
    });
    let busy = busy.await;
    let copied = floor::copy(cluster.member(leader).dir(), options.behind_mib << 20);
    table::replaced_line(&quiet, &busy, took, copied)
}

/// Kills a follower, removes it, and adds a learner without starting it. Returns the learner and its id.
async fn replace(cluster: &mut Cluster, leader: usize, program: &Program) -> (Server, u64) {
    let mut followers = (0..MEMBERS).filter(|at| *at != leader);
    let lost = followers.next().expect("three members");
    let status = || cluster::status(cluster.member(lost));
    let id = wait::until("the follower answers", status).id;
    cluster.member_mut(lost).kill9();
    let mut client = ClusterClient::new(grpc::connect(&cluster.member(leader).address()).await);
    let removed = client.member_remove(MemberRemoveRequest { id }).await;
    removed.expect("two of three members can remove one");
    let present: Vec<usize> = (0..MEMBERS).filter(|at| *at != lost).collect();
    let joining =
        cluster.prepare_joining_of(&program.member_launch(), program.peer_scheme, &present);
    let joining = cluster.take_member(joining);
    let peer_urls = vec![joining.peer_url()];
    let added = client.member_add(MemberAddRequest { peer_urls, is_learner: true });
    let added = added.await.expect("a learner can be added").into_inner();
    (joining, added.member.expect("the answer names it").id)
}

/// Waits until the learner, the second member, has nearly caught up with the leader, and promotes it. Returns `false` if one of
/// these steps takes too long.
async fn votes(members: [String; 2], id: u64) -> bool {
    let mut client = ClusterClient::new(grpc::connect(&members[0]).await);
    if !catch_up::catches_up(members).await {
        return false;
    }
    for _ in 0..ATTEMPTS {
        if client
            .member_promote(MemberPromoteRequest { id })
            .await
            .is_ok()
        {
            return true;
        }
        sleep(RETRY).await;
    }
    false
}
