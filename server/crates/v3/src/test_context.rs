//! The context of requests to a node of a test.

use std::sync::{Arc, OnceLock};

use witan_auth::Authenticator;
use witan_base::{
    metrics::{MetricsPage, Register},
    panics::PanicMetrics,
};
use witan_config::{Config, Environment, Invocation};
use witan_dialect::{
    Context, HealthMetrics, SharedContext, V2Metrics, V3Metrics, read_counters::ReadCounters,
    sampling::Sampler,
};
use witan_logging::LogLevelHandle;
use witan_node::Node;

/// Creates the context of requests to `node`, with the default configuration and its own metrics.
pub(crate) fn context(node: Node) -> Context {
    static LOG_LEVEL: OnceLock<LogLevelHandle> = OnceLock::new();
    let on = Register::default();
    let config = config();
    let authenticator = Authenticator::new(&config.settings.auth).expect("the default is sound");
    let log_level = LOG_LEVEL
        .get_or_init(|| witan_logging::init(&config.log).expect("it is set up once"))
        .clone();
    let shared = SharedContext {
        panics: PanicMetrics::register(&on),
        health_metrics: HealthMetrics::register(&on),
        v2_metrics: V2Metrics::register(&on),
        v3_metrics: V3Metrics::register(&on),
        reads: ReadCounters::default(),
        settings: config.settings,
        log_level,
        authenticator: Arc::new(authenticator),
        sampler: Sampler::default(),
        metrics_page: MetricsPage::new(on),
    };
    Context::new(node, shared)
}

/// Returns the configuration of a start without flags.
fn config() -> Box<Config> {
    match Config::load(std::iter::empty(), &Environment::new()) {
        Ok(Invocation::Start(config)) => config,
        other => panic!("{other:?}"),
    }
}
