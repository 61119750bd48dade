//! What the node asks of whoever carries messages to other members.

use std::fmt;

use witan_replica::{host::Envelope, machine::member::MemberRegistry};

/// Carries messages to other members. Called on the replica's thread, so nothing here may wait.
pub trait Post: fmt::Debug + Send {
    /// Takes messages. One that cannot be queued is dropped, and `Node::peer_event` says so.
    fn post(&mut self, envelopes: Vec<Envelope>);

    /// The members after an applied change.
    fn follow(&mut self, members: &MemberRegistry);
}
