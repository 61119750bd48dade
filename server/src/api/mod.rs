//! The dialects. Each translates its protocol to commands and reads on [`Node`] and back; none
//! knows of another, of raft or of the disk. Which paths there are and what each asks of its caller
//! stands in `witan_api::access`; `access` here holds requests of HTTP/1 to it.

mod access;
pub mod aside;
mod basic_auth;
mod client;
mod error_head;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod health;
pub mod http;
mod log_level;
mod ops;
mod reads;
mod reply;
mod v1;
mod v2;
pub mod v3;

use std::{ops::Deref, sync::Arc};

use crate::{
    auth::{Credentials, Guard, Sender},
    client_network::ClientNetwork,
    config::Settings,
    logging::Dial,
    metrics::Metrics,
    node::Node,
};

/// What all handlers share.
#[derive(Debug)]
pub struct Environment {
    /// Counters.
    pub metrics: Metrics,
    /// The settings that handlers read.
    pub settings: Settings,
    /// The level of the logs.
    pub dial: Dial,
    /// The places of those who go through all of the store.
    pub jobs: v3::Jobs,
    /// The places of work that would hold up a worker.
    pub aside: aside::BoundedJobs,
    /// Recognizes callers.
    pub guard: Arc<Guard>,
}

/// What every handler gets: cheap to clone, since each request has its own.
#[derive(Clone, Debug)]
pub struct Context {
    /// The running member.
    pub node: Node,
    /// What the request shows to prove who sends it; nobody's while auth is off.
    pub caller: Credentials,
    /// Where the request comes from.
    pub client: ClientNetwork,
    environment: Arc<Environment>,
}

impl Deref for Context {
    type Target = Environment;

    fn deref(&self) -> &Environment {
        &self.environment
    }
}

impl Context {
    /// Of requests that come from nowhere in particular and show nothing.
    pub fn new(node: Node, environment: Environment) -> Self {
        Self {
            node,
            caller: Credentials::default(),
            client: ClientNetwork::default(),
            environment: Arc::new(environment),
        }
    }

    /// The same for a request that shows these credentials and comes from there.
    pub fn of(&self, caller: Credentials, client: ClientNetwork) -> Self {
        Self {
            node: self.node.of_client(client),
            caller,
            client,
            environment: self.environment.clone(),
        }
    }

    /// The same for a request that comes from there.
    pub fn of_client(&self, client: ClientNetwork) -> Self {
        self.of(self.caller.clone(), client)
    }

    /// Who sends a password of this user.
    pub fn sender<'a>(&self, user: &'a str) -> Sender<'a> {
        Sender {
            client: self.client,
            user,
        }
    }
}
