//! Compactions, including automatic ones, remove old revisions and free their memory and disk space.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use witan_api::v3::etcdserverpb::{CompactionRequest, kv_client::KvClient};
use witan_e2e::{Kind, Launch, Tool, grpc, process, requests, wait};

#[test]
fn automatic_compaction_removes_old_revisions() {
    let flags = [
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1s",
    ];
    let said = [Kind::Witan, Kind::Etcd37].map(|kind| {
        let server = Launch::new(kind).arg(flags[0]).arg(flags[1]).start();
        for value in ["a", "b", "c"] {
            Tool::Etcdctl36.run(&server.url(), &["put", "k", value]);
        }
        let old = || Tool::Etcdctl36.run(&server.url(), &["get", "k", "--rev=2"]);
        let refused = wait::until("revision 2 to be compacted", || {
            let said = old();
            (said.code != Some(0)).then_some(said.stderr)
        });
        let last = refused.lines().last().unwrap_or_default().to_owned();
        let error = last
            .rsplit_once("\"error\":")
            .map_or(last.clone(), |(_, e)| e.to_owned());
        let now = Tool::Etcdctl36.run(&server.url(), &["get", "k", "--print-value-only"]);
        (error, now.stdout)
    });
    assert_eq!(said[0], said[1]);
    assert!(said[0].0.contains("has been compacted"), "{said:?}");
    assert_eq!(said[0].1, "c\n");
}

const VALUE_BYTES: usize = 64 << 10;
const KEYS: usize = 16;
const CLIENTS: usize = 16;
/// Maximum time until the log and the checkpoint shrink after a compaction on a busy disk. Outdated files stay for a minute.
const SHRINKS_WITHIN: Duration = Duration::from_secs(90);

type Kv = KvClient<tonic::transport::Channel>;

/// Puts values to [`KEYS`] keys concurrently. Returns the last revision.
async fn overwrite(kv: &Kv, puts: usize) -> i64 {
    let revisions = stream::iter(0..puts).map(|at| {
        let mut kv = kv.clone();
        async move {
            let value = vec![u8::try_from(at % 251).unwrap_or(0); VALUE_BYTES];
            let put = requests::put(format!("k{}", at % KEYS), value);
            let answer = kv.put(put).await.expect("the put is accepted").into_inner();
            answer.header.map_or(0, |header| header.revision)
        }
    });
    let revisions: Vec<i64> = revisions.buffer_unordered(CLIENTS).collect().await;
    revisions.into_iter().max().unwrap_or_default()
}

async fn compact(kv: &Kv, revision: i64) {
    let physical = CompactionRequest { revision, physical: true };
    kv.clone().compact(physical).await.expect("it is compacted");
}

#[test]
fn memory_and_disk_shrink_after_a_compaction() {
    let server = Launch::witan().start();
    grpc::runtime().block_on(async {
        let kv = KvClient::new(grpc::connect(&server.address()).await);
        // Half of this data exceeds two segments of the log, which every member keeps.
        let overwritten = 6144;
        let revision = overwrite(&kv, overwritten).await;
        let (memory, disk) = (
            process::resident_bytes(server.pid()),
            process::folder_bytes(server.dir()),
        );
        let values = (overwritten * VALUE_BYTES) as u64;
        assert!(memory > values, "only {memory} bytes are in memory");
        compact(&kv, revision).await;
        // Freed memory becomes available only when the thread that allocated it works again. Later writes cut the log and cause
        // a new checkpoint.
        let begun = Instant::now();
        while process::resident_bytes(server.pid()) > memory / 2
            || process::folder_bytes(server.dir()) > disk / 2
        {
            let now = (
                process::resident_bytes(server.pid()),
                process::folder_bytes(server.dir()),
            );
            let late = begun.elapsed() >= SHRINKS_WITHIN;
            assert!(!late, "{memory} and {disk} bytes; after all: {now:?}");
            let revision = overwrite(&kv, 512).await;
            compact(&kv, revision).await;
        }
    });
}
