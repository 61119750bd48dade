//! Tests a feed from a member that sends changes faster than the feed reads them.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::{net::TcpListener, sync::Notify};
use witan_api::v3::etcdserverpb::RangeResponse;

use super::*;
use crate::{command::ClientFlags, members::WINDOW_BYTES};

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// The archiver does not read the watch while it waits for an answer, so changes fill the stream's window.
#[tokio::test]
async fn an_unread_watch_does_not_block_responses() {
    let (endpoint, is_full) = serve().await;
    let endpoints = [endpoint.clone()];
    let members = Members::new(&endpoints, &ClientFlags::default()).unwrap();
    let mut feed = Feed::open(&members, &endpoint, 2).await.unwrap();
    is_full.notified().await;
    assert_eq!(feed.read_head().await.unwrap(), header());
}

/// Serves a member of cluster 7 at revision 12. Returns its URL, and a signal that a watch has filled its window.
pub(in crate::changes) async fn serve() -> (String, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let is_full = Arc::new(Notify::new());
    let notified = is_full.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let is_full = notified.clone();
            let service = service_fn(move |request| answer(request, is_full.clone()));
            let builder = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    (endpoint, is_full)
}

fn header() -> ResponseHeader {
    ResponseHeader {
        cluster_id: 7,
        revision: 12,
        raft_term: 3,
        ..ResponseHeader::default()
    }
}

/// Answers a watch with one message larger than the window, and a read with a header.
async fn answer(request: Request<Incoming>, is_full: Arc<Notify>) -> Result<Answer, Infallible> {
    let body = if request.uri().path() == "/etcdserverpb.Watch/Watch" {
        // hyper passes the message to the connection before it polls another stream.
        let sent = stream::once(async move {
            is_full.notify_one();
            Ok(message(&vec![0; WINDOW_BYTES as usize * 4]))
        });
        BodyExt::boxed(StreamBody::new(sent.chain(stream::pending())))
    } else {
        let answer = RangeResponse { header: Some(header()), ..RangeResponse::default() };
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let frames = [message(&answer.encode_to_vec()), Frame::trailers(trailers)];
        BodyExt::boxed(StreamBody::new(stream::iter(frames.map(Ok))))
    };
    let answer = Response::builder().header("content-type", "application/grpc");
    Ok(answer.body(body).unwrap())
}

/// Frames an uncompressed gRPC message: a zero byte, the length, and the bytes.
fn message(bytes: &[u8]) -> Frame<Bytes> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(bytes);
    Frame::data(framed.into())
}
