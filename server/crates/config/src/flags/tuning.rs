//! Flags that tune etcd's v3 key space and its checks.

use super::{Flag, FlagKind, accepted, supported};
use FlagKind::{Bool, Duration, Integer, Text};

const ONE_STEP: &str = "compaction does not stop other work, so it has no batches";
const LOG_BY_BYTES: &str =
    "the log is kept as long as the slowest member needs it, up to a size limit";

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::new("enable-grpc-gateway", Bool, "true", "Whether v3 is also served as JSON over HTTP.", supported("the_gateway_can_be_turned_off")),
    Flag::new("auto-compaction-mode", Text, "periodic", "Whether old revisions are kept for a time (periodic) or by number (revision).", supported("old_revisions_go_by_themselves")),
    Flag::new("auto-compaction-retention", Text, "0", "How long, or how many, old revisions are kept; 0 turns automatic compaction off.", supported("old_revisions_go_by_themselves")),
    Flag::new("feature-gates", Text, "", "Features that etcd switches by name, as `NAME=true`: `InitialCorruptCheck`, `CompactHashCheck`, `SetMemberLocalAddr` (connect to other members from the first non-loopback IP address in `--initial-advertise-peer-urls`) or `AllAlpha` for all of them; no other is optional here, and an unknown one is refused.", supported("members_that_differ_without_a_majority_do_not_start")),
    Flag::new("initial-corrupt-check", Bool, "false", "Whether a member compares its state with the others' before it serves clients.", supported("a_corrupt_member_is_rebuilt_before_it_serves")),
    Flag::new("corrupt-check-time", Duration, "0s", "How often members compare their states; 0 turns that off.", supported("a_corrupt_member_is_found_alarmed_and_rebuilt")),
    Flag::new("compact-hash-check-enabled", Bool, "false", "Whether members compare their states after compactions.", supported("states_are_compared_after_compactions")),
    Flag::new("compact-hash-check-time", Duration, "1m0s", "How often a leader compares the states after compactions.", supported("states_are_compared_after_compactions")),
    Flag::new("compaction-batch-limit", Integer, "1000", "Revisions that a batch of compaction removes.", accepted(ONE_STEP)),
    Flag::new("compaction-sleep-interval", Duration, "10ms", "Pause between batches of compaction.", accepted(ONE_STEP)),
    Flag::new("watch-progress-notify-interval", Duration, "10m0s", "Interval of progress notifications to idle watchers.", supported("an_idle_watcher_gets_progress_notifications")),
    Flag::new("downgrade-check-time", Duration, "5s", "How often a leader checks whether a downgrade is complete; 0 turns the check off.", supported("a_downgrade_ends_when_it_is_looked_at")),
    Flag::new("snapshot-catchup-entries", Integer, "5000", "Entries of the log that are kept for slow members.", accepted(LOG_BY_BYTES)),
    Flag::new("bootstrap-defrag-threshold-megabytes", Integer, "0", "Free space at which etcd defragments before it starts.", accepted("nothing is fragmented at a start")),
    Flag::new("experimental-enable-lease-checkpoint", Bool, "false", "Whether remaining times of leases are recorded.", accepted("remaining times of leases are always recorded")),
    Flag::new("experimental-enable-lease-checkpoint-persist", Bool, "false", "Whether recorded remaining times survive a change of leader.", accepted("remaining times of leases are always recorded")),
    Flag::new("experimental-txn-mode-write-with-shared-buffer", Bool, "true", "Whether transactions share bbolt's buffer.", accepted("there is no bbolt here")),
    Flag::new("experimental-stop-grpc-service-on-defrag", Bool, "false", "Whether etcd stops serving while it defragments.", accepted("a defragmentation never stops serving")),
];
