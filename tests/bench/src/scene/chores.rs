//! Compaction and defragmentation while 64 clients write.

use std::time::Duration;

use tokio::time::Instant;
use witan_api::v3::etcdserverpb::{
    CompactionRequest, DefragmentRequest, RangeRequest, kv_client::KvClient,
    maintenance_client::MaintenanceClient,
};
use witan_e2e::{Server, grpc};

use crate::{
    load::{self, KEYS},
    subject::Subject,
    table::chores_line,
    verb::Verb,
};

const WRITERS: usize = 64;
/// Number of clients that first fill the server.
const FILLERS: usize = 256;
/// Pause between two chores.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chore {
    Compact,
    Defragment,
}

pub(super) async fn play(server: &Server, length: Duration, chore: Chore) -> String {
    let address = server.address();
    load::fill(&address, Verb::Put, KEYS, FILLERS).await;
    let subject = Subject::one(server);
    let quiet = load::run(&subject, Verb::Put, WRITERS, length).await;
    let busy = load::run(&subject, Verb::Put, WRITERS, length);
    let doing = tokio::task::spawn_local(repeat(address.clone(), chore, Instant::now() + length));
    let busy = busy.await;
    let times = doing.await.expect("no chore fails");
    chores_line(&quiet, &busy, times)
}

/// Repeats the chore until `until`. Returns the number of repetitions.
async fn repeat(address: String, chore: Chore, until: Instant) -> u64 {
    let channel = grpc::connect(&address).await;
    let mut kv = KvClient::new(channel.clone());
    let mut maintenance = MaintenanceClient::new(channel);
    let mut times = 0;
    while Instant::now() < until {
        tokio::time::sleep(PAUSE).await;
        match chore {
            Chore::Compact => {
                let now = kv.range(RangeRequest { key: "0".into(), ..RangeRequest::default() });
                let now = now.await.expect("an answer").into_inner().header;
                let compaction = CompactionRequest {
                    revision: now.expect("answers have a header").revision,
                    physical: true,
                };
                kv.compact(compaction).await.expect("it compacts");
            }
            Chore::Defragment => {
                let done = maintenance.defragment(DefragmentRequest {}).await;
                done.expect("it defragments");
            }
        }
        times += 1;
    }
    times
}
