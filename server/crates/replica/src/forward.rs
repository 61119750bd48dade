//! The requests of members to the leader in messages of the core's own, beside raft's: to take proposals, and
//! to answer requests about leases.
//!
//! Every request names the term that its sender sees, and only the leader of that term takes it. So a
//! proposal is appended in that term or never: who applies an entry of a higher term while the request
//! waits knows that it was not written, and proposes it again. Within the term it sends the message again when a
//! stream broke, and the leader takes each number of a process once (`taken_messages`). A refusal is not sent again: if
//! it is lost, the request waits for the next term or its timeout.
//!
//! What does not live here: the byte that says which message it is (`wire`), what a member does with
//! one (`replica/forwarding.rs`, `replica/leases.rs`), and what it waits for (`proposals`,
//! `lease_requests`).

use bytes::Bytes;

use witan_machine::lease::LeaseId;

use crate::{
    host::{LeaseAnswer, LeaseQuestion, ProposalRejected},
    lessor::Renewal,
};

/// Proposals for the leader of a term.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ForwardedProposals {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    /// Encoded entries, stamped by the sender.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) entries: Vec<Bytes>,
    /// Which message of the sending process it is: the leader takes it once, and a refusal says it again, so that a
    /// copy of the refusal that comes late does not count for a later message.
    #[prost(uint64, tag = "3")]
    pub(crate) number: u64,
}

/// Forwarded proposals that were not appended.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RefusedProposals {
    /// The term for which they were forwarded.
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) refused: Vec<RefusedProposal>,
    /// The number of the message that brought them.
    #[prost(uint64, tag = "3")]
    pub(crate) number: u64,
}

/// One of them, by its stamp.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct RefusedProposal {
    #[prost(uint64, tag = "1")]
    pub(crate) ticket: u64,
    #[prost(fixed32, tag = "2")]
    pub(crate) incarnation: u32,
    /// Why; `None` if the receiver is about to hand leadership over, or has something to apply first: it is to be
    /// proposed again.
    #[prost(enumeration = "ProposalRejected", optional, tag = "3")]
    pub(crate) reason: Option<i32>,
}

/// Requests about leases for the leader of a term.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ForwardedLeaseRequests {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) requests: Vec<ForwardedLeaseRequest>,
}

/// One of them.
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
    /// The lease.
    pub(crate) fn lease_id(&self) -> LeaseId {
        LeaseId(self.lease)
    }
}

/// An answer to a forwarded request about a lease.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct ForwardedLeaseAnswer {
    #[prost(uint64, tag = "1")]
    pub(crate) ticket: u64,
    #[prost(fixed32, tag = "2")]
    pub(crate) incarnation: u32,
    #[prost(enumeration = "LeaseResult", tag = "3")]
    pub(crate) result: i32,
    /// Seconds of TTL, or nanoseconds left.
    #[prost(sint64, tag = "4")]
    pub(crate) value: i64,
}

/// Which answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
pub(crate) enum LeaseResult {
    /// The receiver does not lead, or could not prove it: ask again.
    NotLeading = 0,
    Renewed = 1,
    RenewalUnknown = 2,
    Expiring = 3,
    NeedsCheckpoint = 4,
    Remaining = 5,
    RemainingUnknown = 6,
}

impl LeaseResult {
    /// Encodes an answer about a lease as its kind and value; without one, the sender does not lead.
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

    /// Decodes an answer about a lease from its kind and value; `None` if the leader must be asked again.
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
