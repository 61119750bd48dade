//! The operator: it runs etcd clusters of Witan members on Kubernetes.
//!
//! One pass over a cluster is observe, plan, act, report. `plan` is a pure function from the observed state to one
//! step; it knows neither Kubernetes nor the network. `resources` makes objects of Kubernetes and applies none.
//! `controller` is the loop around passes. `backups` runs jobs for EtcdBackups and creates EtcdBackups at the times of a
//! schedule. `operations` does the EtcdOperations that people create.

pub mod act;
pub mod backups;
pub mod controller;
pub mod discovery;
pub mod election;
pub mod logging;
pub mod metrics;
pub mod observe;
pub mod operations;
pub mod options;
pub mod report;
pub mod resources;
pub mod serve;
pub mod tried;

#[cfg(test)]
mod testing;

/// Locks shared state. No code panics while it holds a lock.
fn lock<T>(state: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    state
        .lock()
        .expect("no code panics while it holds this lock")
}
