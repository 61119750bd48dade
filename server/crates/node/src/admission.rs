//! Checks commands before they reach the replica's thread: their length, the memory that they take, and the quota with its
//! alarm. Also refuses commands on a learner and in a cluster that follows another cluster. All dialects propose through this
//! module.
//!
//! The dialects check the sender's permissions (`authorize` in `witan_v3`, `access` in `witan_dialect`), and the state machine
//! checks them again when it applies the entry. The replica's thread checks the disk space (`replica_loop/requests.rs`).
//! `witan_machine::alarm` defines the commands that an alarm blocks.

use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc::error::TrySendError;
use witan_base::account::{Resource, SMALL_BYTES};
use witan_machine::{
    alarm::{AlarmAction, AlarmCommand, AlarmType},
    command::{Command, UnstampedEntry},
};
use witan_replica::{host::Connection, limits::INBOX_MAX};

use super::{
    AppliedCommand, LoopRequest, Node, NodeError,
    completions::{CompletionFuture, CompletionSender},
    now_ns,
    replica_loop::Proposal,
};

/// Size in bytes that users, roles and members may use even if the quota is exhausted, so that permissions can be changed.
const MANAGEMENT_BYTES_ALWAYS: u64 = 64 << 10;

/// Returns whether `bytes` more bytes would reach the quota: always `false` for 0 bytes, for copied data, and for users and
/// members within [`MANAGEMENT_BYTES_ALWAYS`]. Otherwise, fails with `NoSpace` while a NOSPACE alarm is active, except for key
/// and lease commands, which the state machine checks.
fn exceeds_quota(node: &Node, command: &Command, bytes: u64) -> Result<bool, NodeError> {
    let manages = matches!(command, Command::Auth(_) | Command::Members(_));
    // Copied data is always accepted, because the other cluster's quota may be larger.
    let follows = matches!(command, Command::Follow(_));
    let auth_bytes = node.shared.status.auth_bytes.load(Relaxed);
    if follows || bytes == 0 || (manages && auth_bytes + bytes <= MANAGEMENT_BYTES_ALWAYS) {
        return Ok(false);
    }
    // The state machine checks the alarm for these commands, because an alarm that was already disarmed may still be active
    // here.
    let alarm_is_checked = matches!(command, Command::Kv(_) | Command::Lease(_));
    if !alarm_is_checked && node.shared.status.any_no_space.load(Relaxed) {
        return Err(NodeError::NoSpace);
    }
    let size = node.quota_used_bytes();
    let quota = node.shared.quota_bytes;
    Ok(quota.is_some_and(|quota| size.saturating_add(bytes) >= quota))
}

impl Node {
    /// Checks a command that keeps `kept_bytes` bytes of stored values (`ignore_value`). Returns whether the command can
    /// increase the size that is charged against the quota. Fails if a command for users or roles is too long. Fails on a
    /// learner, unless members need the command at startup. Fails for a change of copied data while the cluster follows another
    /// cluster. If the quota (`--quota-backend-bytes`) is exhausted, raises the NOSPACE alarm and fails with `NoSpace`, so
    /// authorize the caller first.
    pub(super) async fn admit(
        &self,
        command: &Command,
        kept_bytes: u64,
    ) -> Result<bool, NodeError> {
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
        let growth = command.growth();
        if exceeds_quota(self, command, growth.saturating_add(kept_bytes))? {
            // Box this future, so that the futures of other commands stay small.
            Box::pin(self.raise_no_space()).await;
            return Err(NodeError::NoSpace);
        }
        Ok(growth > 0)
    }

    /// Fails with `Learner` on a learner, which may lag far behind. Call this for requests that etcd's learners do not serve.
    pub fn refuse_learner(&self) -> Result<(), NodeError> {
        match self.shared.status.learner.load(Relaxed) {
            true => Err(NodeError::Learner),
            false => Ok(()),
        }
    }

    /// Fails with `Follows` if the cluster follows another cluster. Call this for requests that need the cut-over first.
    pub(super) fn refuse_while_following(&self) -> Result<(), NodeError> {
        match self.shared.status.follows.load(Relaxed) {
            true => Err(NodeError::Follows),
            false => Ok(()),
        }
    }

    /// Raises this member's NOSPACE alarm unless it is active. Logs a failure; the next refused request then retries.
    async fn raise_no_space(&self) {
        if self.no_space() {
            return;
        }
        let command = AlarmCommand {
            action: AlarmAction::Activate as i32,
            member: self.identity().member_id.0,
            kind: AlarmType::NoSpace as i32,
        };
        let status = &self.shared.status;
        tracing::warn!(
            size_bytes = status.size_bytes.load(Relaxed),
            tree_bytes = status.tree_bytes.load(Relaxed),
            auth_bytes = status.auth_bytes.load(Relaxed),
            "the quota is used up; raising the alarm"
        );
        if let Err(fault) = self.report_alarm(command).await {
            tracing::warn!(%fault, "failed to raise the alarm about the quota");
        }
    }

    /// Proposes an alarm command, even on a learner and with an exhausted quota. Returns the raft index of the entry once it is
    /// applied.
    pub async fn report_alarm(&self, command: AlarmCommand) -> Result<u64, NodeError> {
        let entry = UnstampedEntry::new(command.into(), None);
        let answer = self.send_command(entry, (false, 0), now_ns())?;
        Ok(answer.await?.index)
    }

    /// Queues an admitted command. `grows` is the result of [`Self::admit`], and `kept_bytes` is its argument. The future
    /// completes when the command is applied, fails or times out. Until then, the connection's account is charged for the
    /// command, unless the command is small. Fails with `TooMany` if the account refuses the charge, and like [`Self::send`].
    pub(super) fn send_command(
        &self,
        entry: UnstampedEntry,
        (grows, kept_bytes): (bool, u64),
        now_ns: i64,
    ) -> Result<CompletionFuture<AppliedCommand>, NodeError> {
        let kept_bytes = usize::try_from(kept_bytes).unwrap_or(usize::MAX);
        let bytes = entry.command_bytes().saturating_add(kept_bytes);
        let charge = match bytes > SMALL_BYTES {
            true => {
                let charge = self.account.hold(Resource::Proposals, bytes);
                Some(charge.ok_or(NodeError::TooMany)?)
            }
            false => None,
        };
        let (mut to, answer) = CompletionSender::new(self.shared.request_timeout);
        to.waiter.charge = charge;
        self.send(LoopRequest::Propose(Proposal {
            entry,
            connection: Connection(self.account.id()),
            now_ns,
            grows,
            to,
        }))?;
        Ok(answer)
    }

    /// Queues a request for the replica's thread. Fails with `TooMany` if the queue is full. Also fails with `TooMany` if more
    /// than half of the queue is used and the connection has more calls than the queue has free slots. Fails with `Removed` or
    /// `Stopped` if the thread has ended.
    pub(super) fn send(&self, inbound: LoopRequest) -> Result<(), NodeError> {
        let free = self.shared.inbox.capacity();
        // Limit the calls of one connection, because they could otherwise fill the queue.
        if free < INBOX_MAX / 2 && self.account.charged(Resource::Calls) > free {
            return Err(NodeError::TooMany);
        }
        let sent = self.shared.inbox.try_send(inbound);
        sent.map_err(|refused| match refused {
            TrySendError::Full(_) => NodeError::TooMany,
            TrySendError::Closed(_) if *self.shared.removed.borrow() => NodeError::Removed,
            TrySendError::Closed(_) => NodeError::Stopped,
        })?;
        self.wake();
        Ok(())
    }
}
