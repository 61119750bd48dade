//! The dialects. Each translates its protocol to commands and reads on [`Node`] and back; none
//! knows of another, of raft or of the disk.

mod go;
mod go_json;
pub mod http;
mod ops;
mod path;
mod reply;
mod v2;
pub mod v3;

use std::sync::Arc;

use crate::{config::Settings, metrics::Metrics, node::Node};

/// What every handler gets.
#[derive(Clone, Debug)]
pub struct Context {
    /// The running member.
    pub node: Node,
    /// Counters.
    pub metrics: Metrics,
    /// The settings that handlers read.
    pub settings: Arc<Settings>,
}
