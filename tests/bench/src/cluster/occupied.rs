//! A cluster without writes but with connected clients: idle watchers, and leases that etcd's client would keep alive.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use witan_api::v3::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, lease_client::LeaseClient,
};
use witan_e2e::{Cluster, grpc};

use crate::{
    load::{self, Measured},
    subject::Subject,
    watched::{Received, Watched},
};

/// Numbers of watchers and leases in the entire cluster.
const WATCHERS: usize = 1000;
const LEASES: usize = 1000;

/// TTL of a lease in seconds. A client renews the lease after a third of it.
const TTL_S: i64 = 60;

/// Measures for `length` with watchers and leases at all members.
pub(super) async fn run(cluster: &Cluster, length: Duration) -> Measured {
    let subject = Subject::all_of(cluster);
    let members = subject.addresses().len();
    let (received, mut clients) = (Received::new(), JoinSet::new());
    let mut leases = Vec::new();
    for (at, address) in subject.addresses().iter().enumerate() {
        let own: Vec<Watched> = (at..WATCHERS)
            .step_by(members)
            .map(|watcher| Watched::prefix(&format!("occupied/{watcher}")))
            .collect();
        received.watch(address, &own, 1, &mut clients).await;
        let count = (at..LEASES).step_by(members).len();
        leases.extend(keep_alive(address, count, &mut clients).await);
    }
    let measured = load::run_idle(&subject, length).await;
    assert!(clients.try_join_next().is_none(), "a client has ended");
    clients.shutdown().await;
    let mut client = LeaseClient::new(grpc::connect(subject.address()).await);
    for id in leases {
        let revoked = client.lease_revoke(LeaseRevokeRequest { id }).await;
        revoked.expect("the lease was kept alive");
    }
    measured
}

/// Grants `count` leases and renews them in turn on one stream while `clients` exists. Returns their ids. Panics if a lease or
/// the stream ends.
async fn keep_alive(address: &str, count: usize, clients: &mut JoinSet<()>) -> Vec<i64> {
    let mut client = LeaseClient::new(grpc::connect(address).await);
    let mut leases = Vec::new();
    for _ in 0..count {
        let granted = client.lease_grant(LeaseGrantRequest { ttl: TTL_S, id: 0 });
        leases.push(granted.await.expect("a lease").into_inner().id);
    }
    let count = u32::try_from(count).expect("few leases");
    let mut ticks = interval(Duration::from_secs(TTL_S.unsigned_abs()) / 3 / count);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let granted = leases.clone();
    let renewals = futures_util::stream::unfold((ticks, 0), move |(mut ticks, at)| {
        let id = leases[at % leases.len()];
        async move {
            ticks.tick().await;
            Some((LeaseKeepAliveRequest { id }, (ticks, at + 1)))
        }
    });
    clients.spawn_local(async move {
        let answers = client.lease_keep_alive(renewals).await;
        let mut answers = answers.expect("a stream").into_inner();
        while let Some(answer) = answers.next().await {
            assert!(answer.expect("an answer").ttl > 0, "the lease has ended");
        }
        panic!("a member ended a stream of keep-alives");
    });
    granted
}
