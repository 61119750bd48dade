//! Finds members whose state differs from that of most others, and replaces it by the leader's.
//!
//! At a point of the log every member hashes its whole state. The points are compactions, and entries that are proposed
//! for it. Members that differ from most voters get the alarm CORRUPT, which stops writes as in etcd, and ask the
//! leader for its state. Once their state equals that of the others, the alarm is lowered.
//!
//! Not here: how a state is hashed (`snapshot`), where the hashes are kept (`node`), how other members are asked
//! (`peer::query`), what an alarm stops (`witan_machine::alarm`).
//!
//! Reading order: `agreement` (evaluates the hashes; pure) → `compare` (asks the others) → `checker` (schedule and
//! reaction) → `metrics`.

mod agreement;
mod checker;
mod compare;
mod metrics;

use witan_api::peer::StateHash;
use witan_base::{panics, version};
use witan_machine::view::View;
use witan_node::{Node, StatesToHash};
use witan_snapshot::{self as snapshot, StateChecksums};
use witan_storage::run_at_low_priority;

pub use checker::{CorruptionChecker, InconsistentState};
pub use metrics::CorruptionMetrics;

/// Hashes each state that the replica's thread has frozen, one after the other, and keeps the hashes. Ends
/// with that thread.
pub async fn hash_states(node: Node, mut frozen: StatesToHash) {
    while let Some(view) = frozen.next().await {
        let hashing = panics::run_blocking(move || run_at_low_priority(|| Ok(hash(&view))));
        match hashing.await {
            Ok(Ok(hash)) => node.state_hashes().add(hash),
            Ok(Err(error)) => tracing::warn!(%error, "failed to hash the state for a comparison"),
            // the process stops
            Err(_) => return,
        }
    }
}

fn hash(view: &View) -> StateHash {
    let kv = &view.machine.kv;
    let StateChecksums { keys, others } = snapshot::of_state(view);
    StateHash {
        release: version::WITAN.to_owned(),
        index: view.position.index,
        revision: kv.revision(),
        compact_revision: kv.compacted(),
        keys,
        others,
    }
}
