//! Metrics of the listeners: TLS, gRPC calls by method as in etcd (`grpc_server_*`), and requests by the client's API version
//! (`client-api-version`). Clients choose their versions, so the number of these series is bounded.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use witan_api::access::{CallType, GRPC};
use witan_base::{
    metrics::{Register, Striped, StripedVec},
    sync::Mutex,
};

/// Maximum number of client versions with their own series; further versions share one series.
const VERSIONS_MAX: usize = 64;
/// Maximum size in bytes of a client version with its own series; longer versions share one series.
const VERSION_BYTES_MAX: usize = 32;

/// Label for clients without the header, as in etcd.
const UNKNOWN: &str = "unknown";
const OTHER: &str = "other";

/// Metrics of connections and calls.
#[derive(Debug)]
pub struct TransportMetrics {
    /// The counters of each gRPC method, by request path.
    pub(super) calls: HashMap<&'static str, Arc<CallMetrics>>,
    pub(super) clients: ClientVersions,
    pub(super) grpc_received_bytes: Striped<IntCounter>,
    pub(super) grpc_sent_bytes: Striped<IntCounter>,
    pub(super) tls: TlsMetrics,
    pub(super) peer_tls: TlsMetrics,
}

#[derive(Clone, Debug)]
pub(super) struct TlsMetrics {
    pub(super) expires: IntGauge,
    pub(super) handshakes_failed: IntCounterVec,
}

impl TransportMetrics {
    /// Registers the metrics of the client port and of the peer port's TLS. With `extensive`, also measures the duration of
    /// calls.
    #[rustfmt::skip]
    pub fn register(on: &Register, extensive: bool) -> Self {
        Self {
            calls: calls_by_path(on, extensive),
            clients: ClientVersions {
                requests: on.striped_counters("etcd_server_client_requests_total", "The total number of client requests per client version.", &["type", "client_api_version"]),
                seen: Mutex::default(),
            },
            grpc_received_bytes: on.striped_counters("etcd_network_client_grpc_received_bytes_total", "The total number of bytes received from grpc clients.", &[]).with_label_values(&[]),
            grpc_sent_bytes: on.striped_counters("etcd_network_client_grpc_sent_bytes_total", "The total number of bytes sent to grpc clients.", &[]).with_label_values(&[]),
            tls: TlsMetrics {
                expires: on.gauge("witan_tls_certificate_not_after_seconds", "Expiry time of the client port's certificate in seconds since the Unix epoch, or 0 if the port does not use TLS."),
                handshakes_failed: on.counters("witan_tls_handshake_failures_total", "Total number of failed TLS handshakes with clients, by reason.", &["reason"]),
            },
            peer_tls: TlsMetrics {
                expires: on.gauge("witan_peer_tls_certificate_not_after_seconds", "Expiry time of the peer port's certificate in seconds since the Unix epoch, or 0 if the port does not use TLS."),
                handshakes_failed: on.counters("witan_peer_tls_handshake_failures_total", "Total number of failed TLS handshakes with peers, by reason.", &["reason"]),
            },
        }
    }
}

/// Returns the value of the `grpc_type` label for a kind of method.
fn label(call_type: CallType) -> &'static str {
    match call_type {
        CallType::Unary => "unary",
        CallType::ServerStream => "server_stream",
        CallType::BidiStream => "bidi_stream",
    }
}

/// The values of the `grpc_code` label for the gRPC codes 0 to 16.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

#[derive(Debug)]
pub(super) struct CallMetrics {
    pub(super) call_type: CallType,
    /// Whether the connection collects the request message before the call starts. True for unary methods, except methods of
    /// the `grpc.` services, which a library implements.
    pub(super) takes_one_message: bool,
    pub(super) started: Striped<IntCounter>,
    pub(super) received: Striped<IntCounter>,
    pub(super) sent: Striped<IntCounter>,
    handled: [IntCounter; CODES.len()],
    /// Duration of calls in seconds. `None` unless `--metrics=extensive` is set.
    pub(super) handling: Option<Histogram>,
    /// The method's name without its service.
    pub(super) method: &'static str,
}

impl CallMetrics {
    /// Returns whether the method has one request message and one response message.
    pub(super) fn is_unary(&self) -> bool {
        self.call_type == CallType::Unary
    }

    /// Counts a call that ended with this gRPC code. An invalid code is counted as `Unknown`.
    pub(super) fn handled(&self, code: i32) {
        let code = usize::try_from(code)
            .ok()
            .filter(|code| *code < CODES.len())
            .unwrap_or(2);
        self.handled[code].inc();
    }
}

