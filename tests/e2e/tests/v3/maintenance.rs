//! Compares status, hashes, defragmentation, leadership and refused downgrades with etcd 3.7's.

use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, HashRequest, PutRequest, TxnRequest,
    kv_client::KvClient, maintenance_client::MaintenanceClient, request_op::Request as Op,
};
use witan_e2e::{Kind, Launch, grpc, linear::client::Choice, requests, wait};

use super::{gateway, pair};

/// Fields with sizes of data and logs, which differ between servers.
const SIZES: [&str; 4] = ["dbSize", "dbSizeInUse", "raftIndex", "raftAppliedIndex"];

#[test]
fn both_servers_report_the_same_status() {
    let [ours, theirs] = pair().map(|server| {
        server.http("POST", "/v3/kv/put", r#"{"key":"Zm9v"}"#);
        let mut status = server.v3("maintenance/status", "{}");
        for size in SIZES {
            let size = status.as_object_mut().expect("fields").remove(size);
            assert!(size.is_some_and(|size| size != "0"));
        }
        status
    });
    assert_eq!(ours, theirs);
}

#[test]
fn history_is_in_use_until_it_is_compacted() {
    for server in pair() {
        let mib = || {
            let status = server.v3("maintenance/status", "{}");
            let bytes = status["dbSizeInUse"].as_str().expect("a size").to_owned();
            bytes.parse::<u64>().expect("a number") >> 20
        };
        let put = format!(r#"{{"key":"Zm9v","value":"{}"}}"#, "eHh4".repeat(4096));
        for _ in 0..200 {
            server.http("POST", "/v3/kv/put", &put);
        }
        // Only one of the 200 values of 12 KiB is live. etcd commits them a little later.
        wait::until_true("in use", || mib() >= 2);
        let series = "etcd_mvcc_db_total_size_in_use_in_bytes";
        assert!(server.metric(series) >= Some(f64::from(2 << 20)));
        server.v3("kv/compaction", r#"{"revision":"201","physical":true}"#);
        // etcd counts the pages as free once another write has been committed.
        wait::until_true("free", || {
            server.v3("kv/put", r#"{"key":"Zm9v","value":"YQ=="}"#);
            mib() == 0
        });
    }
}

const CALLS: &str = r#"
    maintenance/hash {}
    maintenance/hashkv {}
    maintenance/hashkv {"revision":100}
    maintenance/hashkv {"revision":-3}
    kv/put {"key":"Zm9v","value":"YmFy"}
    maintenance/hash {}
    maintenance/hashkv {"revision":"1"}
    kv/compaction {"revision":2,"physical":true}
    maintenance/hash {}
    maintenance/hashkv {"revision":"1"}
    maintenance/defragment {}
    maintenance/transfer-leadership {}
    maintenance/transfer-leadership {"targetID":"5"}
    maintenance/downgrade {}
    maintenance/downgrade {"action":"VALIDATE","version":"3.5.0"}
    maintenance/downgrade {"action":"ENABLE","version":"3.4"}
    maintenance/downgrade {"action":"CANCEL"}
    maintenance/downgrade {"action":5}
    maintenance/downgrade {"version":"v3.5"}
    maintenance/downgrade {"version":"3.5.0-rc1"}
"#;

#[test]
fn json_responses_are_equal() {
    gateway::same(CALLS);
}

fn key(choice: &mut Choice) -> String {
    format!("key-{}", choice.below(12))
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
}

fn put(choice: &mut Choice) -> PutRequest {
    let key = key(choice);
    requests::put(key, "v".repeat(choice.below(300)))
}

fn delete(choice: &mut Choice) -> DeleteRangeRequest {
    let range_end = match choice.below(8) {
        0 => "key-9",
        1 => "\0",
        _ => "",
    };
    requests::delete(key(choice), range_end)
}

/// Returns a random operation on a store at `revision`, or `None` for a compaction of a future revision. Updates `compacted`.
pub(super) fn step(choice: &mut Choice, revision: i64, compacted: &mut i64) -> Option<Step> {
    Some(match choice.below(20) {
        0..=9 => Step::Put(put(choice)),
        10..=13 => Step::Delete(delete(choice)),
        14..=17 => {
            let ops = (0..=choice.below(4)).map(|at| {
                let mut put = put(choice);
                put.key = format!("key-{at}").into();
                Op::RequestPut(put)
            });
            Step::Txn(requests::txn(ops))
        }
        _ => {
            let at = between(choice, revision, *compacted);
            if at > revision {
                return None;
            }
            *compacted = at;
            Step::Compact(CompactionRequest { revision: at, physical: true })
        }
    })
}

fn between(choice: &mut Choice, revision: i64, compacted: i64) -> i64 {
    compacted + 1 + choice.below((revision - compacted).max(1) as usize) as i64
}

pub(super) struct Client {
    kv: KvClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
}

impl Client {
    pub(super) async fn connect(address: &str) -> Self {
        let channel = grpc::connect(address).await;
        Self {
            kv: KvClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel),
        }
    }

    pub(super) async fn run(&mut self, step: Step) -> i64 {
        let kv = &mut self.kv;
        let header = match step {
            Step::Put(put) => kv.put(put).await.map(|said| said.into_inner().header),
            Step::Delete(delete) => kv
                .delete_range(delete)
                .await
                .map(|said| said.into_inner().header),
            Step::Txn(txn) => kv.txn(txn).await.map(|said| said.into_inner().header),
            Step::Compact(compact) => kv
                .compact(compact)
                .await
                .map(|said| said.into_inner().header),
        };
        header.expect("a sound request").expect("a header").revision
    }

    /// Returns the key hash of each revision, or its error, and then the hash of the entire store.
    pub(super) async fn hashes(&mut self, revisions: &[i64]) -> Vec<String> {
        let mut all = Vec::new();
        for revision in revisions {
            let asked = HashKvRequest { revision: *revision };
            all.push(match self.maintenance.hash_kv(asked).await {
                Ok(said) => format!("{revision}: {:?}", said.into_inner()),
                Err(status) => format!("{revision}: {status:?}"),
            });
        }
        let whole = self.maintenance.hash(HashRequest {}).await;
        all.push(format!("{:?}", whole.expect("a hash").into_inner()));
        all
    }
}

#[test]
fn hashes_of_the_same_operations_are_etcds() {
    const SEED: u64 = 5;
    // There are many operations, and hashing does not read the disk.
    let [ours, theirs] = [Kind::Witan, Kind::Etcd37]
        .map(|kind| Launch::new(kind).same_ids().without_fsync().start());
    grpc::runtime().block_on(async {
        let mut clients = [
            Client::connect(&ours.address()).await,
            Client::connect(&theirs.address()).await,
        ];
        let mut choice = Choice(SEED);
        let (mut revision, mut compacted) = (1, 0);
        for round in 0..400 {
            let Some(step) = step(&mut choice, revision, &mut compacted) else {
                continue;
            };
            let after = [
                clients[0].run(step.clone()).await,
                clients[1].run(step.clone()).await,
            ];
            assert_eq!(after[0], after[1], "round {round}: {step:?}");
            revision = after[0];
            // At its compacted revision, etcd returns the hash from before the compaction.
            let between = between(&mut choice, revision, compacted);
            let asked = [0, between.min(revision), revision + 1];
            let asked: Vec<i64> = asked.into_iter().filter(|r| *r != compacted).collect();
            let hashes = [
                clients[0].hashes(&asked).await,
                clients[1].hashes(&asked).await,
            ];
            assert_eq!(hashes[0], hashes[1], "round {round}: {step:?}");
        }
        assert!(compacted > 50, "the sequence has compactions");
    });
}
