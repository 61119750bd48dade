//! Fixtures for unit tests: the context of requests to a node, and changes to keys without a node.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use witan_api::v3::etcdserverpb::RangeRequest;
use witan_auth::Authenticator;
use witan_base::{
    metrics::{MetricsPage, Register},
    panics::PanicMetrics,
};
use witan_config::{Config, Environment, Invocation};
use witan_dialect::{
    Context, HealthMetrics, SharedContext, V2Metrics, V3Metrics, sampling::Sampler,
};
use witan_logging::LogLevelHandle;
use witan_machine::kv::{Kv, KvCommand, KvOperation, Put};
use witan_node::Node;

/// Creates the context of requests to `node`, with the default configuration and its own metrics. The first call starts
/// logging.
pub(crate) fn context(node: Node) -> Context {
    static LOG_LEVEL: OnceLock<LogLevelHandle> = OnceLock::new();
    let on = Register::default();
    let config = config();
    let authenticator = Authenticator::new(&config.settings.auth).expect("the defaults are valid");
    let log_level = LOG_LEVEL
        .get_or_init(|| witan_logging::init(&config.log).expect("logging starts once"))
        .clone();
    let shared = SharedContext {
        panics: PanicMetrics::register(&on),
        health_metrics: HealthMetrics::register(&on),
        v2_metrics: V2Metrics::register(&on),
        v3_metrics: V3Metrics::register(&on),
        settings: config.settings,
        log_level,
        authenticator: Arc::new(authenticator),
        sampler: Sampler::default(),
        metrics_page: MetricsPage::new(on),
    };
    Context::new(node, shared)
}

pub(crate) fn apply(kv: &mut Kv, operation: KvOperation) {
    let command = KvCommand { operation: Some(operation) };
    kv.apply(&command).expect("a valid command");
}

pub(crate) fn put(kv: &mut Kv, key: impl Into<Bytes>, value: impl Into<Bytes>) {
    let (key, value) = (key.into(), value.into());
    apply(kv, KvOperation::Put(Put { key, value, ..Put::default() }));
}

/// Returns a request for all keys that begin with `k`.
pub(crate) fn all_keys() -> RangeRequest {
    RangeRequest {
        key: "k".into(),
        range_end: "l".into(),
        ..RangeRequest::default()
    }
}

/// Returns the configuration for a command line without flags.
fn config() -> Box<Config> {
    match Config::load(std::iter::empty(), &Environment::new()) {
        Ok(Invocation::Start(config)) => config,
        other => panic!("{other:?}"),
    }
}
