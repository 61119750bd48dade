//! Replays the bytes that `mux` reads to select a protocol, or that `tls` reads to detect connections without TLS.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, ReadBuf};
use witan_http2::PREFACE;

/// A stream that replays its first bytes and then continues with the inner stream.
pub(super) struct ReplayedStream<S> {
    head: [u8; PREFACE.len()],
    /// Offset in `head` of the next byte to replay.
    from: usize,
    /// Offset in `head` of the end of the bytes to replay.
    to: usize,
    stream: S,
}

impl<S> ReplayedStream<S> {
    /// Creates a stream of the bytes `first` and then of `stream`. `first` must not be longer than the HTTP/2 preface.
    pub(super) fn after(first: &[u8], stream: S) -> Self {
        let mut head = [0; PREFACE.len()];
        head[..first.len()].copy_from_slice(first);
        Self { head, from: 0, to: first.len(), stream }
    }

    /// Returns the inner stream, or `None` if some bytes have not been replayed yet.
    pub(super) fn into_inner(self) -> Option<S> {
        (self.from == self.to).then_some(self.stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReplayedStream<S> {
    /// Reads the replayed bytes first, then the inner stream.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.from < this.to {
            let until = this.to.min(this.from + buf.remaining());
            buf.put_slice(&this.head[this.from..until]);
            this.from = until;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

/// Implements `AsyncWrite` with the field `stream`, for wrappers that change only reads.
macro_rules! pass_writes {
    ($wrapper:ident) => {
        impl<S: tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for $wrapper<S> {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.stream).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                self.stream.is_write_vectored()
            }

            fn poll_flush(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.stream).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.stream).poll_shutdown(cx)
            }
        }
    };
}

pass_writes!(ReplayedStream);

pub(super) use pass_writes;
