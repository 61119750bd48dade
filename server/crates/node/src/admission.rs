//! The checks of a command before it is handed to the replica's thread: its length, whether this member is a learner, whether
//! the cluster copies another one, the quota and its alarm, memory, and a slot in the inbox. All dialects propose through
//! [`Node::admit`] and [`Node::send_command`], so none can skip a check.
//!
//! Not here: the caller's permissions, which the dialects check and the state machine checks again; space on the disk, which
//! the replica's thread checks (`replica_loop/requests.rs`); the checks of the core (`witan_replica`); and which commands an
//! alarm stops when they are applied (`witan_machine::alarm`).

use std::sync::{atomic::Ordering::Relaxed, mpsc::TrySendError};

use witan_base::account::{Charge, Resource, SMALL_BYTES};
use witan_machine::{
    alarm::{AlarmAction, AlarmCommand, AlarmType},
    command::{Command, UnstampedEntry},
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

/// How an admitted command grows the state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    /// Whether it may increase the usage that counts against the quota.
    grows: bool,
    /// Bytes of the values that it keeps.
    kept_bytes: u64,
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
    /// Admits a command, or refuses it: it is too long, the member is a learner, the cluster copies another one, or the quota
    /// (`--quota-backend-bytes`) is used up, which raises the alarm NOSPACE. Notes in it how long the values may be that it
    /// keeps. Call it when the caller is authorized, so that an unauthorized caller cannot raise the alarm.
    pub(super) async fn admit(&self, command: &mut Command) -> Result<Growth, NodeError> {
        if let Command::Auth(command) = command
            && command.is_too_long()
        {
            return Err(NodeError::TooLarge);
        }
        if !command.is_required_at_start() {
            self.refuse_learner()?;
        }
        if command.changes_followed() {
            self.refuse_while_following()?;
        }
        let kept_bytes = limit_kept_values(self, command).await?;
        let growth = command.growth();
        if exceeds_quota(self, command, growth.saturating_add(kept_bytes))? {
            // A future of its own, so that those of all other commands stay small.
            Box::pin(self.raise_no_space()).await;
            return Err(NodeError::NoSpace);
        }
        Ok(Growth { grows: growth > 0, kept_bytes })
    }

    /// Charges the memory of a proposal to the connection's account until the command is applied. More than [`SMALL_BYTES`],
    /// with the values that the command keeps, are charged: `TooMany` if the account refuses.
    fn charge(&self, command_bytes: usize, kept_bytes: u64) -> Result<Option<Charge>, NodeError> {
        let kept_bytes = usize::try_from(kept_bytes).unwrap_or(usize::MAX);
        let stored = command_bytes.saturating_add(kept_bytes);
        if stored <= SMALL_BYTES {
            return Ok(None);
        }
        let memory = self.account.hold(Resource::Proposals, stored);
        memory.map(Some).ok_or(NodeError::TooMany)
    }

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
        let entry = UnstampedEntry::new(command.into(), None);
        let answer = self.send_command(entry, Growth::default(), now_ns())?;
        Ok(answer.await?.index)
    }

    /// Has all members hash their state at one point of the log; returns the raft index of that entry.
    pub async fn request_state_hashes(&self) -> Result<u64, NodeError> {
        self.report_alarm(AlarmCommand::hash_state()).await
    }

    /// Hands the entry of an admitted command to the replica's thread: `TooMany` if there is no memory or no slot in the inbox
    /// for it. The future completes when the command is applied or timed out.
    pub(super) fn send_command(
        &self,
        entry: UnstampedEntry,
        growth: Growth,
        now_ns: i64,
    ) -> Result<CompletionFuture<AppliedCommand>, NodeError> {
        let memory = self.charge(entry.command_bytes(), growth.kept_bytes)?;
        let (mut to, answer) = CompletionSender::new(self.shared.request_timeout);
        to.waiter.memory = memory;
        self.send(LoopRequest::Propose(Proposal {
            entry,
            connection: Connection(self.account.id()),
            now_ns,
            grows: growth.grows,
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
