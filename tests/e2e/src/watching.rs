//! A watch stream on which a test sends each request and reads each response explicitly, with helpers that change keys.

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming, transport::Channel};
use witan_api::v3::etcdserverpb::{
    CompactionRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse, kv_client::KvClient, watch_client::WatchClient, watch_request::RequestUnion,
};

use crate::{requests, wait::PATIENCE};

/// Maximum number of requests that wait to be sent.
const REQUESTS_MAX: usize = 1024;

/// An open stream.
#[derive(Debug)]
pub struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

/// Creates a request for a watcher.
pub fn create(request: WatchCreateRequest) -> WatchRequest {
    union(RequestUnion::CreateRequest(request))
}

/// Creates a request that cancels a watcher.
pub fn cancel(watch_id: i64) -> WatchRequest {
    union(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
}

/// Creates a request for the stream's progress.
pub fn progress() -> WatchRequest {
    union(RequestUnion::ProgressRequest(WatchProgressRequest {}))
}

fn union(union: RequestUnion) -> WatchRequest {
    WatchRequest { request_union: Some(union) }
}

/// Creates a watch of a key from now on.
pub fn key(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.to_owned().into(), ..Default::default() }
}

/// Creates a watch of a range, starting at a revision.
pub fn from(key_: &str, range_end: &str, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        range_end: range_end.to_owned().into(),
        start_revision,
        ..key(key_)
    }
}

impl Watching {
    /// Opens a stream and sends its first request. Panics if the stream is refused.
    pub async fn open(channel: &Channel, first: WatchRequest) -> Self {
        Self::open_with(channel, None, first).await
    }

    /// Like [`Self::open`], with a user's token.
    pub async fn open_with(channel: &Channel, token: Option<&str>, first: WatchRequest) -> Self {
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        requests.send(first).await.expect("the queue is open");
        let request = requests::with_token(token, stream_of(queue));
        let answers = WatchClient::new(channel.clone())
            .max_decoding_message_size(usize::MAX)
            .watch(request)
            .await
            .expect("a watch stream")
            .into_inner();
        Self { requests, answers }
    }

    /// Sends a request. Panics if the stream has ended.
    pub async fn send(&self, request: WatchRequest) {
        let sent = self.requests.send(request).await;
        sent.expect("the stream is open");
    }

    /// Returns the next response. Panics if there is none, or if the stream ended with an error.
    pub async fn next(&mut self) -> WatchResponse {
        match self.try_next().await {
            Ok(Some(answer)) => answer,
            other => panic!("an answer, not {other:?}"),
        }
    }

    /// Returns the next response, or `None` at the end of the stream. Fails with the stream's final status. Panics if no
    /// response arrives within [`PATIENCE`].
    pub async fn try_next(&mut self) -> Result<Option<WatchResponse>, Status> {
        timeout(PATIENCE, self.answers.message())
            .await
            .unwrap_or_else(|_| panic!("no answer for {PATIENCE:?}"))
    }

    /// Closes the request stream and returns the response stream.
    pub fn finish(self) -> Streaming<WatchResponse> {
        self.answers
    }
}

fn stream_of(queue: mpsc::Receiver<WatchRequest>) -> impl Stream<Item = WatchRequest> {
    stream::unfold(queue, |mut queue| async move {
        Some((queue.recv().await?, queue))
    })
}

/// Puts a value and returns its revision. Panics if the put is refused.
pub async fn put(channel: &Channel, key: &str, value: impl Into<Bytes>) -> i64 {
    let request = requests::put(key.to_owned(), value);
    let answer = KvClient::new(channel.clone()).put(request).await;
    let header = answer.expect("a put").into_inner().header;
    header.expect("a header").revision
}

/// Deletes a key or a range. Panics if the deletion is refused.
pub async fn delete(channel: &Channel, key: &str, range_end: &str) {
    let request = requests::delete(key.to_owned(), range_end.to_owned());
    let answer = KvClient::new(channel.clone()).delete_range(request).await;
    answer.expect("a deletion");
}

/// Compacts the key space. Panics if the compaction is refused.
pub async fn compact(channel: &Channel, revision: i64) {
    let request = CompactionRequest { revision, physical: false };
    let answer = KvClient::new(channel.clone()).compact(request).await;
    answer.expect("a compaction");
}
