//! Selects a connection's stack by its first bytes, after TLS decryption. A connection that starts with the HTTP/2 preface goes
//! to the crate `http2`, and any other connection to actix-web. Both stacks run on the actix worker that accepted the
//! connection. One handler answers all requests that are not gRPC.

use std::{io, net::SocketAddr, rc::Rc};

use actix_http::{HttpService, Protocol};
use actix_service::{Service, ServiceFactory, fn_factory, fn_service, map_config};
use actix_web::{
    App, Handler, HttpRequest, HttpResponse,
    dev::AppConfig,
    web::{self, Payload},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::watch,
    time::timeout,
};
use witan_base::panics::{self, PanicSource};
use witan_http2::{PREFACE, limits::OUTPUT_MAX};

use super::{
    CallHandler, Handlers, Surface, contain,
    grpc::{self, ConnectionInfo},
    http1_stream::Http1Stream,
    http2_requests::Http2Requests,
    limits,
    sniffed::ReplayedStream,
    stall_timeout::{self, StallTimeout},
    tls::{self, Secured, ServerTls},
};

/// A connection after TLS decryption, or without TLS.
type PlainStream<S> = StallTimeout<Secured<S>>;

/// The stream from which actix reads HTTP/1.
type Http1Connection<S> = Http1Stream<ReplayedStream<PlainStream<S>>>;

/// A client's connection, over TCP or a Unix socket.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Disables Nagle's algorithm for a TCP socket and limits its unsent bytes to the size of an HTTP/2 connection's output.
    /// More unsent bytes would delay later frames, such as a ping's acknowledgment. Returns the client's address, or `None` for
    /// a Unix socket.
    fn tune(&self) -> io::Result<Option<SocketAddr>>;
}

impl ClientStream for TcpStream {
    fn tune(&self) -> io::Result<Option<SocketAddr>> {
        SockRef::from(self).set_tcp_notsent_lowat(OUTPUT_MAX as u32)?;
        self.set_nodelay(true)?;
        Ok(self.peer_addr().ok())
    }
}

impl ClientStream for UnixStream {
    fn tune(&self) -> io::Result<Option<SocketAddr>> {
        Ok(None)
    }
}

/// A worker's state for one listener.
#[derive(Clone)]
pub(super) struct Mux<H, C> {
    pub(super) surface: Surface,
    /// The listener's TLS, if any of its URLs uses TLS.
    pub(super) security: Option<ServerTls>,
    /// Whether connections without TLS are served.
    pub(super) plain: bool,
    pub(super) served: Handlers<H, C>,
    /// Becomes true when the listener stops.
    pub(super) stopped: watch::Receiver<bool>,
    /// Each open connection holds a receiver.
    pub(super) open: watch::Sender<()>,
}

