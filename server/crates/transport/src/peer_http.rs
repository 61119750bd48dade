//! HTTP/1 on the peer port, served by actix-web: one short request per connection. The caller handles members' streams, which
//! begin with other bytes, and limits the time.

use std::{
    io::{self, Cursor},
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use actix_http::{HttpService, KeepAlive, Protocol, error::DispatchError};
use actix_service::{Service as _, ServiceFactory as _, boxed, map_config};
use actix_web::{
    App, Handler, HttpRequest, HttpResponse,
    dev::AppConfig,
    http::header::HttpDate,
    web::{self, Payload},
};
use tokio::io::{
    AsyncReadExt as _, AsyncWriteExt as _, Chain, Join, ReadHalf, Take, WriteHalf, join, split,
};

use super::{PeerStream, http1_stream::Http1Stream, limits::REFUSED_CLOSE_TIMEOUT};

/// Maximum size of the head of a request on the peer port, in bytes; a longer head is refused. As many bytes are read after the
/// head, so a body with longer chunks fails.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The bytes of a request: its head, which has already been read, and a bounded rest.
type Input = Chain<Cursor<Vec<u8>>, Take<ReadHalf<Box<dyn PeerStream>>>>;

/// A connection with one request.
type Connection = Http1Stream<Join<Input, WriteHalf<Box<dyn PeerStream>>>>;

/// Answers requests of the peer port on one thread.
#[derive(Clone)]
pub struct PeerHttp(
    boxed::RcService<(Connection, Protocol, Option<SocketAddr>), (), DispatchError>,
);

impl PeerHttp {
    /// Creates a service that calls `handler`.
    ///
    /// # Panics
    /// Panics outside a [`LocalSet`](tokio::task::LocalSet).
    pub async fn new(handler: impl Handler<(HttpRequest, Payload), Output = HttpResponse>) -> Self {
        let app = App::new().default_service(web::to(handler));
        let service = HttpService::<Connection, _, _>::build()
            .keep_alive(KeepAlive::Disabled)
            // The caller limits the time.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(REFUSED_CLOSE_TIMEOUT)
            .finish(map_config(app, |()| AppConfig::default()))
            .new_service(());
        let service = service.await.expect("the app has no data to create");
        Self(boxed::rc_service(service))
    }

    /// Answers the request that begins with `first`. Refuses a head that is too long and returns an error. Has no timeout.
    pub async fn answer(&self, mut stream: Box<dyn PeerStream>, first: &[u8]) -> io::Result<()> {
        let mut head = Vec::with_capacity(1 << 10);
        head.extend_from_slice(first);
        if !read_head(&mut stream, &mut head).await? {
            refuse(stream).await?;
            return Err(io::Error::other("the head of the request is too long"));
        }
        let (reading, writing) = split(stream);
        let input = Cursor::new(head).chain(reading.take(HEAD_BYTES_MAX as u64));
        let connection = Http1Stream::of_one_request(join(input, writing));
        let served = self.0.call((connection, Protocol::Http1, None)).await;
        served.map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Reads until the head is complete or invalid, or the client closes its side. actix parses the head later. Returns `false` if
/// the head is too long.
async fn read_head(stream: &mut Box<dyn PeerStream>, head: &mut Vec<u8>) -> io::Result<bool> {
    let mut checked = 0;
    while !ends_head(&head[checked..]) {
        // The end of the head may have been split between two reads.
        checked = head.len().saturating_sub(2);
        let free = HEAD_BYTES_MAX.saturating_sub(head.len());
        if free == 0 {
            return Ok(false);
        }
        if (&mut *stream).take(free as u64).read_buf(head).await? == 0 {
            break;
        }
    }
    Ok(true)
}

/// Returns whether the bytes contain an empty line, or a byte that no head may contain.
fn ends_head(bytes: &[u8]) -> bool {
    let foreign = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    bytes.windows(2).any(|two| two == b"\n\n")
        || bytes.windows(3).any(|three| three == b"\n\r\n")
        || bytes.iter().any(foreign)
}

/// Refuses a request whose head is too long, with actix's own answer.
async fn refuse(mut stream: Box<dyn PeerStream>) -> io::Result<()> {
    let date = HttpDate::from(SystemTime::now());
    let answer = format!(
        "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\nDate: {date}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
