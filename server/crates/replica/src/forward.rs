//! Requests to the leader that are not raft messages: forwarded proposals and lease requests.
//!
//! Every request names its sender's current term, and only the leader of that term accepts the request. A forwarded proposal is
//! therefore appended in that term or never. If a member applies an entry of a higher term while its proposal waits, it submits
//! the proposal again. Within the term, the member resends the message after a stream breaks, and the leader accepts each
//! message number of a process once (`taken_messages`). Refusals are not resent: if a refusal is lost, the request waits for
//! the next term or its timeout.
//!
//! `replica/forwarding.rs` and `replica/leases.rs` handle the messages.

use bytes::Bytes;

use witan_machine::lease::LeaseId;

use crate::{
    host::{LeaseAnswer, LeaseQuestion, ProposalRejected},
    lessor::Renewal,
};

/// Proposals that a member sends to the leader of a term.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ForwardedProposals {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    /// Encoded entries, stamped by the sender.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) entries: Vec<Bytes>,
    /// The message number within the sending process. The leader accepts each number once. A refusal repeats the number, so
    /// that a delayed copy of the refusal does not apply to a later message.
    #[prost(uint64, tag = "3")]
    pub(crate) number: u64,
}

/// Reply to [`ForwardedProposals`] that lists the proposals that the leader did not append.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RefusedProposals {
    /// The term for which the proposals were forwarded.
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) refused: Vec<RefusedProposal>,
    /// The number of the refused message.
    #[prost(uint64, tag = "3")]
    pub(crate) number: u64,
}

/// A refused proposal, identified by its stamp.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct RefusedProposal {
    #[prost(uint64, tag = "1")]
    pub(crate) ticket: u64,
    #[prost(fixed32, tag = "2")]
    pub(crate) incarnation: u32,
    /// The reason. `None` asks the sender to propose the entry again, because the leader is transferring leadership, lacks
    /// space, or must first apply an earlier change.
    #[prost(enumeration = "ProposalRejected", optional, tag = "3")]
    pub(crate) reason: Option<i32>,
}

/// Lease requests that a member sends to the leader of a term.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ForwardedLeaseRequests {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) requests: Vec<ForwardedLeaseRequest>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct ForwardedLeaseRequest {
    #[prost(uint64, tag = "1")]
    pub(crate) ticket: u64,
    #[prost(fixed32, tag = "2")]
    pub(crate) incarnation: u32,
    #[prost(sint64, tag = "3")]
    pub(crate) lease: i64,
    #[prost(enumeration = "LeaseQuestion", tag = "4")]
    pub(crate) question: i32,
}

impl ForwardedLeaseRequest {
    pub(crate) fn lease_id(&self) -> LeaseId {
        LeaseId(self.lease)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct ForwardedLeaseAnswer {
    #[prost(uint64, tag = "1")]
    pub(crate) ticket: u64,
    #[prost(fixed32, tag = "2")]
    pub(crate) incarnation: u32,
    #[prost(enumeration = "LeaseResult", tag = "3")]
    pub(crate) result: i32,
    /// The TTL in seconds for `Renewed`, the remaining time in nanoseconds for `Remaining`, otherwise 0.
    #[prost(sint64, tag = "4")]
    pub(crate) value: i64,
}

/// The kind of a lease answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
pub(crate) enum LeaseResult {
    /// The receiver does not lead, could not prove that it leads, or cannot answer now. The sender retries.
    NotLeading = 0,
    Renewed = 1,
    RenewalUnknown = 2,
    Expiring = 3,
    NeedsCheckpoint = 4,
    Remaining = 5,
    RemainingUnknown = 6,
}

impl LeaseResult {
    /// Returns the kind and the value that encode a lease answer. `None` means that this member cannot answer.
    pub(crate) fn of(answer: Option<LeaseAnswer>) -> (Self, i64) {
        match answer {
            None => (Self::NotLeading, 0),
            Some(LeaseAnswer::Renewal(Renewal::Renewed { ttl_s })) => (Self::Renewed, ttl_s),
            Some(LeaseAnswer::Renewal(Renewal::Unknown)) => (Self::RenewalUnknown, 0),
            Some(LeaseAnswer::Renewal(Renewal::Expiring)) => (Self::Expiring, 0),
            Some(LeaseAnswer::Renewal(Renewal::NeedsCheckpoint)) => (Self::NeedsCheckpoint, 0),
            Some(LeaseAnswer::Remaining(Some(left_ns))) => (Self::Remaining, left_ns),
            Some(LeaseAnswer::Remaining(None)) => (Self::RemainingUnknown, 0),
        }
    }

    /// Decodes a lease answer from its kind and value. Returns `None` for `NotLeading`: the sender must repeat the request.
    pub(crate) fn answer(self, value: i64) -> Option<LeaseAnswer> {
        let renewal = match self {
            Self::NotLeading => return None,
            Self::Remaining => return Some(LeaseAnswer::Remaining(Some(value))),
            Self::RemainingUnknown => return Some(LeaseAnswer::Remaining(None)),
            Self::Renewed => Renewal::Renewed { ttl_s: value },
            Self::RenewalUnknown => Renewal::Unknown,
            Self::Expiring => Renewal::Expiring,
            Self::NeedsCheckpoint => Renewal::NeedsCheckpoint,
        };
        Some(LeaseAnswer::Renewal(renewal))
    }
}
