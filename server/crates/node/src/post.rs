//! The interface of the transport that carries messages to other members.

use std::fmt;

use witan_machine::member::MemberRegistry;
use witan_replica::host::Envelope;

/// Carries messages to other members. Called on the replica's thread, so nothing here may wait.
pub trait Post: fmt::Debug + Send {
    /// Queues messages for other members. One that cannot be queued is dropped, and `Node::peer_event`
    /// reports it.
    fn post(&mut self, envelopes: Vec<Envelope>);

    /// Opens and ends streams so that they follow the members after an applied change.
    fn follow(&mut self, members: &MemberRegistry);
}
