//! The interface of the transport that carries messages to other members.

use std::{fmt, time::Duration};

use witan_machine::member::MemberRegistry;
use witan_replica::host::Envelope;

use super::Waker;

/// Carries messages to and from other members. Called on the replica's thread, so only [`Post::wait`] may wait.
pub trait Post: fmt::Debug + Send {
    /// Queues messages for other members. One that cannot be queued is dropped, and `Node::peer_event`
    /// reports it.
    fn post(&mut self, envelopes: Vec<Envelope>);

    /// Opens and ends streams so that they follow the members after an applied change.
    fn follow(&mut self, members: &MemberRegistry);

    /// Waits until a message of another member arrives or the thread is woken, for `timeout` at most, and appends the
    /// messages that have arrived, messages of the control lane first. Their bytes are bounded; the next call returns the
    /// others.
    fn wait(&mut self, timeout: Duration, waker: &Waker, messages: &mut Vec<Envelope>);
}
