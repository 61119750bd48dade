//! Tests the port with real sockets, a real gRPC client, and hand-written HTTP/1.

use std::{convert::Infallible, future, task, time::Duration};

use actix_web::{HttpRequest, HttpResponse, web::Payload};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};
use tonic::{
    Code, Request,
    body::Body,
    server::NamedService,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower_service::Service;
use witan_base::{account::Totals, metrics::Register, panics::PanicMetrics};
use witan_config::Config;

use super::{
    Bound, Handlers, RunningServer, Surface, TransportMetrics, bind,
    limits::{self, ConnectionLimits},
    listen::Socket,
    serve_within,
};

/// A gRPC service that never responds.
#[derive(Clone)]
struct Silent;

impl NamedService for Silent {
    const NAME: &'static str = "test.Silent";
}

impl Service<http::Request<Body>> for Silent {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = future::Pending<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        future::pending()
    }
}

struct Port {
    running: RunningServer,
    url: String,
    /// The address of the metrics URL.
    metrics: String,
    /// `/held` answers when this becomes true.
    release: watch::Sender<bool>,
    /// Becomes true when a client requests `/held`.
    held: watch::Receiver<bool>,
}

async fn port() -> Port {
    port_within(limits::connections()).await
}

/// Serves one client URL and one metrics URL with these limits.
async fn port_within(limits: ConnectionLimits) -> Port {
    let config = Config {
        listen_client_urls: vec!["http://127.0.0.1:0".parse().unwrap()],
        listen_metrics_urls: vec!["http://127.0.0.1:0".parse().unwrap()],
        ..Config::default()
    };
    let bound: Vec<Bound> = bind(&config).unwrap();
    let [client, metrics] = [0, 1].map(|at| bound[at].local_addr().unwrap().to_string());
    let url = format!("http://{client}");
    let on = Register::default();
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
    let (release, released) = watch::channel(false);
    let (holding, held) = watch::channel(false);
    let http = move |_: Surface, request: HttpRequest, _: Payload| {
        let (mut released, holding) = (released.clone(), holding.clone());
        async move {
            if request.path() == "/held" {
                holding.send_replace(true);
                released.wait_for(|released| *released).await.unwrap();
            }
            HttpResponse::Ok().body(format!("{} served", request.path()))
        }
    };
    let served = Handlers {
        http,
        calls: Routes::new(health).add_service(Silent),
        metrics: TransportMetrics::register(&on, false).into(),
        panics: PanicMetrics::register(&on),
        totals: Totals::register(&on, u64::MAX),
        connections: Config::default().connections,
        security: None,
    };
    let running = serve_within(limits, bound, served).unwrap();
    Port { running, url, metrics, release, held }
}

