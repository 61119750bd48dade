//! The limits of the replica (I10).

/// Maximum size of a command in bytes; a longer command is refused. It holds v2's form of 10 MiB, its path and framing.
pub const COMMAND_BYTES_MAX: usize = 11 << 20;

/// Entries that are committed and not yet applied; beyond them proposals are refused, as in etcd.
pub const APPLY_GAP_MAX: u64 = 5000;

/// Number of keys that range commands may touch in one turn, which takes milliseconds. The host executes commands beyond that,
/// so that heartbeats continue.
pub const LONG_COMMAND_KEYS: u64 = 4096;

/// Waiting requests of each kind; more are refused. Proposals wait until their entry is applied (the host
/// bounds their bytes), linearizable reads for their barrier, requests about leases for the leader.
pub const WAITING_REQUESTS_MAX: usize = 65_536;

/// Requests in the inbox of the host, and proposals that are held before raft gets them; beyond them
/// connections with the most are refused.
pub const INBOX_MAX: usize = 32_768;

/// Minimum size in bytes that a held message with proposals counts as.
pub const FORWARDED_COST_BYTES: usize = 4 << 10;

/// Maximum size of proposals in flight in bytes, with the overhead of each; further proposals wait. Writing them takes some
/// tens of milliseconds. Senders share the queue of those that wait (`fair_share`); the order of the log is final.
pub const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;

/// Maximum bytes of proposals in one message to the leader; a larger proposal gets its own message.
pub const FORWARD_BYTES: usize = 1 << 20;

/// Maximum bytes of proposals that are resent when a stream was opened: half of its queue's capacity, which leaves the rest to
/// new ones. As many of one other member are held; more are refused and resent later.
pub const FORWARD_AGAIN_BYTES: usize = 32 << 20;

/// Messages with proposals of one process that are missing between others; the oldest beyond them are ignored
/// if they arrive. Their requests time out.
pub const LOST_MESSAGES_MAX: usize = 4096;

/// Processes of one member whose messages with proposals a leader remembers in its term; beyond them it forgets
/// the one that it heard least recently. A member runs in one process at a time.
pub const TAKEN_PROCESSES_MAX: usize = 4;

/// Ticks after which an unanswered ReadIndex round is issued again.
pub const READ_INDEX_RETRY_TICKS: u64 = 5;

/// Nanoseconds for which a leader delays a commit index that nobody waits for, so that the next append carries it.
pub const COMMIT_DEFERRAL_NS: u64 = 1_000_000;

/// Nanoseconds between the first campaigns of two members whose leader's process ended. The first one usually wins within that
/// time.
pub const FAILOVER_STEP_NS: u64 = 20_000_000;

/// Maximum number of campaigns of one member because the leader's process ended; then it waits for election timeouts.
pub const FAILOVER_CAMPAIGNS: u32 = 12;

/// Number of times that a leader to be removed first tries to transfer leadership, with a tick or a failed transfer in between.
pub const HANDOVER_ATTEMPTS: u32 = 3;

/// Ticks for which a removed leader waits until the only remaining voter refuses it.
pub const LEAVING_TICKS: u64 = 600;

/// Ticks after which a snapshot without a reported result counts as failed: much longer than any transfer takes.
pub const SNAPSHOT_REPORT_TICKS: u64 = 36_000;

/// Terms by which messages raise a member's term in one election timeout; a higher term raises it by this many.
/// A member alone campaigns less often in a century. Members whose terms differ by more still meet.
pub const TERM_RISE_MAX: u64 = 1 << 32;

/// Applied entries kept in memory for members that lag, as etcd's `--snapshot-catchup-entries`.
pub const CATCH_UP_ENTRIES: u64 = 5000;

/// Maximum size of these entries in bytes, and of the committed entries that wait for a long command. Above this limit, the
/// older half of the applied entries is dropped, and a member that still needs them gets a snapshot. The leader's appends are
/// dropped and resent.
pub const CATCH_UP_BYTES: usize = 64 << 20;

/// Maximum bytes of applied entries kept in memory for members that are receiving a snapshot or entries. A member that falls
/// further behind gets another snapshot.
pub const RECEIVERS_BYTES: usize = 256 << 20;

/// Maximum size of the entries in one append message in bytes; further entries go into the next message.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Maximum bytes of proposals that are appended together: less than an append message holds, including encoding overhead, so
/// that each member gets all of them at once.
pub const PROPOSAL_BATCH_BYTES: u64 = MESSAGE_BYTES_MAX / 2;

/// Maximum number of append messages in flight to one member.
pub const INFLIGHT_MESSAGES: usize = 256;

/// Maximum bytes of committed entries applied in one round, so that a long log does not delay a turn.
pub const APPLY_ROUND_BYTES: u64 = 16 << 20;

/// Ticks between two checks for expired v2 nodes (etcd: 500 ms at 100 ms a tick).
pub const EXPIRE_TICKS: u64 = 5;

/// Waiting v2 watchers of one member; more are refused.
pub const WATCHERS_MAX: usize = 131_072;

/// Locations of changes noted for one stream that has not read them yet; beyond them the stream reads the
/// history itself.
pub const NOTED_LOCATIONS_MAX: usize = 1024;

/// Maximum number of leases and attached keys that one expiration entry removes: half a millisecond of applying.
pub const LEASE_EXPIRATIONS_PER_ENTRY: usize = 500;

/// Maximum number of leases in one checkpoint entry, as in etcd.
pub const LEASE_CHECKPOINTS_PER_ENTRY: usize = 1000;

/// Maximum number of leases that the leader checks in one tick: some 20 ms, if keep-alives have delayed the checks of a million
/// leases that were due at the same time.
pub const LEASE_CHECKS_PER_TICK: usize = 50_000;

/// Nanoseconds after which the expiration of a lease that still exists is proposed again, as in etcd.
pub const LEASE_EXPIRY_RETRY_NS: u64 = 3_000_000_000;

/// The shortest time between two checkpoints of a lease's remaining time, in seconds; half of a short TTL counts as
/// this many.
pub const LEASE_CHECKPOINT_S_MIN: i64 = 5;

/// The longest time between two checkpoints of a lease's remaining time, in seconds, as in etcd; half of a long TTL
/// counts as this many.
pub const LEASE_CHECKPOINT_S_MAX: i64 = 300;
