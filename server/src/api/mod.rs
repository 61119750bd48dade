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

use std::sync::Arc;

use crate::{
    auth::{Credentials, Guard, Sender},
    client_network::ClientNetwork,
    config::Settings,
    logging::Dial,
    metrics::Metrics,
    node::Node,
};

/// What every handler gets.
#[derive(Clone, Debug)]
pub struct Context {
    /// The running member.
    pub node: Node,
    /// Counters.
    pub metrics: Metrics,
    /// The settings that handlers read.
    pub settings: Arc<Settings>,
    /// The level of the logs.
    pub dial: Dial,
    /// The places of those who go through all of the store.
    pub jobs: v3::Jobs,
    /// The places of work that would hold up a worker.
    pub aside: aside::BoundedJobs,
    /// Recognizes callers.
    pub guard: Arc<Guard>,
    /// What the request shows to prove who sends it; nobody's while auth is off.
    pub caller: Credentials,
    /// Where the request comes from.
    pub client: ClientNetwork,
}

impl Context {
    /// The same for a request that shows these credentials and comes from there.
    pub fn of(&self, caller: Credentials, client: ClientNetwork) -> Self {
        Self {
            caller,
            ..self.of_client(client)
        }
    }

    /// The same for a request that comes from there.
    pub fn of_client(&self, client: ClientNetwork) -> Self {
        Self {
            node: self.node.of_client(client),
            client,
            ..self.clone()
        }
    }

    /// Who sends a password of this user.
    pub fn sender<'a>(&self, user: &'a str) -> Sender<'a> {
        Sender {
            client: self.client,
            user,
        }
    }
}
