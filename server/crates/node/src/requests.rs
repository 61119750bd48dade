//! The requests of handles to the replica's thread. Events of other members are in `raft_inbox`.

use std::sync::Arc;

use tokio::sync::oneshot;
use witan_machine::{
    command::{Command, Entry},
    lease::LeaseId,
    member::{MemberId, MemberRegistry},
    view::View,
};
use witan_replica::{
    host::{Connection, LeaseAnswer, LeaseQuestion},
    lessor::LeaseDeadlines,
    replica::TransferRefused,
};
use witan_storage::OnDurable;

use super::{AppliedCommand, completions::CompletionSender};

/// Requests to the replica's thread, in the order in which they come.
pub(super) enum LoopRequest {
    Propose(Proposal),
    Read {
        to: CompletionSender<Arc<View>>,
    },
    View {
        to: CompletionSender<Arc<View>>,
    },
    /// Rewrite the checkpoint and report completion.
    Rewrite {
        done: OnDurable,
    },
    /// Rewrite it once more, so that nothing of the previous checkpoint remains on a full disk.
    Shrink {
        done: OnDurable,
    },
    /// A client keeps a lease alive, or asks when it ends.
    Lease {
        lease: LeaseId,
        question: LeaseQuestion,
        to: CompletionSender<LeaseAnswer>,
    },
    /// When does each lease end?
    Deadlines {
        to: CompletionSender<LeaseDeadlines>,
    },
    /// Hand leadership over, to a certain member or to the best.
    Transfer {
        to: Option<MemberId>,
        taken: oneshot::Sender<Result<MemberId, TransferRefused>>,
    },
    /// The leader has decided something from these members.
    Decide {
        command: Command,
        members: Arc<MemberRegistry>,
        taken: oneshot::Sender<bool>,
    },
    /// Replace the state by the leader's.
    Rebuild,
}

/// A command that is to be proposed.
pub(super) struct Proposal {
    /// Not stamped yet.
    pub(super) entry: Box<Entry>,
    /// Where it came from.
    pub(super) connection: Connection,
    pub(super) now_ns: i64,
    /// The length of the command in the log.
    pub(super) bytes: usize,
    /// Whether it may raise what counts against the quota.
    pub(super) grows: bool,
    pub(super) to: CompletionSender<AppliedCommand>,
}
