//! A watch stream as these tests see it: requests go in when they are sent, answers come out when
//! they are asked for.

use futures_util::{Stream, stream};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming, transport::Channel};
use witan_api::v3::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, WatchCancelRequest, WatchCreateRequest,
    WatchProgressRequest, WatchRequest, WatchResponse, kv_client::KvClient,
    watch_client::WatchClient, watch_request::RequestUnion,
};
use witan_e2e::wait::PATIENCE;

/// Requests that wait to be sent.
const REQUESTS_MAX: usize = 1024;

/// One open stream.
pub(crate) struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

pub(crate) fn create(request: WatchCreateRequest) -> WatchRequest {
    union(RequestUnion::CreateRequest(request))
}

pub(crate) fn cancel(watch_id: i64) -> WatchRequest {
    union(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
}

pub(crate) fn progress() -> WatchRequest {
    union(RequestUnion::ProgressRequest(WatchProgressRequest {}))
}

pub(crate) fn union(union: RequestUnion) -> WatchRequest {
    WatchRequest { request_union: Some(union) }
}

/// From now on.
pub(crate) fn key(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.to_owned().into(), ..Default::default() }
}

/// From a revision on.
pub(crate) fn from(key_: &str, range_end: &str, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        range_end: range_end.to_owned().into(),
        start_revision,
        ..key(key_)
    }
}

impl Watching {
    /// Opens a stream with its first request.
    pub(crate) async fn open(channel: &Channel, first: WatchRequest) -> Self {
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        requests.send(first).await.expect("the queue is open");
        let answers = WatchClient::new(channel.clone())
            .max_decoding_message_size(usize::MAX)
            .watch(stream_of(queue))
            .await
            .expect("a watch stream")
            .into_inner();
        Self { requests, answers }
    }

    pub(crate) async fn send(&self, request: WatchRequest) {
        self.requests
            .send(request)
            .await
            .expect("the stream is open");
    }

    /// The next answer.
    pub(crate) async fn next(&mut self) -> WatchResponse {
        match self.try_next().await {
            Ok(Some(answer)) => answer,
            other => panic!("an answer, not {other:?}"),
        }
    }

    /// The next answer, or how the stream ended.
    pub(crate) async fn try_next(&mut self) -> Result<Option<WatchResponse>, Status> {
        timeout(PATIENCE, self.answers.message())
            .await
            .unwrap_or_else(|_| panic!("no answer for {PATIENCE:?}"))
    }

    /// Says that nothing more will be asked.
    pub(crate) fn finish(self) -> Streaming<WatchResponse> {
        self.answers
    }
}

fn stream_of(queue: mpsc::Receiver<WatchRequest>) -> impl Stream<Item = WatchRequest> {
    stream::unfold(queue, |mut queue| async move {
        Some((queue.recv().await?, queue))
    })
}

/// Writes, and gives the revision.
pub(crate) async fn put(channel: &Channel, key: &str, value: impl Into<Vec<u8>>) -> i64 {
    let request = PutRequest {
        key: key.to_owned().into(),
        value: value.into().into(),
        ..Default::default()
    };
    let answer = KvClient::new(channel.clone()).put(request).await;
    answer
        .expect("a put")
        .into_inner()
        .header
        .expect("a header")
        .revision
}

pub(crate) async fn delete(channel: &Channel, key: &str, range_end: &str) {
    let request = DeleteRangeRequest {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        ..Default::default()
    };
    let answer = KvClient::new(channel.clone()).delete_range(request).await;
    answer.expect("a deletion");
}

pub(crate) async fn compact(channel: &Channel, revision: i64) {
    let request = CompactionRequest { revision, physical: false };
    let answer = KvClient::new(channel.clone()).compact(request).await;
    answer.expect("a compaction");
}
