//! Decides the memory budget of this process and starts its monitor. `witan_node` keeps the process within the budget.

use std::{path::Path, sync::Arc};

use tokio::sync::watch;
use witan_base::memory_limit::MemoryLimit;
use witan_node::{MemoryBudget, MemoryMonitor};

use super::error::BootError;

/// Divisor of the memory budget that yields the maximum size of the log between two checkpoints.
const CHECKPOINT_PART: u64 = 8;

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

/// Returns the size in bytes of the log between two checkpoints: `suited`, which suits the disk, or less if the budget is
/// small. Values stay in memory until a checkpoint contains them.
pub(super) fn checkpoint_log_bytes(memory: &MemoryBudget, suited: u64) -> u64 {
    suited.min(memory.bytes() / CHECKPOINT_PART)
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

#[cfg(test)]
mod tests {
    use witan_machine::values::BlockCache;

    use super::*;

    #[test]
    fn a_small_budget_shortens_the_log_between_checkpoints() {
        let log_bytes = |budget| {
            let memory = MemoryBudget::new(budget, Arc::new(BlockCache::new()));
            checkpoint_log_bytes(&memory, 32 << 20)
        };
        assert_eq!(log_bytes(64 << 20), 8 << 20);
        assert_eq!(log_bytes(1 << 30), 32 << 20);
    }
}
