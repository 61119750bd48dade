//! Flags that tune etcd's v3 key space and its checks.

use super::{Flag, FlagKind, FlagStatus};
use FlagKind::{Bool, Duration, Integer, Text};
use FlagStatus::{Accepted, Supported};

const ONE_STEP: &str = "compaction does not block other work, so it has no batches";
const LOG_BY_BYTES: &str =
    "the log is kept as long as the slowest member needs it, up to a size limit";

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::new("enable-grpc-gateway", Bool, "true", "Also serves the v3 API as JSON over HTTP.", Supported("the_gateway_can_be_turned_off")),
    Flag::new("auto-compaction-mode", Text, "periodic", "Mode of automatic compaction: periodic keeps old revisions by age, and revision keeps them by number.", Supported("automatic_compaction_removes_old_revisions")),
    Flag::new("auto-compaction-retention", Text, "0", "Age (periodic) or number (revision) of the old revisions to keep; 0 disables automatic compaction.", Supported("automatic_compaction_removes_old_revisions")),
    Flag::new("feature-gates", Text, "", "Feature gates of etcd, as comma-separated `NAME=true`: `InitialCorruptCheck`, `CompactHashCheck`, `SetMemberLocalAddr` (connects to other members from the first non-loopback IP address in `--initial-advertise-peer-urls`), or `AllAlpha` for all three. Other feature gates have no effect, and unknown names are refused.", Supported("members_that_differ_without_a_majority_do_not_start")),
    Flag::new("initial-corrupt-check", Bool, "false", "Compares this member's state with the other members' states before this member serves clients.", Supported("a_corrupt_member_is_rebuilt_before_it_serves")),
    Flag::new("corrupt-check-time", Duration, "0s", "Interval between comparisons of the members' states; 0 disables these comparisons.", Supported("a_corrupt_member_is_found_alarmed_and_rebuilt")),
    Flag::new("compact-hash-check-enabled", Bool, "false", "Compares the members' states after compactions.", Supported("states_are_compared_after_compactions")),
    Flag::new("compact-hash-check-time", Duration, "1m0s", "Interval between the leader's comparisons of the members' states after compactions.", Supported("states_are_compared_after_compactions")),
    Flag::new("compaction-batch-limit", Integer, "1000", "Maximum number of revisions that are compacted in a batch.", Accepted(ONE_STEP)),
    Flag::new("compaction-sleep-interval", Duration, "10ms", "Pause between batches of a compaction.", Accepted(ONE_STEP)),
    Flag::new("watch-progress-notify-interval", Duration, "10m0s", "Interval of progress notifications to idle watchers.", Supported("an_idle_watcher_gets_progress_notifications")),
    Flag::new("downgrade-check-time", Duration, "5s", "Interval at which the leader checks whether a downgrade is complete; 0 disables the check.", Supported("a_downgrade_ends_when_all_members_run_the_previous_release")),
    Flag::new("level-hold", Text, "24h", "Time for which all members must run releases with a higher feature level before the leader raises the level of the cluster. Until then, members can return to the previous release. With `0s`, the level rises as soon as all members support it; with `never`, it rises only by command. Not a flag of etcd.", Supported("the_level_rises_after_all_members_run_the_next_release")),
    Flag::new("snapshot-catchup-entries", Integer, "5000", "Number of log entries that are kept for slow members.", Accepted(LOG_BY_BYTES)),
    Flag::new("bootstrap-defrag-threshold-megabytes", Integer, "0", "Free space in MB above which etcd defragments at startup.", Accepted("Witan needs no defragmentation")),
    Flag::new("experimental-enable-lease-checkpoint", Bool, "false", "Records the remaining TTLs of leases.", Accepted("remaining TTLs of leases are always recorded")),
    Flag::new("experimental-enable-lease-checkpoint-persist", Bool, "false", "Keeps the recorded TTLs of leases when the leader changes.", Accepted("remaining TTLs of leases are always recorded")),
    Flag::new("experimental-txn-mode-write-with-shared-buffer", Bool, "true", "Uses a shared buffer of bbolt for the read-only checks of write transactions.", Accepted("Witan does not use bbolt")),
    Flag::new("experimental-stop-grpc-service-on-defrag", Bool, "false", "Stops the gRPC server of etcd during a defragmentation.", Accepted("a member serves clients during a defragmentation")),
];
