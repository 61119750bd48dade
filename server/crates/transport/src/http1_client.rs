//! Sends one HTTP/1 request on a separate connection to another member or to a discovery service.

use std::{future::pending, io};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::BODY_BYTES_MAX;

/// Sends a request, which must contain a `Host` header, and returns the response, whatever its status. Fails if the response's
/// body exceeds `BODY_BYTES_MAX`. Has no timeout.
pub async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<String>,
) -> io::Result<Response<Bytes>> {
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await;
        let (head, body) = response.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        Ok(Response::from_parts(head, body))
    };
    // A complete response is valid, no matter how the connection ends.
    let connection = async {
        drop(connection.await);
        pending().await
    };
    tokio::select! {
        answered = exchange => answered,
        never = connection => never,
    }
}
