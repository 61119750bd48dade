//! Admission is the only check before a command is handed to the replica's thread: how long it is, whether this member is
//! a learner, whether the cluster copies another one, the quota, the alarm about it, the memory for it and a slot in the inbox are asked here and nowhere else
//! in the shell. All dialects propose through it, so that none can skip a question.
//!
//! Not here: who sends the request, which the dialects know (`witan_v3`'s and `witan_dialect`'s access) and which is
//! asked again when the entry is applied; whether the disk has space, which the replica's thread knows
//! (`replica_loop/requests.rs`); and which commands an alarm stops when they are applied (`witan_machine::alarm`).

use std::sync::{atomic::Ordering::Relaxed, mpsc::TrySendError};

use witan_base::account::{Charge, Resource, SMALL_BYTES};
use witan_machine::{
    alarm::{AlarmAction, AlarmCommand, AlarmType},
    auth::Caller,
    command::{Command, Entry},
};
use witan_replica::host::Connection;

use super::{
    AppliedCommand, LoopRequest, Node, NodeError,
    completions::{CompletionFuture, CompletionSender},
    now_ns,
    replica_loop::Proposal,
};

/// Users, roles and members may take so many bytes whatever the quota is: who may do what can be
/// decided on a full member, too, as on etcd, which has no quota for it.
const MANAGEMENT_BYTES_ALWAYS: u64 = 64 << 10;

/// The result of admitting a command: its length, whether it may count against the quota, and the memory it reserves.
#[derive(Debug)]
pub(super) struct Admission {
    /// Length of the command's encoding.
    pub(super) bytes: usize,
    /// Whether it may raise what counts against the quota.
    pub(super) grows: bool,
    /// Its share of the memory for proposals until it is applied; `None` if it is too small to be counted.
    pub(super) memory: Option<Charge>,
}

impl Admission {
    /// Admits a command, or refuses it: it is too long, the member is a learner, the cluster copies
    /// another one, the quota (`--quota-backend-bytes`) is
    /// used up, which raises the alarm NOSPACE, or too many bytes of commands are in flight. Notes in it how long the
    /// values may be that it keeps. Call it when the caller is authorized: a stranger raises no alarm.
    pub(super) async fn of(node: &Node, command: &mut Command) -> Result<Self, NodeError> {
        if let Command::Auth(command) = command
            && command.is_too_long()
        {
            return Err(NodeError::TooLarge);
        }
        if !command.is_required_at_start() {
            node.refuse_learner()?;
        }
        if command.changes_followed() {
            node.refuse_while_following()?;
        }
        let kept = limit_kept_values(node, command).await?;
        let growth = command.growth();
        if exceeds_quota(node, command, growth.saturating_add(kept))? {
            // A future of its own, so that those of all other commands stay small.
            Box::pin(node.raise_no_space()).await;
            return Err(NodeError::NoSpace);
        }
        let admitted = Self::holding(node, command, growth > 0, kept);
        admitted.inspect_err(|_| node.shared.metrics.proposals_failed.inc())
    }

    /// Reserves memory for a command of which nothing else is asked. More than [`SMALL_BYTES`], with the bytes of
    /// values that it keeps, are charged to the connection's account: `TooMany` if that is refused.
    fn holding(node: &Node, command: &Command, grows: bool, kept: u64) -> Result<Self, NodeError> {
        let bytes = command.encoded_len();
        let stored = bytes.saturating_add(usize::try_from(kept).unwrap_or(usize::MAX));
        if stored <= SMALL_BYTES {
            return Ok(Self { bytes, grows, memory: None });
        }
        let memory = node.account.hold(Resource::Proposals, stored);
        let memory = memory.ok_or(NodeError::TooMany)?;
        Ok(Self { bytes, grows, memory: Some(memory) })
    }
}

/// Whether the quota does not allow a command that adds so many bytes; `NoSpace` while an alarm says so.
fn exceeds_quota(node: &Node, command: &Command, bytes: u64) -> Result<bool, NodeError> {
    let manages = matches!(command, Command::Auth(_) | Command::Members(_));
    // what the other cluster holds is held, and its quota may be larger
    let follows = matches!(command, Command::Follow(_));
    if follows || bytes == 0 || (manages && node.auth_bytes() + bytes <= MANAGEMENT_BYTES_ALWAYS) {
        return Ok(false);
    }
    // the state machine refuses puts and leases: an alarm that another member has lowered may stand here yet
    let alarm_is_checked = matches!(command, Command::Kv(_) | Command::Lease(_));
    if !alarm_is_checked && node.shared.status.any_no_space.load(Relaxed) {
        return Err(NodeError::NoSpace);
    }
    let size = node.quota_used_bytes();
    let quota = node.shared.quota_bytes;
    Ok(quota.is_some_and(|quota| size.saturating_add(bytes) >= quota))
}

