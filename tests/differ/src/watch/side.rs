//! One server and its streams, with the received answers as lines.

use std::collections::BTreeMap;

use tonic::{Status, transport::Channel};
use witan_api::v3::{
    etcdserverpb::{
        CompactionRequest, WatchCreateRequest, WatchResponse, kv_client::KvClient,
        request_op::Request as Op, watch_create_request::FilterType,
    },
    mvccpb::Event,
};
use witan_e2e::{
    Kind, Launch, Server, grpc, requests, wait,
    watching::{Watching, cancel, create, from, key, progress},
};

use super::{
    draw::STREAMS,
    step::{At, Step},
};

/// A key that only this module writes. A watcher that receives its last change has received all earlier changes.
const MARKER: &str = "~";
/// Id of the marker's watcher on every stream.
const MARKER_ID: i64 = 1000;

/// Metric of watchers that have not caught up.
const SLOW: &str = "etcd_debugging_mvcc_slow_watcher_total";

pub(super) struct Side {
    server: Server,
    channel: Channel,
    streams: Vec<Opened>,
    revision: i64,
}

struct Opened {
    stream: Watching,
    /// Answers that were read and not yet returned.
    kept: Vec<WatchResponse>,
}

impl Side {
    /// Starts a new single-member cluster.
    pub(super) async fn start(kind: Kind) -> Self {
        let server = Launch::new(kind).without_fsync().start();
        let channel = grpc::connect(&server.address()).await;
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            streams.push(open(&channel).await);
        }
        Self { server, channel, streams, revision: 1 }
    }

    /// Executes a step. Returns its result, or an empty string if the result arrives later.
    pub(super) async fn take(&mut self, step: &Step) -> String {
        match step {
            Step::Put { key, value } => self.put(key, value).await,
            Step::Delete { key, end } => {
                let request = requests::delete(key.clone(), end.clone());
                let answer = self.kv().delete_range(request).await;
                self.outcome(answer.map(|a| a.into_inner().header))
            }
            Step::Txn { puts, delete } => self.txn(puts, delete.as_deref()).await,
            Step::Compact(at) => {
                let request = CompactionRequest {
                    revision: match self.at(*at) {
                        0 => self.revision,
                        revision => revision,
                    },
                    physical: true,
                };
                let answer = self.kv().compact(request).await;
                self.outcome(answer.map(|a| a.into_inner().header))
            }
            Step::Create { .. } => self.create(step).await,
            Step::Cancel { stream, id } => {
                // Both servers drop events that they have not delivered before the cancellation.
                self.settle();
                self.put(MARKER, "").await;
                self.deliver(*stream).await;
                self.streams[*stream].stream.send(cancel(*id)).await;
                self.fence(*stream).await;
                String::new()
            }
            Step::Progress { stream } => {
                // etcd drops the request while a watcher of the stream catches up.
                self.settle();
                self.streams[*stream].stream.send(progress()).await;
                self.fence(*stream).await;
                String::new()
            }
            Step::Reopen { stream } => {
                // The undelivered events of the old stream are lost.
                self.streams[*stream] = open(&self.channel).await;
                String::new()
            }
        }
    }

    /// Waits for all events and returns the events that each watcher received since the last call.
    pub(super) async fn received(&mut self) -> BTreeMap<String, Vec<String>> {
        self.settle();
        self.put(MARKER, "").await;
        let mut received = BTreeMap::<String, Vec<String>>::new();
        for at in 0..self.streams.len() {
            self.deliver(at).await;
            let answers = std::mem::take(&mut self.streams[at].kept);
            let answers = answers.into_iter().filter(|a| a.watch_id != MARKER_ID);
            for mut answer in answers.flat_map(by_revision) {
                // Other watchers receive the marker in random order.
                let only_marker = !answer.events.is_empty();
                answer
                    .events
                    .retain(|event| event.kv.as_ref().is_none_or(|kv| kv.key != MARKER));
                if only_marker && answer.events.is_empty() {
                    continue;
                }
                if let Some(header) = &mut answer.header {
                    (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
                }
                let watcher = format!("stream {at} watcher {}", answer.watch_id);
                received
                    .entry(watcher)
                    .or_default()
                    .push(format!("{answer:?}"));
            }
        }
        received
    }

    /// Reads and keeps the answers of a stream up to the newest marker.
    async fn deliver(&mut self, at: usize) {
        let opened = &mut self.streams[at];
        loop {
            let answer = opened.stream.next().await;
            let events = answer.events.iter().filter_map(|event| event.kv.as_ref());
            let marked = events
                .filter(|kv| kv.key == MARKER)
                .map(|kv| kv.mod_revision);
            let is_newest = answer.watch_id == MARKER_ID && marked.last() == Some(self.revision);
            opened.kept.push(answer);
            if is_newest {
                return;
            }
        }
    }

    /// Waits until all watchers have caught up.
    fn settle(&self) {
        wait::until_true("all watchers have caught up", || {
            self.server.metric(SLOW) == Some(0.0)
        });
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }

    /// Returns the revision of a header, or the error. The revision becomes the current revision.
    fn outcome(
        &mut self,
        answer: Result<Option<witan_api::v3::etcdserverpb::ResponseHeader>, Status>,
    ) -> String {
        match answer {
            Ok(header) => {
                self.revision = header.map_or(0, |header| header.revision);
                self.revision.to_string()
            }
            Err(status) => format!("{:?} {}", status.code(), status.message()),
        }
    }

    async fn put(&mut self, key: &str, value: &str) -> String {
        let answer = self
            .kv()
            .put(requests::put(key.to_owned(), value.to_owned()))
            .await;
        self.outcome(answer.map(|a| a.into_inner().header))
    }

    async fn txn(&mut self, puts: &[String], delete: Option<&str>) -> String {
        let puts = puts
            .iter()
            .map(|key| Op::RequestPut(requests::put(key.clone(), "txn")));
        let delete = delete.map(|key| Op::RequestDeleteRange(requests::delete(key.to_owned(), "")));
        let answer = self.kv().txn(requests::txn(puts.chain(delete))).await;
        self.outcome(answer.map(|a| a.into_inner().header))
    }

    async fn create(&mut self, step: &Step) -> String {
        let Step::Create {
            stream,
            key: first,
            end,
            start,
            id,
            no_put,
            no_delete,
            prev_kv,
            fragment,
        } = step
        else {
            return String::new();
        };
        let filters = [
            (no_put, FilterType::Noput),
            (no_delete, FilterType::Nodelete),
        ];
        let request = WatchCreateRequest {
            filters: filters
                .into_iter()
                .filter(|(wanted, _)| **wanted)
                .map(|(_, filter)| filter.into())
                .collect(),
            prev_kv: *prev_kv,
            watch_id: *id,
            fragment: *fragment,
            ..from(first, end, self.at(*start))
        };
        self.streams[*stream].stream.send(create(request)).await;
        self.created(*stream).await;
        self.settle();
        String::new()
    }

    /// Reads until a watcher has been created or refused, and keeps all answers.
    async fn created(&mut self, stream: usize) {
        let opened = &mut self.streams[stream];
        loop {
            let answer = opened.stream.next().await;
            let created = answer.created;
            opened.kept.push(answer);
            if created {
                return;
            }
        }
    }

    /// Waits until the server has processed all requests of a stream. Sends a request that is refused, whose answer comes last
    /// and is dropped.
    async fn fence(&mut self, stream: usize) {
        let refused = create(from("b", "a", 0));
        self.streams[stream].stream.send(refused).await;
        self.created(stream).await;
        self.streams[stream].kept.pop();
    }

    fn at(&self, at: At) -> i64 {
        match at {
            At::Now => 0,
            At::Back(by) => (self.revision - by).max(1),
            At::Ahead(by) => self.revision + by,
            At::Exactly(revision) => revision,
        }
    }
}

/// Splits an answer into one answer per revision, because the server may combine revisions. Every part has the header that a
/// separate answer would have.
fn by_revision(answer: WatchResponse) -> Vec<WatchResponse> {
    let revision_of = |event: &Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
    let header_revision = answer.header.map_or(0, |header| header.revision);
    let last = answer.events.last().map(revision_of);
    if answer.events.is_empty() {
        return vec![answer];
    }
    let revisions = answer
        .events
        .chunk_by(|a, b| revision_of(a) == revision_of(b));
    revisions
        .map(|events| {
            let mut part = WatchResponse { events: events.to_vec(), ..answer.clone() };
            if let Some(header) = &mut part.header
                && last == Some(header_revision)
            {
                header.revision = revision_of(&events[0]);
            }
            part
        })
        .collect()
}

/// Opens a stream with the marker's watcher.
async fn open(channel: &Channel) -> Opened {
    let marker = WatchCreateRequest { watch_id: MARKER_ID, ..key(MARKER) };
    let mut stream = Watching::open(channel, create(marker)).await;
    let created = stream.next().await;
    assert!(created.created, "{created:?}");
    Opened { stream, kept: Vec::new() }
}
