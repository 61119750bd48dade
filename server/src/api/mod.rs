//! The dialects. Each translates its protocol to commands and reads on [`Node`] and back; none
//! knows another one, raft or the disk. `witan_api::access` lists all paths with the access they
//! require; `access` here enforces it for HTTP/1.

mod access;
mod basic_auth;
pub mod blocking;
mod client;
mod discovery;
mod error_head;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod health;
pub mod http;
mod log_level;
mod ops;
mod read_counters;
mod rendering;
mod reply;
mod v1;
mod v2;
pub mod v3;

use std::{ops::Deref, sync::Arc};

use witan_auth::{Authenticator, Credentials, PasswordSource};
use witan_base::{client_network::ClientNetwork, metrics::MetricsPage, panics::PanicMetrics};
use witan_config::Settings;
use witan_logging::LogLevelHandle;
use witan_node::Node;

pub use health::HealthMetrics;
pub use v2::V2Metrics;
pub use v3::V3Metrics;

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
    /// The settings that handlers read.
    pub settings: Settings,
    /// Changes the log level.
    pub log_level: LogLevelHandle,
    /// Limits how many jobs over the whole store run at once.
    pub job_limits: v3::JobLimits,
    /// Runs work that would block a worker.
    pub blocking: blocking::BlockingPool,
    /// Authenticates callers.
    pub authenticator: Arc<Authenticator>,
}

/// The context of a request: cheap to clone, since each request has its own.
#[derive(Clone, Debug)]
pub struct Context {
    /// The running member.
    pub node: Node,
    /// Credentials of the request.
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
    /// Creates a context without credentials and client network, from which the context of each request
    /// is made.
    pub fn new(node: Node, shared: SharedContext) -> Self {
        Self {
            node,
            caller: Credentials::default(),
            shared: Arc::new(shared),
        }
    }

    /// Returns the context of a request with these credentials from this network.
    pub fn of(&self, caller: Credentials, client: ClientNetwork) -> Self {
        Self {
            node: self.node.of_client(client),
            caller,
            shared: self.shared.clone(),
        }
    }

    /// Returns this context, credentials included, for a request from this network.
    pub fn of_client(&self, client: ClientNetwork) -> Self {
        self.of(self.caller.clone(), client)
    }

    /// Identifies the sender of a password for the queue of hashes.
    pub fn password_source<'a>(&self, user: &'a str) -> PasswordSource<'a> {
        PasswordSource { client: self.node.client(), user }
    }
}