impl Port {
    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.url.trim_start_matches("http://"))
            .await
            .unwrap()
    }

    /// Opens an HTTP/2 connection without a gRPC client.
    async fn http2(&self) -> SendRequest<Body> {
        let io = TokioIo::new(self.tcp().await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        actix_rt::spawn(connection);
        sender
    }

    async fn channel(&self) -> Channel {
        Endpoint::new(self.url.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }
}

/// Sends a request. Returns the response up to `end`, or up to the end of the stream.
async fn ask(io: &mut TcpStream, request: &str, end: &str) -> String {
    io.write_all(request.as_bytes()).await.unwrap();
    read_until(io, end).await
}

/// Returns the bytes that arrive until they end with `end`, or until the stream ends.
async fn read_until(io: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    let mut part = [0; 1024];
    while !answer.ends_with(end) {
        let read = io.read(&mut part).await.unwrap();
        if read == 0 {
            break;
        }
        answer.push_str(std::str::from_utf8(&part[..read]).unwrap());
    }
    answer
}

#[actix_rt::test]
async fn a_message_that_is_too_large_is_refused_in_etcds_words() {
    let port = port().await;
    let mut client = HealthClient::new(port.channel().await);
    let request = HealthCheckRequest { service: "x".repeat(3 << 20) };
    let status = client.check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let text = "grpc: received message larger than max (3145733 vs. 2097152)";
    assert_eq!(status.message(), text);
    port.running.stop().await;
}

#[actix_rt::test]
async fn an_error_message_is_encoded_as_in_grpc_go() {
    let port = port().await;
    // A gRPC client would decode the message.
    let mut sender = port.http2().await;
    let message = Bytes::from_static(b"\0\0\0\0\x03\x0a\x01x");
    let request = http::Request::post("/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .body(Body::new(Full::new(message)))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.headers()["grpc-message"], "service not registered");
    port.running.stop().await;
}

#[actix_rt::test]
async fn a_call_ends_at_its_deadline() {
    let port = port().await;
    // A gRPC client would enforce the deadline itself.
    let mut sender = port.http2().await;
    let request = http::Request::post("/test.Silent/Call")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "20m")
        .body(Body::empty())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4");
    assert_eq!(
        answer.headers()["grpc-message"],
        "context deadline exceeded"
    );
    port.running.stop().await;
}

#[actix_rt::test]
async fn a_stream_ends_at_its_deadline() {
    let port = port().await;
    let mut client = HealthClient::new(port.channel().await);
    let mut request = Request::new(HealthCheckRequest::default());
    request
        .metadata_mut()
        .insert("grpc-timeout", "50m".parse().unwrap());
    let mut stream = client.watch(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().status, 1);
    assert_eq!(
        stream.message().await.unwrap_err().code(),
        Code::DeadlineExceeded
    );
    port.running.stop().await;
}

#[actix_rt::test]
async fn a_stop_completes_requests_in_flight_and_closes_idle_connections() {
    let mut port = port().await;
    let (mut idle, mut busy, silent) = (port.tcp().await, port.tcp().await, port.tcp().await);
    let answer = ask(&mut idle, "GET /a HTTP/1.1\r\nhost: x\r\n\r\n", "served").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    busy.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let _grpc = port.channel().await;
    port.held.wait_for(|held| *held).await.unwrap();
    let stopping = actix_rt::spawn(port.running.stop());
    // Idle connections end while the busy connection is still waiting.
    assert_eq!(read_until(&mut idle, "never").await, "");
    let mut silent = silent;
    assert_eq!(read_until(&mut silent, "never").await, "");
    port.release.send_replace(true);
    let answer = read_until(&mut busy, "never").await;
    assert!(answer.ends_with("/held served"), "{answer}");
    tokio::time::timeout(Duration::from_secs(5), stopping)
        .await
        .unwrap()
        .unwrap();
}

#[actix_rt::test]
async fn accepted_connections_are_probed() {
    let url = "http://127.0.0.1:0".parse().unwrap();
    let bound = bind(&Config { listen_client_urls: vec![url], ..Config::default() }).unwrap();
    let Socket::Tcp(listener) = &bound[0].socket else {
        panic!("{bound:?}");
    };
    let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    listener.set_nonblocking(false).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let accepted = SockRef::from(&accepted);
    assert!(accepted.keepalive().unwrap());
    let idle = accepted.tcp_keepalive_time().unwrap();
    let interval = accepted.tcp_keepalive_interval().unwrap();
    assert_eq!([idle, interval], [limits::KEEPALIVE; 2]);
}

/// If a second process, started by mistake, could replace the socket, it would cut off the clients of the first process.
#[actix_rt::test]
async fn a_unix_socket_in_use_is_not_replaced() {
    let name = format!("witan-socket-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let url = format!("unix://{}", path.display()).parse().unwrap();
    let config = Config { listen_client_urls: vec![url], ..Config::default() };
    let first = bind(&config).unwrap();
    let refused = bind(&config).unwrap_err();
    assert_eq!(refused.source.kind(), std::io::ErrorKind::AddrInUse);
    drop(first);
    bind(&config).expect("the socket is stale");
    std::fs::remove_file(path).unwrap();
}

/// Kubernetes restarts a member whose probes get no response.
#[actix_rt::test]
async fn metrics_urls_answer_when_no_client_connection_is_free() {
    let clients = std::thread::available_parallelism().map_or(1, usize::from);
    let port = port_within(ConnectionLimits { clients, metrics: 1 }).await;
    let request = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..clients {
        let mut io = port.tcp().await;
        let answer = ask(&mut io, request, "served").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        open.push(io);
    }
    let probe = async {
        let mut io = TcpStream::connect(&port.metrics).await.unwrap();
        ask(&mut io, request, "served").await
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), probe).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
    drop(open);
    port.running.stop().await;
}

/// The filter before actix must find the ends of bodies exactly as actix does. The filter can be simple only because actix
/// refuses every ambiguous head and all bytes after it.
#[actix_rt::test]
async fn actix_refuses_heads_of_ambiguous_framing() {
    let port = port().await;
    for head in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: \x0bchunked",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5, 5",
        "Content-Length: 5\x0c",
        "Content-Length: 99999999999999999999",
        "Content-Length:",
        "Content-Length",
        "Content-Length : 5",
        " Content-Length: 5",
        "A: b\r\n Content-Length: 5",
        "Content-Length:\r\n 5",
        "A: b\rContent-Length: 5",
    ] {
        let mut io = port.tcp().await;
        let next = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";
        let request = format!("PUT /a HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n12345{next}");
        let answer = ask(&mut io, &request, "never").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: {answer}");
    }
    for chunked in ["Transfer-Encoding: chunked", "transfer-encoding:\tChunked "] {
        let mut io = port.tcp().await;
        let request = format!("PUT /a HTTP/1.0\r\n{chunked}\r\n\r\n0\r\n\r\n");
        let answer = ask(&mut io, &request, "never").await;
        assert!(
            answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"),
            "{answer}"
        );
    }
    port.running.stop().await;
}
