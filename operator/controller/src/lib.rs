//! The operator runs etcd clusters of Witan members on Kubernetes.
//!
//! A pass over a cluster observes, plans, acts and reports. `plan` is a pure function from the observed state to one step.
//! `resources` builds Kubernetes objects but does not apply them. `clusters` runs passes over clusters, `backups` over
//! EtcdBackups and their schedules, and `operations` over EtcdOperations.
//!
//! Reading order: `options` (flags) → `run` (the process), `election`, `serve` (HTTP) → `passes` (the loop), `operator` (shared
//! state), `api_server` → `clusters` → `observe`, `warnings` → `retries` (backoff), `rollouts` (concurrent updates) → `act`,
//! `resources`, `discovery` → `report`, `announce` (events), `metrics` → `backups` → `operations`.

mod act;
mod announce;
mod api_server;
mod backups;
mod clusters;
mod discovery;
mod election;
mod metrics;
mod observe;
mod operations;
mod operator;
mod options;
mod passes;
mod report;
mod resources;
mod retries;
mod rollouts;
mod run;
mod serve;
#[cfg(test)]
mod testing;
mod warnings;

pub use options::Options;
pub use run::run;
