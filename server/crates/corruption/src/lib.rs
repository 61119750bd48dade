//! Finds members whose state differs from the majority's and replaces their state with the leader's.
//!
//! Members hash their entire state at compactions and at entries proposed for that purpose. A member that differs from most
//! voters gets the CORRUPT alarm, which stops writes as in etcd, and fetches the leader's state. Once its state equals the
//! majority's, the alarm is disarmed. A member whose checkpoint is damaged also fetches the leader's state, without an alarm.
//!
//! `snapshot` computes hashes, `node` stores them, `peer::query` queries members, and `witan_machine::alarm` defines alarms.
//!
//! Reading order: `agreement` (pure) → `compare` → `checker` → `metrics`.

mod agreement;
mod checker;
mod compare;
mod metrics;

use witan_api::peer::StateHash;
use witan_base::{panics, version};
use witan_node::{FrozenState, Node, StatesToHash};
use witan_snapshot::{self as snapshot, StateChecksums};
use witan_storage::run_at_low_priority;

pub use checker::{CorruptionChecker, InconsistentState};
pub use metrics::CorruptionMetrics;

/// Hashes the states that the replica's thread has frozen, one at a time, and stores the hashes. Completes when the replica's
/// thread ends. Only logs a failure.
pub async fn hash_states(node: Node, mut frozen: StatesToHash) {
    while let Some(state) = frozen.next().await {
        let hashing = panics::run_blocking(move || run_at_low_priority(|| Ok(hash(&state))));
        match hashing.await {
            Ok(Ok(Some(hash))) => node.state_hashes().add(hash),
            Ok(Ok(None)) => tracing::warn!(
                "stopped hashing a state for a comparison, because the state pinned too much memory or disk space"
            ),
            Ok(Err(error)) => tracing::warn!(%error, "failed to hash the state for a comparison"),
            // The process is stopping.
            Err(_) => return,
        }
    }
}

/// Returns the hash of a state with its log index and revisions, in the form that members compare. Returns `None` if the state
/// must be released early.
fn hash(state: &FrozenState) -> Option<StateHash> {
    let view = &state.view;
    let kv = &view.machine.kv;
    let StateChecksums { keys, others } = snapshot::of_state(view, || state.must_end())?;
    Some(StateHash {
        release: version::WITAN.to_owned(),
        index: view.position.index,
        revision: kv.revision().0,
        compact_revision: kv.compacted().0,
        keys,
        others,
    })
}
