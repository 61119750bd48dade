//! Decides the memory budget of this process and starts its monitor. `witan_node` keeps the process within the budget.

use std::{path::Path, sync::Arc};

use tokio::sync::watch;
use witan_base::memory_limit::MemoryLimit;
use witan_config::Config;
use witan_node::{MemoryBudget, MemoryMonitor};
use witan_storage as storage;

use super::error::BootError;

/// Returns the limit less `files_bytes`, the size of a file system in memory. At least half of the limit remains.
fn without_files(limit: MemoryLimit, files_bytes: u64) -> MemoryLimit {
    let bytes = limit.bytes - files_bytes.min(limit.bytes / 2);
    MemoryLimit { bytes, ..limit }
}

/// Returns the memory budget in bytes: `wanted`, or the limit of this process minus a reserve. The limit excludes the file
/// system of `data_dir` if that file system is in memory. If `wanted` is `None` and no limit is known, the budget is unlimited.
/// Logs the budget, and a warning if the limit is unknown or smaller than the budget.
fn budget_bytes(wanted: Option<u64>, data_dir: &Path) -> u64 {
    let Some(limit) = MemoryLimit::read(Path::new("/")) else {
        let budget_bytes = wanted.unwrap_or(u64::MAX);
        tracing::warn!(
            budget_bytes,
            "set the memory budget without a known memory limit"
        );
        return budget_bytes;
    };
    let limit = without_files(limit, storage::memory_bytes(data_dir));
    let (limit_bytes, limit_source) = (limit.bytes, limit.source);
    let budget_bytes = wanted.unwrap_or(limit.budget_bytes());
    tracing::info!(
        budget_bytes,
        limit_bytes,
        limit_source,
        "set the memory budget"
    );
    if budget_bytes > limit_bytes {
        tracing::warn!(
            "--memory-budget-bytes exceeds the memory limit; the system can kill this process"
        );
    }
    budget_bytes
}

/// Decides the memory budget and starts the thread that keeps this process within it until `stopping` is true.
pub(super) fn budget(
    config: &Config,
    stopping: watch::Receiver<bool>,
) -> Result<Arc<MemoryBudget>, BootError> {
    let budget_bytes = budget_bytes(config.memory_budget_bytes, &config.data_dir);
    let memory = Arc::new(MemoryBudget::new(budget_bytes, Arc::default()));
    let started = MemoryMonitor::new(memory.clone()).start(stopping);
    started.map_err(BootError::io("start the thread that measures memory"))?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_memory_leave_less_for_the_process() {
        let left = |files_mib: u64| {
            let limit = MemoryLimit { bytes: 1 << 30, source: "cgroup" };
            without_files(limit, files_mib.saturating_mul(1 << 20)).bytes >> 20
        };
        assert_eq!([0, 256, 700, u64::MAX].map(left), [1024, 768, 512, 512]);
    }
}
