//! Whether there is room for what a command adds: on the disk, and in the quota for the v2 tree, users,
//! roles and members. All dialects propose through here, so none of them can be forgotten. The quota of
//! the v3 key space is looked at in the dialect, as etcd does, with the request's own measure; what a request
//! of v3 keeps is looked at here.

use witan_machine::{
    alarm::{self, AlarmType},
    command::Command,
    lease,
};

use super::{Node, NodeError, now_ns};

/// Users, roles and members may take so many bytes whatever the quota is: who may do what can be
/// decided on a full member, too, as on etcd, which has no quota for it.
const MANAGEMENT_BYTES_ALWAYS: u64 = 64 << 10;

impl Node {
    /// Refuses a command that this member does not take now: it is too long, or the member is a learner, or
    /// disk or quota has no room. Raises the alarm NOSPACE if the quota is used up. Returns the bytes of the
    /// values that the command keeps.
    pub(super) async fn admit(&self, command: &mut Command) -> Result<u64, NodeError> {
        if let Command::Auth(command) = command
            && command.is_too_long()
        {
            return Err(NodeError::TooLarge);
        }
        if !command.is_required_at_start() {
            self.refuse_learner()?;
        }
        self.admit_to_disk(command)?;
        let kept = match command {
            Command::Kv(command) if command.keeps_values() => {
                let view = Box::pin(self.view()).await?;
                view.machine.bound_kept_values(command)
            }
            Command::Kv(_)
            | Command::Tree(_)
            | Command::Auth(_)
            | Command::Members(_)
            | Command::Lease(_)
            | Command::Publish(_)
            | Command::ClusterVersion(_)
            | Command::Alarm(_)
            | Command::PeerUrls(_)
            | Command::Downgrade(_) => 0,
        };
        let bytes = growth(command) + kept;
        if bytes == 0 {
            return Ok(kept);
        }
        let manages = matches!(command, Command::Auth(_) | Command::Members(_));
        if manages && self.auth_bytes() + bytes <= MANAGEMENT_BYTES_ALWAYS {
            return Ok(kept);
        }
        if self.shared.status.any_no_space() {
            return Err(NodeError::NoSpace);
        }
        let size = self.quota_used_bytes();
        if self
            .shared
            .quota_bytes
            .is_none_or(|quota| size + bytes < quota)
        {
            return Ok(kept);
        }
        // A future of its own, so that those of all other commands stay small.
        Box::pin(self.raise_no_space()).await;
        Err(NodeError::NoSpace)
    }

    /// Refuses requests that a learner does not serve, as etcd does: a learner may be far behind.
    pub fn refuse_learner(&self) -> Result<(), NodeError> {
        match self.shared.status.is_learner() {
            true => Err(NodeError::Learner),
            false => Ok(()),
        }
    }

    /// Refuses a command that makes the state larger while the disk has little room.
    fn admit_to_disk(&self, command: &Command) -> Result<(), NodeError> {
        if self.shared.disk.is_low() && grows(command) {
            Err(NodeError::NoSpace)
        } else {
            Ok(())
        }
    }

    /// Raises this member's alarm about the quota. If that fails now, the next refused request tries
    /// again.
    pub async fn raise_no_space(&self) {
        if self.no_space() {
            return;
        }
        let command = alarm::AlarmCommand {
            action: alarm::AlarmAction::Activate as i32,
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
    pub async fn report_alarm(&self, command: alarm::AlarmCommand) -> Result<u64, NodeError> {
        let applied = self
            .send_command(command.into(), None, now_ns(), 0)?
            .await?;
        Ok(applied.index)
    }

    /// Has all members hash their state at one point of the log; returns the raft index of that entry.
    pub async fn request_state_hashes(&self) -> Result<u64, NodeError> {
        self.report_alarm(alarm::AlarmCommand::hash_state()).await
    }
}

/// Returns by how many bytes a command on the v2 tree, users or members may raise what counts against the
/// quota; 0 for others, since v3's dialect counts keys.
fn growth(command: &Command) -> u64 {
    match command {
        Command::Tree(command) => command.growth(),
        Command::Auth(command) => command.growth(),
        Command::Members(change) => change.growth(),
        Command::Kv(_)
        | Command::Lease(_)
        | Command::Publish(_)
        | Command::ClusterVersion(_)
        | Command::Alarm(_)
        | Command::PeerUrls(_)
        | Command::Downgrade(_) => 0,
    }
}

/// Whether a command makes the state larger.
pub(super) fn grows(command: &Command) -> bool {
    match command {
        Command::Kv(command) => command.puts(),
        Command::Lease(command) => {
            matches!(&command.operation, Some(lease::LeaseOperation::Grant(_)))
        }
        Command::Tree(_)
        | Command::Auth(_)
        | Command::Members(_)
        | Command::Publish(_)
        | Command::ClusterVersion(_)
        | Command::Alarm(_)
        | Command::PeerUrls(_)
        | Command::Downgrade(_) => growth(command) > 0,
    }
}