impl<H, F, C> Mux<H, C>
where
    C: CallHandler,
    H: Fn(Surface, HttpRequest, Payload) -> F + Clone + Send + 'static,
    F: Future<Output = HttpResponse> + 'static,
{
    /// Creates the service that a worker runs for each accepted connection.
    pub(super) fn factory<S: ClientStream>(
        self,
    ) -> impl ServiceFactory<S, Config = (), Response = (), Error = io::Error, InitError = ()> {
        fn_factory(move || {
            let mux = self.clone();
            async move {
                let requests = match mux.surface {
                    Surface::All => Some(Http2Requests::new(mux.clone().handler()).await?),
                    Surface::Grpc | Surface::Http | Surface::Metrics => None,
                };
                let grpc = grpc::Server::new(&mux.served, requests, mux.stopped.clone());
                let http = Rc::new(mux.clone().http_service::<S>().new_service(()).await?);
                Ok(fn_service(move |stream: S| {
                    let (http, grpc) = (http.clone(), grpc.clone());
                    let (surface, counted) = (mux.surface, mux.open.subscribe());
                    let mut stopped = mux.stopped.clone();
                    let (security, plain) = (mux.security.clone(), mux.plain);
                    let metrics = mux.served.panics.clone();
                    // Box the connection here, because a value that is moved into a future is stored twice.
                    let connection = Box::pin(async move {
                        let _counted = counted;
                        let peer = stream.tune()?;
                        let open = async {
                            let stream = (stream, surface);
                            let secured = tls::secure(security.as_ref(), plain, stream, peer);
                            let Some((stream, certificate)) = secured.await else {
                                return Ok(None);
                            };
                            let client = ConnectionInfo { over_tls: stream.is_tls(), certificate };
                            let sniffed = sniff(StallTimeout::new(stream), surface).await?;
                            Ok::<_, io::Error>(Some((sniffed, client)))
                        };
                        let opened = tokio::select! {
                            opened = open => opened?,
                            // No request has started, so none is lost.
                            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
                        };
                        let Some(((stream, http2), client)) = opened else {
                            return Ok(());
                        };
                        match surface {
                            Surface::All | Surface::Grpc if http2 => {
                                grpc.serve(stream, client).await
                            }
                            Surface::Grpc => Ok(()),
                            Surface::All | Surface::Http | Surface::Metrics => {
                                let requests = Http1Stream::new(stream, client);
                                let call = http.call((requests, Protocol::Http1, None));
                                call.await.map_err(|e| io::Error::other(e.to_string()))
                            }
                        }
                    });
                    async move {
                        panics::contain(&metrics, PanicSource::Connection, connection)
                            .await
                            .unwrap_or_else(|_| Err(io::ErrorKind::ConnectionAborted.into()))
                    }
                }))
            }
        })
    }

    /// Creates the handler of requests over both HTTP versions. If the charge for a body is refused, the response has status
    /// 503. A panic ends only the request that caused it.
    fn handler(self) -> impl Handler<(HttpRequest, Payload), Output = HttpResponse> {
        let (http, surface) = (self.served.http, self.surface);
        let metrics = self.served.panics;
        move |request: HttpRequest, payload: Payload| {
            let (http, metrics) = (http.clone(), metrics.clone());
            async move {
                let work = async move {
                    match stall_timeout::bounded(&request, payload).await {
                        Some(payload) => http(surface, request, payload).await,
                        None => too_many(),
                    }
                };
                let done = panics::contain(&metrics, PanicSource::Http, work).await;
                let mut response = contain::response(done, &metrics);
                // Go writes header names in canonical case, which some clients depend on.
                response.head_mut().set_camel_case_headers(true);
                response
            }
        }
    }

    /// Creates the HTTP/1 service, which runs [`Self::handler`] with this crate's timeouts. Requests get their connection's
    /// data ([`Http1Stream::describe`]). When the listener stops, connections end after their current response.
    fn http_service<S: ClientStream>(
        self,
    ) -> impl ServiceFactory<
        (Http1Connection<S>, Protocol, Option<SocketAddr>),
        Config = (),
        Response = (),
        Error = actix_http::error::DispatchError,
        InitError = (),
    > {
        let totals = self.served.totals.clone();
        let stopped = self.stopped.clone();
        let app = App::new().default_service(web::to(self.handler()));
        HttpService::<Http1Connection<S>, _, _>::build()
            .keep_alive(limits::IDLE_TIMEOUT)
            .client_request_timeout(limits::HEAD_TIMEOUT)
            .client_disconnect_timeout(limits::CLOSE_TIMEOUT)
            // A client may close its side and still read its response. `ClientClosed` ends a waiting response.
            .h1_allow_half_closed(true)
            .on_connect_ext(move |requests: &Http1Connection<S>, data| {
                requests.describe(totals.open(), data);
            })
            .graceful_shutdown_signal(move || {
                let mut stopped = stopped.clone();
                async move {
                    // An error means that the sender was dropped, because the listener has stopped.
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                }
            })
            .finish(map_config(app, |()| AppConfig::default()))
    }
}

/// Returns a 503 response to a request whose body could not be charged. The connection then closes with the body unread.
fn too_many() -> HttpResponse {
    HttpResponse::ServiceUnavailable()
        .content_type("text/plain; charset=utf-8")
        .force_close()
        .body("etcdserver: too many requests\n")
}

/// Reads until the bytes are the HTTP/2 preface or differ from it. Returns a stream that replays the bytes and whether they are
/// the preface. On a surface without HTTP/2, reads nothing and returns `false`. Fails if the stream ends or times out first.
async fn sniff<S: AsyncRead + Unpin>(
    mut stream: StallTimeout<S>,
    surface: Surface,
) -> io::Result<(ReplayedStream<StallTimeout<S>>, bool)> {
    let mut head = [0; PREFACE.len()];
    let mut length = 0;
    let reading = async {
        while PREFACE.starts_with(&head[..length]) && length < PREFACE.len() {
            let read = stream.read(&mut head[length..]).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            length += read;
        }
        Ok(length == PREFACE.len() && head == PREFACE)
    };
    let http2 = match surface {
        Surface::All | Surface::Grpc => timeout(limits::SNIFF_TIMEOUT, reading)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
        Surface::Http | Surface::Metrics => false,
    };
    Ok((ReplayedStream::after(&head[..length], stream), http2))
}
