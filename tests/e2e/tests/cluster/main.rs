//! Clusters of several processes: nothing acknowledged is lost when members die, and a cluster that was
//! stopped comes back by itself. `tests/faults` has the same promises under every fault at once.
//!
//! Reading order: `failover` (the leader dies) → `broken_stream` → `restart` (members stop and come back) → `snapshot` (a
//! member that lags too far) → `long_commands` (work of seconds) → `quorum` (too few run) → `membership` (members come and go)
//! → `learners` (what members without a vote serve) → `forced` (one is left) → `copied` (disks are copies) → `corruption`
//! (states differ) → `clocks` (wall clocks jump) → `peers` (the peer port) → `tls` (between members) → `tokens` (log-ins) →
//! `recorder` (what a member records), `versions` (members of several releases) → `etcd` (its disks and its members).

#[path = "../tls/authority.rs"]
mod authority;
mod broken_stream;
mod clocks;
mod copied;
mod corruption;
mod etcd;
mod failover;
mod forced;
mod learners;
mod long_commands;
mod membership;
mod peers;
mod quorum;
mod recorder;
mod restart;
mod snapshot;
mod tls;
mod tokens;
mod versions;
