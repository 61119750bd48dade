//! The byte stream of an HTTP/1 connection, between the socket and actix. actix parses and limits HTTP/1. This filter adds what
//! etcd does and actix does not:
//!
//! - A request target may contain bytes that Go accepts and actix's URI type rejects (raw UTF-8, `<`, `#`, …). `request_filter`
//!   escapes them in every request line.
//! - A refused upgrade to another protocol (`Upgrade: h2c`, a WebSocket with a body) is removed from the head. Otherwise, actix
//!   would treat the body as endless.
//! - A malformed chunk gets a 400 response. actix would close the connection without a response.
//!
//! To find the next request line, the filter must find the end of each body exactly as actix does. Heads with ambiguous framing
//! pass, because actix refuses them; `tests::actix_refuses_heads_of_ambiguous_framing` fails if that changes. `header`
//! classifies each header line.
//!
//! A response that waits for events ends when the client closes its side of the connection: see [`ClientClosed`].

mod header;
mod request_filter;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::Extensions;
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::watch,
};
use witan_base::account::Account;

use self::request_filter::RequestFilter;
use super::{grpc::ConnectionInfo, sniffed::pass_writes};

/// Signals that the client has closed its side of the connection.
#[derive(Clone, Debug)]
pub struct ClientClosed(watch::Receiver<bool>);

impl ClientClosed {
    /// Completes when the client closes its side of the connection, or when the connection is dropped.
    pub async fn wait(mut self) {
        // An error means that the stream was dropped.
        let _ = self.0.wait_for(|ended| *ended).await;
    }
}

/// Marker in the connection data of a TLS connection.
#[derive(Clone, Copy, Debug)]
pub struct OverTls;

/// A stream of HTTP/1 requests.
pub(super) struct Http1Stream<S> {
    stream: S,
    filter: RequestFilter,
    /// Bytes that did not fit into the reader's buffer.
    held: Bytes,
    ended: watch::Sender<bool>,
    client: ConnectionInfo,
}

impl<S> Http1Stream<S> {
    /// Creates a stream that passes any number of requests.
    pub(super) fn new(stream: S, client: ConnectionInfo) -> Self {
        Self {
            stream,
            client,
            filter: RequestFilter::default(),
            held: Bytes::new(),
            ended: watch::Sender::new(false),
        }
    }

    /// Creates a stream that passes only one request, which cannot open a tunnel.
    pub(super) fn of_one_request(stream: S) -> Self {
        Self {
            filter: RequestFilter::single(),
            ..Self::new(stream, ConnectionInfo::default())
        }
    }

    /// Adds the connection's data for its requests: `account`, the TLS marker and [`ClientClosed`].
    pub(super) fn describe(&self, account: Account, data: &mut Extensions) {
        data.insert(ClientClosed(self.ended.subscribe()));
        data.insert(account);
        if self.client.over_tls {
            data.insert(OverTls);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Http1Stream<S> {
    /// Reads bytes as the filter passes or rewrites them. Signals [`ClientClosed`] at the end of the stream. After a refused
    /// body, reads nothing and reports the end.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // tokio bounds the reads in one poll.
        while this.held.is_empty() {
            if this.filter.has_refused_body() {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let read = &buf.filled()[before..];
            if read.is_empty() {
                if buf.remaining() > 0 {
                    this.ended.send_replace(true);
                }
                return Poll::Ready(Ok(()));
            }
            let Some(changed) = this.filter.pass(read) else {
                return Poll::Ready(Ok(()));
            };
            buf.set_filled(before);
            this.held = changed.into();
        }
        let fits = this.held.len().min(buf.remaining());
        buf.put_slice(&this.held.split_to(fits));
        Poll::Ready(Ok(()))
    }
}

pass_writes!(Http1Stream);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const GET: &[u8] = b"GET /\xe4<a>?q=\xff#x HTTP/1.1\r\nA: \xe4<\r\n\r\n";
    const ESCAPED: &[u8] = b"GET /%E4%3Ca%3E?q=%FF%23x HTTP/1.1\r\nA: \xe4<\r\n\r\n";

    #[tokio::test]
    async fn escapes_reach_a_reader_with_a_small_buffer() {
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(GET).await.unwrap();
        let mut requests = Http1Stream::new(server, ConnectionInfo::default());
        let ended = ClientClosed(requests.ended.subscribe());
        let mut read = Vec::new();
        let mut piece = [0; 5];
        while read.len() < ESCAPED.len() {
            let length = requests.read(&mut piece).await.unwrap();
            read.extend_from_slice(&piece[..length]);
        }
        assert_eq!(read, ESCAPED);
        drop(client);
        assert_eq!(requests.read(&mut piece).await.unwrap(), 0);
        ended.wait().await;
    }

    /// A reader treats an empty read as the end of the stream, so the filter must not cause one.
    #[tokio::test]
    async fn withheld_bytes_do_not_end_the_stream() {
        let (mut client, server) = tokio::io::duplex(1);
        let request = b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\nHost: x\r\n\r\n";
        let writing = async move { client.write_all(request).await };
        let mut read = Vec::new();
        let mut requests = Http1Stream::new(server, ConnectionInfo::default());
        let (written, length) = tokio::join!(writing, requests.read_to_end(&mut read));
        assert!(written.is_ok() && length.is_ok());
        assert_eq!(read, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
}
