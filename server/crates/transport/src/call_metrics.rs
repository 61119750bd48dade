//! Counts gRPC calls by method, in etcd's series `grpc_server_*`.

use std::{collections::HashMap, sync::Arc};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use witan_api::access::{CallType, GRPC};
use witan_base::metrics::{Striped, StripedVec};

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

pub(super) struct CallLabels {
    pub(super) started: StripedVec<IntCounterVec>,
    pub(super) received: StripedVec<IntCounterVec>,
    pub(super) sent: StripedVec<IntCounterVec>,
    pub(super) handled: IntCounterVec,
    pub(super) handling: Option<HistogramVec>,
}

/// Creates the counters of all methods, by request path. As in etcd, all series exist from the start, so that a rate can
/// include a method's first failure.
pub(super) fn calls_by_path(all: &CallLabels) -> HashMap<&'static str, Arc<CallMetrics>> {
    let counters = GRPC.iter().map(|route| {
        let (service, method) = route.names();
        let values = [method, service, label(route.call_type)];
        let call = CallMetrics {
            call_type: route.call_type,
            takes_one_message: route.call_type == CallType::Unary && !service.starts_with("grpc."),
            started: all.started.with_label_values(&values),
            received: all.received.with_label_values(&values),
            sent: all.sent.with_label_values(&values),
            handled: CODES.map(|code| {
                let [method, service, call_type] = values;
                all.handled
                    .with_label_values(&[code, method, service, call_type])
            }),
            handling: all
                .handling
                .as_ref()
                .map(|all| all.with_label_values(&values)),
            method,
        };
        (route.method, Arc::new(call))
    });
    counters.collect()
}

#[cfg(test)]
mod tests {
    use crate::TransportMetrics;
    use witan_base::metrics::Register;

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
}