/// Notes in a command how long the values may be that it keeps; returns their bytes now.
async fn limit_kept_values(node: &Node, command: &mut Command) -> Result<u64, NodeError> {
    let Command::Kv(command) = command else {
        return Ok(0);
    };
    if !command.keeps_values() {
        return Ok(0);
    }
    let view = Box::pin(node.view()).await?;
    Ok(view.machine.limit_kept_values(command))
}

impl Node {
    /// Refuses requests that a learner does not serve, as etcd does: a learner may be far behind.
    pub fn refuse_learner(&self) -> Result<(), NodeError> {
        match self.shared.status.learner.load(Relaxed) {
            true => Err(NodeError::Learner),
            false => Ok(()),
        }
    }

    /// Refuses what a cluster that copies another one does not take before the cut-over.
    pub fn refuse_while_following(&self) -> Result<(), NodeError> {
        match self.shared.status.follows.load(Relaxed) {
            true => Err(NodeError::Follows),
            false => Ok(()),
        }
    }

    /// Raises this member's alarm about the quota. If that fails now, the next refused request tries
    /// again.
    async fn raise_no_space(&self) {
        if self.no_space() {
            return;
        }
        let command = AlarmCommand {
            action: AlarmAction::Activate as i32,
            member: self.identity().member_id.0,
            kind: AlarmType::NoSpace as i32,
        };
        let (size_bytes, tree_bytes) = (self.size_bytes(), self.tree_bytes());
        let auth_bytes = self.auth_bytes();
        tracing::warn!(
            size_bytes,
            tree_bytes,
            auth_bytes,
            "the quota is used up; raising the alarm"
        );
        if let Err(fault) = self.report_alarm(command).await {
            tracing::warn!(%fault, "failed to raise the alarm about the quota");
        }
    }

    /// Proposes a change of an alarm, which takes nothing of the quota and which learners may propose, too. Returns the
    /// raft index of its entry.
    pub async fn report_alarm(&self, command: AlarmCommand) -> Result<u64, NodeError> {
        let command = command.into();
        let admission = Admission::holding(self, &command, false, 0)?;
        let answer = self.send_command(command, None, now_ns(), admission)?;
        Ok(answer.await?.index)
    }

    /// Has all members hash their state at one point of the log; returns the raft index of that entry.
    pub async fn request_state_hashes(&self) -> Result<u64, NodeError> {
        self.report_alarm(AlarmCommand::hash_state()).await
    }

    /// Hands an admitted command to the replica's thread; the future completes when it is applied or timed out.
    pub(super) fn send_command(
        &self,
        command: Command,
        caller: Option<Caller>,
        now_ns: i64,
        admission: Admission,
    ) -> Result<CompletionFuture<AppliedCommand>, NodeError> {
        let Admission { bytes, grows, memory } = admission;
        let (mut to, answer) = CompletionSender::new(self.shared.request_timeout);
        to.waiter.memory = memory;
        self.send(LoopRequest::Propose(Proposal {
            entry: Entry::unstamped(command, caller),
            connection: Connection(self.account.id()),
            now_ns,
            bytes,
            grows,
            to,
        }))?;
        Ok(answer)
    }

    /// Queues a request for the replica's thread without waiting: `TooMany` if the queue is full, `Removed`
    /// or `Stopped` if the thread has ended.
    pub(super) fn send(&self, inbound: LoopRequest) -> Result<(), NodeError> {
        let sent = self.shared.inbox.try_send(inbound);
        sent.map_err(|refused| match refused {
            TrySendError::Full(_) => NodeError::TooMany,
            TrySendError::Disconnected(_) if *self.shared.removed.borrow() => NodeError::Removed,
            TrySendError::Disconnected(_) => NodeError::Stopped,
        })?;
        self.wake();
        Ok(())
    }
}
