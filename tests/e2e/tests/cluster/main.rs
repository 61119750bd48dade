//! Clusters of several processes, which restart, lag, join, leave and differ. `tests/faults` kills members under load.
//!
//! Reading order: `restart` (members stop and restart) → `snapshot` (a member lags too far) → `long_commands` (commands of
//! seconds) → `quorum` (too few members run) → `membership` (members are added and removed) → `learners` (what members without
//! a vote serve) → `forced` (one member is left) → `copied` (disks are copies) → `restored` (members start from different
//! snapshots) → `corruption` (states differ) → `clocks` (wall clocks jump) → `peers` (the peer port) → `tls` (between members)
//! → `tokens` (logins) → `recorder` (what a member records), `versions` (members of several releases) → `levels` (the feature
//! level) → `etcd` (its disks and its members) → `gateway` (a proxy in front of the members).

#[path = "../tls/authority.rs"]
mod authority;
mod clocks;
mod copied;
mod corruption;
mod etcd;
mod forced;
mod gateway;
mod learners;
mod levels;
mod long_commands;
mod membership;
mod peers;
mod quorum;
mod recorder;
mod restart;
mod restored;
mod snapshot;
mod tls;
mod tokens;
mod versions;
