//! Decides the memory budget of this process and starts its monitor. `witan_node` keeps the process within the budget.

use std::{path::Path, sync::Arc};

use tokio::sync::watch;
use witan_base::memory_limit::MemoryLimit;
use witan_node::{MemoryBudget, MemoryMonitor};

use super::error::BootError;

/// Returns the memory budget in bytes: `wanted`, or the limit of this process less a reserve. Logs it with its source.
/// Unlimited if neither is known.
fn budget_bytes(wanted: Option<u64>) -> u64 {
    let Some(limit) = MemoryLimit::read(Path::new("/")) else {
        let budget_bytes = wanted.unwrap_or(u64::MAX);
        tracing::warn!(budget_bytes, "memory budget; the memory limit is unknown");
        return budget_bytes;
    };
    let (limit_bytes, limit_source) = (limit.bytes, limit.source.name());
    let budget_bytes = wanted.unwrap_or(limit.budget_bytes());
    tracing::info!(budget_bytes, limit_bytes, limit_source, "memory budget");
    if budget_bytes > limit_bytes {
        tracing::warn!(
            "--memory-budget-bytes exceeds the memory limit; the system can kill this process"
        );
    }
    budget_bytes
}

/// Decides the memory budget and starts the thread that keeps this process within it until `stopping` is true.
pub(super) fn budget(
    wanted: Option<u64>,
    stopping: watch::Receiver<bool>,
) -> Result<Arc<MemoryBudget>, BootError> {
    let memory = Arc::new(MemoryBudget::new(budget_bytes(wanted), Arc::default()));
    let started = MemoryMonitor::new(memory.clone()).start(stopping);
    started.map_err(BootError::io("start the thread that measures memory"))?;
    Ok(memory)
}
