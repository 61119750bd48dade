//! The limits of the replica (I10).

use std::ops::RangeInclusive;

/// Maximum size of a command in bytes; a longer command is refused. The maximum permits a v2 form of 10 MiB with its path and
/// framing.
pub const COMMAND_BYTES_MAX: usize = 11 << 20;

/// Maximum number of committed but unapplied entries; when it is exceeded, proposals are refused, as in etcd.
pub const APPLY_GAP_MAX: u64 = 5000;

/// Number of keys that range commands may touch in one turn. Touching them takes milliseconds. From this number on, the host
/// executes the commands, so that heartbeats are not delayed. Each value that a command may read from disk is counted as
/// several keys (`machine/kv/work.rs`).
pub const LONG_COMMAND_KEYS: u64 = 4096;

/// Maximum number of waiting requests of each kind; further requests are refused. Proposals wait for their entry to be applied
/// (the host bounds their size), linearizable reads for their barrier, and lease requests for the leader's answer.
pub const WAITING_REQUESTS_MAX: usize = 65_536;

/// Maximum number of requests in the host's inbox, and of proposals that are held before they are submitted; when it is
/// exceeded, requests of the connections with the most requests are refused.
pub const INBOX_MAX: usize = 32_768;

/// Minimum size in bytes that is charged for a queued message with proposals.
pub const FORWARDED_COST_BYTES: usize = 4 << 10;

/// Maximum size of proposals in flight in bytes, with their overhead; further proposals wait. Writing them takes tens of
/// milliseconds. Senders share the queue of waiting proposals (`fair_share`), but the order of submitted proposals is final.
pub const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;

/// Maximum size of the proposals in one message to the leader in bytes; a larger proposal gets its own message.
pub const FORWARD_BYTES: usize = 1 << 20;

/// Maximum size in bytes of the proposals that are resent when a stream opens. This is half of the capacity of the queue to a
/// member, which leaves the other half for new proposals. A leader queues at most this many bytes from one other member. It
/// refuses further proposals, and the member resends them later.
pub const FORWARD_AGAIN_BYTES: usize = 32 << 20;

/// Maximum number of missing messages with proposals from one process; when it is exceeded, the oldest of them are ignored if
/// they still arrive. Their requests then time out. A message is missing if a later message has arrived first.
pub const LOST_MESSAGES_MAX: usize = 4096;

/// Maximum number of processes of one member whose messages a leader remembers in its term; when it is exceeded, the leader
/// forgets the process with the oldest last message. A member runs in one process at a time.
pub const TAKEN_PROCESSES_MAX: usize = 4;

/// Number of ticks after which an unanswered ReadIndex round is issued again.
pub const READ_INDEX_RETRY_TICKS: u64 = 5;

/// Maximum time in nanoseconds for which a leader defers a commit index that no request waits for; usually, the next append
/// carries it earlier.
pub const COMMIT_DEFERRAL_NS: u64 = 1_000_000;

/// Number of nanoseconds between the first campaigns of two members after the leader's process ended. The first member usually
/// wins within that time.
pub const FAILOVER_STEP_NS: u64 = 20_000_000;

/// Maximum number of times that a member campaigns after the leader's process ended; then it waits for election timeouts.
pub const FAILOVER_CAMPAIGNS: u32 = 12;

/// Number of times that a leader tries to transfer leadership before its removal. A tick or a failed transfer separates two
/// attempts.
pub const HANDOVER_ATTEMPTS: u32 = 3;

/// Maximum number of ticks for which a removed member keeps running while it waits for a rejection from the only remaining
/// voter.
pub const LEAVING_TICKS: u64 = 600;

/// Number of ticks after which a snapshot without a reported result is treated as failed. Any transfer takes much less time.
pub const SNAPSHOT_REPORT_TICKS: u64 = 36_000;

/// Maximum increase of a member's term by messages in one election timeout; a higher term in a message is treated as the
/// highest permitted term. A member that campaigns alone does not reach this increase in a century. Members whose terms differ
/// by more still converge.
pub const TERM_RISE_MAX: u64 = 1 << 32;

/// Number of applied entries kept in memory for members that lag, like etcd's `--snapshot-catchup-entries`.
pub const CATCH_UP_ENTRIES: u64 = 5000;

/// Maximum size in bytes of the entries kept for members that lag and of the committed entries that wait for a long command.
/// Above this size, a member drops the older half of the applied entries. A follower also drops further appends, which the
/// leader resends.
pub const CATCH_UP_BYTES: usize = 64 << 20;

