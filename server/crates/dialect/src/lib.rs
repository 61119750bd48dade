//! The parts that all dialects share: the context of a request, access to routes, bodies and answers.
//! It knows no dialect.
//!
//! Reading order: this file → `access`, `basic_auth` (who may) → `reply`, `rendering` (answers of HTTP/1) → `blocking`,
//! `fair_semaphore`, `job_limits` (work that takes long) → `client` (whether it is still there) → `read_counters`, and the
//! series of each dialect → `sampling` (which keys are read and written, while somebody asks).

pub mod access;
pub mod basic_auth;
pub mod blocking;
pub mod client;
pub mod fair_semaphore;
mod health_metrics;
mod job_limits;
pub mod read_counters;
pub mod rendering;
pub mod reply;
pub mod sampling;
pub mod v2_metrics;
mod v3_metrics;

use std::{ops::Deref, sync::Arc};

use witan_api::top::KeySpace;
use witan_auth::{Authenticator, Credentials, PasswordSource};
use witan_base::{
    budget::MemoryBudget, client_network::ClientNetwork, metrics::MetricsPage, panics::PanicMetrics,
};
use witan_config::Settings;
use witan_logging::LogLevelHandle;
use witan_node::Node;

pub use health_metrics::HealthMetrics;
pub use job_limits::JobLimits;
pub use v2_metrics::V2Metrics;
pub use v3_metrics::V3Metrics;

use blocking::BlockingPool;
use read_counters::ReadCounters;
use sampling::{KeyOperation, Sampler};

/// State that all handlers share.
#[derive(Debug)]
pub struct SharedContext {
    /// The page `/metrics`.
    pub metrics_page: MetricsPage,
    /// Counts requests that panic.
    pub panics: PanicMetrics,
    /// Series of answers about health.
    pub health_metrics: HealthMetrics,
    /// Series of v2 requests.
    pub v2_metrics: V2Metrics,
    /// Series of v3 calls.
    pub v3_metrics: V3Metrics,
    /// Reads of v2's tree, by v1 and v2.
    pub reads: ReadCounters,
    /// The settings that handlers read.
    pub settings: Settings,
    /// Changes the log level.
    pub log_level: LogLevelHandle,
    /// Limits how many jobs over the whole store run at once.
    pub job_limits: JobLimits,
    /// Memory of v3's watchers.
    pub watchers: MemoryBudget,
    /// The pool that the handles of all contexts share.
    pub messages: BlockingPool,
    /// Authenticates callers.
    pub authenticator: Arc<Authenticator>,
    /// Counts operations on keys while somebody asks.
    pub sampler: Sampler,
}

/// The context of a request: cheap to clone, since each request has its own.
#[derive(Clone, Debug)]
pub struct Context {
    /// The running member.
    pub node: Node,
    /// Credentials of the request.
    pub caller: Credentials,
    /// Runs work on large messages, in turn with other connections.
    pub blocking: BlockingPool,
    shared: Arc<SharedContext>,
}

impl Deref for Context {
    type Target = SharedContext;

    fn deref(&self) -> &SharedContext {
        &self.shared
    }
}

impl Context {
    /// Creates a context without credentials and client network, from which the context of each request
    /// is made.
    pub fn new(node: Node, shared: SharedContext) -> Self {
        Self {
            node,
            caller: Credentials::default(),
            blocking: shared.messages.clone(),
            shared: Arc::new(shared),
        }
    }

    /// Returns the context of a request with these credentials from this network.
    pub fn of(&self, caller: Credentials, client: ClientNetwork) -> Self {
        Self {
            node: self.node.of_client(client),
            caller,
            blocking: self.messages.of_client(client),
            shared: self.shared.clone(),
        }
    }

    /// Returns this context, credentials included, for a request from this network.
    pub fn of_client(&self, client: ClientNetwork) -> Self {
        self.of(self.caller.clone(), client)
    }

    /// Counts an operation on a key of v3, or on a range from it on, while a sample is taken.
    #[inline]
    pub fn count_key(&self, operation: KeyOperation, key: &[u8]) {
        if self.sampler.is_on() {
            self.sampler.count(KeySpace::V3, operation, key);
        }
    }

    /// Counts an operation on a key of v2's tree, which a request of v2 or v1 asks for, while a sample is taken.
    #[inline]
    pub fn count_tree_key(&self, operation: KeyOperation, key: &[u8]) {
        if self.sampler.is_on() {
            self.sampler.count(KeySpace::V2, operation, key);
        }
    }

    /// Identifies the sender of a password for the queue of hashes.
    pub fn password_source<'a>(&self, user: &'a str) -> PasswordSource<'a> {
        PasswordSource { client: self.node.client(), user }
    }
}