/// Registers the counters of all methods and returns them by request path. As in etcd, all series exist from the start, so that
/// a rate can include a method's first failure. With `extensive`, also registers the duration of calls.
#[rustfmt::skip]
fn calls_by_path(on: &Register, extensive: bool) -> HashMap<&'static str, Arc<CallMetrics>> {
    let labels = ["grpc_method", "grpc_service", "grpc_type"];
    let started = on.striped_counters("grpc_server_started_total", "Total number of RPCs started on the server.", &labels);
    let received = on.striped_counters("grpc_server_msg_received_total", "Total number of RPC stream messages received on the server.", &labels);
    let sent = on.striped_counters("grpc_server_msg_sent_total", "Total number of gRPC stream messages sent by the server.", &labels);
    let handled = on.counters("grpc_server_handled_total", "Total number of RPCs completed on the server, regardless of success or failure.", &["grpc_code", "grpc_method", "grpc_service", "grpc_type"]);
    let handling = extensive.then(|| on.latencies("grpc_server_handling_seconds", "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.", &labels));
    let counters = GRPC.iter().map(|route| {
        let (service, method) = route.names();
        let values = [method, service, label(route.call_type)];
        let call = CallMetrics {
            call_type: route.call_type,
            takes_one_message: route.call_type == CallType::Unary && !service.starts_with("grpc."),
            started: started.with_label_values(&values),
            received: received.with_label_values(&values),
            sent: sent.with_label_values(&values),
            handled: CODES.map(|code| {
                let [method, service, call_type] = values;
                handled.with_label_values(&[code, method, service, call_type])
            }),
            handling: handling.as_ref().map(|all| all.with_label_values(&values)),
            method,
        };
        (route.method, Arc::new(call))
    });
    counters.collect()
}

#[derive(Debug)]
pub(super) struct ClientVersions {
    requests: StripedVec<IntCounterVec>,
    seen: Mutex<HashSet<String>>,
}

/// Request counters of one client version. Each connection keeps the counters of its client.
#[derive(Debug)]
pub(super) struct ClientRequests {
    unary: Striped<IntCounter>,
    stream: Striped<IntCounter>,
}

impl ClientRequests {
    /// Returns the counter for calls of this type: unary or streaming.
    pub(super) fn of(&self, call_type: CallType) -> &IntCounter {
        let requests = match call_type {
            CallType::Unary => &self.unary,
            CallType::ServerStream | CallType::BidiStream => &self.stream,
        };
        requests.here()
    }
}

impl ClientVersions {
    /// Returns the counters of a client version. A missing version is treated as the version [`UNKNOWN`]. The label is
    /// [`OTHER`] if the version is not UTF-8, is too long, or is new after [`VERSIONS_MAX`] versions.
    pub(super) fn version(&self, version: Option<&[u8]>) -> ClientRequests {
        let version = match version.map(str::from_utf8) {
            None => UNKNOWN,
            Some(Ok(version)) if self.admit(version) => version,
            Some(_) => OTHER,
        };
        let requests = |kind| self.requests.with_label_values(&[kind, version]);
        ClientRequests { unary: requests("unary"), stream: requests("stream") }
    }

    /// Returns whether a version gets its own label: it must be short and among the first [`VERSIONS_MAX`]. Remembers such a
    /// version.
    fn admit(&self, version: &str) -> bool {
        if version.len() > VERSION_BYTES_MAX {
            return false;
        }
        let mut seen = self.seen.lock();
        seen.contains(version) || seen.len() < VERSIONS_MAX && seen.insert(version.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_counts_as_unknown() {
        let calls = TransportMetrics::register(&Register::default(), false).calls;
        let put = calls
            .get("/etcdserverpb.KV/Put")
            .expect("Put is in the table");
        put.handled(99);
        put.handled(0);
        let counts = [2, 0, 13].map(|code: usize| put.handled[code].get());
        assert_eq!(counts, [1, 1, 0]);
        assert!(!calls.contains_key("/etcdserverpb.KV/Nonsense"));
    }

    #[test]
    fn versions_are_bounded() {
        let clients = TransportMetrics::register(&Register::default(), false).clients;
        let count = |version: Option<&[u8]>| clients.version(version).of(CallType::Unary).clone();
        count(Some(b"3.6")).inc();
        for number in 0..2 * VERSIONS_MAX {
            count(Some(format!("v{number}").as_bytes())).inc();
        }
        count(None).inc();
        for odd in [&b"\xff"[..], &[b'x'; VERSION_BYTES_MAX + 1]] {
            count(Some(odd)).inc();
        }
        assert_eq!((count(None).get(), count(Some(b"3.6")).get()), (1, 1));
        let others = (1 + 2 * VERSIONS_MAX - VERSIONS_MAX + 2) as u64;
        assert_eq!(count(Some(b"v127")).get(), others);
    }
}
