//! The interface to the transport, which carries raft messages.

use std::{fmt, time::Duration};

use witan_machine::member::MemberRegistry;
use witan_replica::host::Envelope;

use super::Waker;

/// Carries raft messages to and from other members. The replica's thread calls the methods, so only [`Post::wait`] may block.
pub trait Post: fmt::Debug + Send {
    /// Queues messages for other members. Drops a message that cannot be queued and reports the loss through
    /// `Node::peer_event`.
    fn post(&mut self, envelopes: Vec<Envelope>);

    /// Opens and closes streams to match the members after an applied change.
    fn update_members(&mut self, members: &MemberRegistry);

    /// Waits until a message arrives or the thread is woken, at most for `timeout`. Appends the messages that have arrived to
    /// `messages`, control messages first, up to a limit in bytes. The next call appends the remaining messages.
    fn wait(&mut self, timeout: Duration, waker: &Waker, messages: &mut Vec<Envelope>);
}
