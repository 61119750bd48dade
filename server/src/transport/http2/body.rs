//! What a call is handed: the head of its request and its body, whole or as it comes.

use std::{
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use tokio::sync::mpsc::Receiver;
use tonic::Status;

use super::head::Head;
use crate::{
    metrics::{Call, Metrics},
    transport::grpc::{self, Messages},
};

/// A request.
#[derive(Debug)]
pub struct Incoming {
    /// Its head.
    pub head: Rc<Head>,
    /// Its body.
    pub body: Body,
}

/// The body of a request.
#[derive(Debug)]
pub enum Body {
    /// Collected before the call began.
    Whole(Bytes),
    /// Read by the call.
    Parts(Limited),
}

impl Incoming {
    /// In the form in which tonic takes it.
    pub fn into_request(self) -> Request<Limited> {
        let body = match self.body {
            Body::Whole(bytes) => Limited(Source::Whole(Some(bytes))),
            Body::Parts(limited) => limited,
        };
        Request::from_parts(self.head.parts.clone(), body)
    }
}

/// A request body that refuses a message that is too large as soon as its length is known.
#[derive(Debug)]
pub struct Limited(pub(super) Source);

#[derive(Debug)]
pub(super) enum Source {
    Whole(Option<Bytes>),
    Parts(Parts),
}

/// Chunks of a body on their way from the connection. Bounded by the stream's window, which opens
/// as they are taken.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) chunks: Receiver<Result<Bytes, Status>>,
    pub(super) credit: Arc<Credit>,
    pub(super) messages: Messages,
    pub(super) message_max: usize,
    pub(super) call: Option<Arc<Call>>,
    pub(super) metrics: Metrics,
}

/// Bytes that a call has taken since the connection last looked.
#[derive(Debug)]
pub(super) struct Credit {
    taken: AtomicUsize,
    connection: Waker,
}

impl Credit {
    pub(super) fn new(connection: Waker) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            connection,
        }
    }

    pub(super) fn collect(&self) -> usize {
        self.taken.swap(0, Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        if bytes > 0 {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
            self.connection.wake_by_ref();
        }
    }
}

impl Drop for Parts {
    /// What nobody will read takes no place in the window.
    fn drop(&mut self) {
        self.chunks.close();
        let mut left = 0;
        while let Ok(chunk) = self.chunks.try_recv() {
            left += chunk.map_or(0, |chunk| chunk.len());
        }
        self.credit.add(left);
    }
}

impl Parts {
    fn check(&mut self, chunk: &Bytes) -> Result<(), Status> {
        let (max, call, metrics) = (self.message_max, &self.call, &self.metrics);
        self.messages.follow(chunk, |length| {
            if length > max {
                return Err(grpc::too_large(length, max));
            }
            grpc::received(call.as_ref(), metrics, length);
            Ok(())
        })
    }
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let parts = match &mut self.0 {
            Source::Whole(whole) => {
                let message = whole.take().filter(|bytes| !bytes.is_empty());
                return Poll::Ready(message.map(|bytes| Ok(Frame::data(bytes))));
            }
            Source::Parts(parts) => parts,
        };
        Poll::Ready(match ready!(parts.chunks.poll_recv(cx)) {
            Some(Ok(chunk)) => {
                parts.credit.add(chunk.len());
                Some(parts.check(&chunk).map(|()| Frame::data(chunk)))
            }
            Some(Err(status)) => Some(Err(status)),
            None => None,
        })
    }
}
