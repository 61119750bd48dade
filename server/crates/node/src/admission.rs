//! Admission decides which commands this member takes now. All dialects propose through it, so no dialect can skip it.
//!
//! Not here: whether the disk has space, which the replica's thread knows (`replica_loop/proposing.rs`), and which
//! commands an alarm stops when they are applied (`witan_machine::alarm`).

use witan_machine::{
    alarm::{AlarmAction, AlarmCommand, AlarmType},
    command::Command,
};

use super::{Node, NodeError, now_ns};

/// Users, roles and members may take so many bytes whatever the quota is: who may do what can be
/// decided on a full member, too, as on etcd, which has no quota for it.
const MANAGEMENT_BYTES_ALWAYS: u64 = 64 << 10;

impl Node {
    /// Refuses a command that this member does not take now: it is too long, the member is a learner, or the quota
    /// (`--quota-backend-bytes`) is used up, which raises the alarm NOSPACE. Returns the bytes of the values that
    /// the command keeps. Call it when the caller is authorized: a stranger raises no alarm.
    pub(super) async fn admit(&self, command: &mut Command) -> Result<u64, NodeError> {
        if let Command::Auth(command) = command
            && command.is_too_long()
        {
            return Err(NodeError::TooLarge);
        }
        if !command.is_required_at_start() {
            self.refuse_learner()?;
        }
        let kept = self.bound_kept_values(command).await?;
        let bytes = command.growth().saturating_add(kept);
        let manages = matches!(command, Command::Auth(_) | Command::Members(_));
        if bytes == 0 || (manages && self.auth_bytes() + bytes <= MANAGEMENT_BYTES_ALWAYS) {
            return Ok(kept);
        }
        // the state machine refuses puts and leases: an alarm that another member has lowered may stand here yet
        let alarm_is_checked = matches!(command, Command::Kv(_) | Command::Lease(_));
        if !alarm_is_checked && self.shared.status.any_no_space() {
            return Err(NodeError::NoSpace);
        }
        let size = self.quota_used_bytes();
        let quota = self.shared.quota_bytes;
        if quota.is_none_or(|quota| size.saturating_add(bytes) < quota) {
            return Ok(kept);
        }
        // A future of its own, so that those of all other commands stay small.
        Box::pin(self.raise_no_space()).await;
        Err(NodeError::NoSpace)
    }

    /// Notes in a command how long the values may be that it keeps; returns their bytes now.
    async fn bound_kept_values(&self, command: &mut Command) -> Result<u64, NodeError> {
        let Command::Kv(command) = command else {
            return Ok(0);
        };
        if !command.keeps_values() {
            return Ok(0);
        }
        let view = Box::pin(self.view()).await?;
        Ok(view.machine.bound_kept_values(command))
    }

    /// Refuses requests that a learner does not serve, as etcd does: a learner may be far behind.
    pub fn refuse_learner(&self) -> Result<(), NodeError> {
        match self.shared.status.is_learner() {
            true => Err(NodeError::Learner),
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
            member: self.identity().member_id,
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

    /// Proposes a change of an alarm, which needs no room and which learners may propose, too. Returns the
    /// raft index of its entry.
    pub async fn report_alarm(&self, command: AlarmCommand) -> Result<u64, NodeError> {
        let applied = self
            .send_command(command.into(), None, now_ns(), 0)?
            .await?;
        Ok(applied.index)
    }

    /// Has all members hash their state at one point of the log; returns the raft index of that entry.
    pub async fn request_state_hashes(&self) -> Result<u64, NodeError> {
        self.report_alarm(AlarmCommand::hash_state()).await
    }
}
