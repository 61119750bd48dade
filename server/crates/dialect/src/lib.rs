//! Parts shared by all dialects: the context of a request, access to routes, bodies and responses. This crate depends on no
//! dialect.
//!
//! Reading order: this file → `access`, `basic_auth` (authorization) → `form` (fields) → `reply`, `rendering` (HTTP/1
//! responses) → `blocking`, `jobs` (long work) → `client_connection` (disconnects, TLS) → `metrics` → `sampling` (the most
//! active keys).

pub mod access;
pub mod basic_auth;
pub mod blocking;
pub mod client_connection;
pub mod form;
pub mod jobs;
mod metrics;
pub mod rendering;
pub mod reply;
pub mod sampling;

use std::{ops::Deref, sync::Arc};

use witan_api::top::KeySpace;
use witan_auth::{Authenticator, Credentials};
use witan_base::{account::Account, metrics::MetricsPage, panics::PanicMetrics};
use witan_config::Settings;
use witan_logging::{LogLevelHandle, LogLimit};
use witan_machine::auth::path_permissions::PathAccess;
use witan_node::{Node, NodeError};

pub use metrics::{HealthMetrics, V2Metrics, V3Metrics};

use sampling::{KeyOperation, Sampler};

/// Limits log lines that any client can trigger.
static FAILED_REQUESTS: LogLimit = LogLimit::new();

/// Logs that the cluster did not execute a request of v1 or v2. The response does not always contain the reason. Leaves out
/// some lines if there are many.
pub fn log_failure(api: &str, reason: NodeError) {
    if let Some(left_out) = FAILED_REQUESTS.admit() {
        tracing::warn!(left_out, api, %reason, "failed to execute a request");
    }
}

/// State that all handlers share.
#[derive(Debug)]
pub struct SharedContext {
    /// The page `/metrics`.
    pub metrics_page: MetricsPage,
    /// Counts requests that panic.
    pub panics: PanicMetrics,
    /// Metrics for health checks.
    pub health_metrics: HealthMetrics,
    /// Metrics for v2 requests.
    pub v2_metrics: V2Metrics,
    /// Metrics for v3 calls.
    pub v3_metrics: V3Metrics,
    /// The settings that handlers read.
    pub settings: Settings,
    /// Changes the log level.
    pub log_level: LogLevelHandle,
    /// Authenticates callers.
    pub authenticator: Arc<Authenticator>,
    /// Counts operations on keys while a sample is taken.
    pub sampler: Sampler,
}

/// The context of a request: the member, the caller and the shared state. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Context {
    /// The running member, with the account of the request's connection.
    pub node: Node,
    /// The credentials of the request.
    pub caller: Credentials,
    shared: Arc<SharedContext>,
}

impl Deref for Context {
    type Target = SharedContext;

    fn deref(&self) -> &SharedContext {
        &self.shared
    }
}

impl Context {
    /// Creates a context without credentials, from which the contexts of all requests are derived.
    pub fn new(node: Node, shared: SharedContext) -> Self {
        let caller = Credentials::default();
        Self { node, caller, shared: Arc::new(shared) }
    }

    /// Returns this context with the credentials of a request.
    pub fn of(&self, caller: Credentials) -> Self {
        let (node, shared) = (self.node.clone(), self.shared.clone());
        Self { node, caller, shared }
    }

    /// Returns this context with the account of a connection.
    pub fn of_connection(&self, account: &Account) -> Self {
        let node = self.node.of_connection(account);
        let (caller, shared) = (self.caller.clone(), self.shared.clone());
        Self { node, caller, shared }
    }

    /// Returns the account of the request's connection.
    pub fn account(&self) -> &Account {
        self.node.account()
    }

    /// If a sample is running, counts an operation on a v3 key or on a range that starts at the key.
    #[inline]
    pub fn count_key(&self, operation: KeyOperation, key: &[u8]) {
        if self.sampler.is_on() {
            self.sampler.count(KeySpace::V3, operation, key);
        }
    }

    /// If a sample is running, counts a v1 or v2 operation on a key.
    #[inline]
    pub fn count_tree_key(&self, access: PathAccess, key: &[u8]) {
        if self.sampler.is_on() {
            let operation = match access.write {
                true => KeyOperation::Write,
                false => KeyOperation::Read,
            };
            self.sampler.count(KeySpace::V2, operation, key);
        }
    }
}