/// Maximum size in bytes of the applied entries kept in memory for members that are receiving a snapshot or entries. A member
/// that falls further behind gets another snapshot.
pub const RECEIVERS_BYTES: usize = 256 << 20;

/// Returns [`CATCH_UP_BYTES`], or a sixteenth of a small memory budget of `memory_bytes` bytes, but at least
/// [`COMMAND_BYTES_MAX`].
pub(crate) fn catch_up_bytes(memory_bytes: u64) -> usize {
    within(CATCH_UP_BYTES, memory_bytes / 16)
}

/// Returns [`RECEIVERS_BYTES`], or an eighth of a small memory budget of `memory_bytes` bytes, but at least
/// [`COMMAND_BYTES_MAX`]. The result includes [`catch_up_bytes`]. With a smaller share, receivers in a busy cluster would need
/// one snapshot after another.
pub(crate) fn receivers_bytes(memory_bytes: u64) -> usize {
    within(RECEIVERS_BYTES, memory_bytes / 8)
}

/// Returns [`FORWARD_AGAIN_BYTES`], or about a sixteenth of a small memory budget of `memory_bytes` bytes, but at least enough
/// for the longest command. A leader holds up to this many bytes for each other member.
pub(crate) fn forward_again_bytes(memory_bytes: u64) -> usize {
    // A message with the longest command is longer than the command.
    within(FORWARD_AGAIN_BYTES - FORWARD_BYTES, memory_bytes / 16) + FORWARD_BYTES
}

/// Returns the smaller of a bound and a share of the memory budget, both in bytes, but at least [`COMMAND_BYTES_MAX`].
fn within(bytes_max: usize, share: u64) -> usize {
    let share = usize::try_from(share).unwrap_or(usize::MAX);
    share.clamp(COMMAND_BYTES_MAX, bytes_max)
}

/// Maximum size of the entries in one append message in bytes; further entries go into the next message.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Maximum size in bytes of proposals that are appended together. Even with encoding overhead, they fit into one append
/// message, so each member receives all of them together.
pub const PROPOSAL_BATCH_BYTES: u64 = MESSAGE_BYTES_MAX / 2;

/// Maximum number of append messages in flight to one member.
pub const INFLIGHT_MESSAGES: usize = 256;

/// Maximum size in bytes of the committed entries applied in one round, so that a long log does not delay a turn.
pub const APPLY_ROUND_BYTES: u64 = 16 << 20;

/// Number of ticks between two checks for expired v2 nodes (500 ms in etcd; a tick is 100 ms).
pub const EXPIRE_TICKS: u64 = 5;

/// Maximum number of waiting v2 watchers per member; further watchers are refused.
pub const WATCHERS_MAX: usize = 131_072;

/// Maximum number of changed locations recorded for a stream that has not read them yet; when it is exceeded, the stream reads
/// the history itself.
pub const NOTED_LOCATIONS_MAX: usize = 1024;

/// Number of leases and attached keys at which an expiration entry is full. Applying this many takes half a millisecond. A
/// single lease can have more keys.
pub const LEASE_EXPIRATIONS_PER_ENTRY: usize = 500;

/// Maximum number of leases in one checkpoint entry, as in etcd.
pub const LEASE_CHECKPOINTS_PER_ENTRY: usize = 1000;

/// Maximum number of leases that the leader checks in one tick. The checks take about 20 ms if keep-alives have delayed a
/// million leases that were due at the same time.
pub const LEASE_CHECKS_PER_TICK: usize = 50_000;

/// Number of nanoseconds after which the expiration of a lease that still exists is proposed again, as in etcd.
pub const LEASE_EXPIRY_RETRY_NS: u64 = 3_000_000_000;

/// Seconds between two checkpoints of a lease's remaining TTL: half of its full TTL, clamped to this range. etcd always waits
/// for the upper end.
pub const LEASE_CHECKPOINT_S: RangeInclusive<i64> = 5..=300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_memory_budget_holds_fewer_forwarded_proposals() {
        assert_eq!(forward_again_bytes(u64::MAX), FORWARD_AGAIN_BYTES);
        assert_eq!(forward_again_bytes(256 << 20), 17 << 20);
        assert!(forward_again_bytes(64 << 20) > COMMAND_BYTES_MAX);
    }
}
