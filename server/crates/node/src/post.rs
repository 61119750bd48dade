//! The interface to the transport, which carries messages to other members.

use std::{fmt, time::Duration};

use witan_machine::member::MemberRegistry;
use witan_replica::host::Envelope;

use super::Waker;

/// Carries messages to and from other members. The replica's thread calls it, so only [`Post::wait`] can block.
pub trait Post: fmt::Debug + Send {
    /// Queues messages for other members. Drops a message that cannot be queued, and reports this through `Node::peer_event`.
    fn post(&mut self, envelopes: Vec<Envelope>);

    /// Opens and ends streams to match the members after an applied change.
    fn follow(&mut self, members: &MemberRegistry);

    /// Waits until a message from another member arrives or the thread is woken, at most for `timeout`. Appends the messages
    /// that have arrived, control messages first. The size of the appended messages is limited; the next call returns the
    /// rest.
    fn wait(&mut self, timeout: Duration, waker: &Waker, messages: &mut Vec<Envelope>);
}
