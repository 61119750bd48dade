//! Hashes of this member's state. All members hash their states after the same entries: compactions and hash requests.
//!
//! `witan_snapshot` computes the hashes, and `corruption` reacts to differences.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::{broadcast, broadcast::error::RecvError, watch},
    time::timeout,
};
use witan_api::peer::StateHash;
use witan_machine::{Reply, view::View};

use super::{
    LoopRequest, Node, NodeError,
    held_views::{HeldView, HeldViews},
};

/// Number of hashes to keep. etcd keeps ten.
const HASHES_KEPT: usize = 16;

/// Maximum number of frozen states that wait to be hashed; when it is exceeded, the oldest state is not hashed. Startup freezes
/// states for commands in the log. Members that start together each request a comparison, so one turn can freeze several
/// states.
const FROZEN_MAX: usize = 8;

/// Maximum time for receiving and installing the leader's state.
const REBUILD_TIMEOUT: Duration = Duration::from_secs(600);

impl Node {
    /// Returns whether this member's CORRUPT alarm was active after the last turn.
    pub fn has_corrupt_alarm(&self) -> bool {
        self.shared.status.corrupt.load(Relaxed)
    }

    /// Returns whether the leader's state must replace this member's checkpoint, because the scrub has found damage.
    pub fn has_damaged_checkpoint(&self) -> bool {
        self.shared.status.checkpoint_damaged.load(Relaxed)
    }

    /// Returns the hashes of this member's state.
    pub fn state_hashes(&self) -> &StateHashes {
        &self.shared.state_hashes
    }

    /// Replaces this member's state with the leader's state. A leader must first transfer leadership. Completes after the next
    /// installation of a snapshot. Fails with `Timeout` if that takes longer than `REBUILD_TIMEOUT`.
    pub async fn rebuild(&self) -> Result<(), NodeError> {
        let mut installs = self.shared.installs.subscribe();
        self.send(LoopRequest::Rebuild)?;
        match timeout(REBUILD_TIMEOUT, installs.changed()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(NodeError::Stopped),
            Err(_) => Err(NodeError::Timeout),
        }
    }
}

/// A state to hash. Until it is dropped, it is accounted for like the state of a reader.
#[derive(Clone, Debug)]
pub struct FrozenState {
    /// The state.
    pub view: View,
    held: Arc<HeldView>,
}

impl FrozenState {
    /// Returns whether the state must be released without a hash, because readers pin too much memory or disk space.
    pub fn must_end(&self) -> bool {
        self.held.end.is_told()
    }
}

/// The sending half of the queue of states to hash.
#[derive(Clone, Debug)]
pub struct FrozenStates {
    to: broadcast::Sender<FrozenState>,
    /// Whether to hash states after compactions.
    compactions: bool,
}

impl FrozenStates {
    /// Creates both halves of the queue. Without `compactions`, states after compactions are not queued.
    pub fn new(compactions: bool) -> (Self, StatesToHash) {
        let (to, frozen) = broadcast::channel(FROZEN_MAX);
        (Self { to, compactions }, StatesToHash(frozen))
    }

    /// Queues the state after the entry with this reply for hashing and adds it to `readers`. Ignores a compaction if states
    /// after compactions are not hashed. Drops the oldest state if [`FROZEN_MAX`] states wait.
    pub(super) fn offer(&self, view: View, reply: &Reply, readers: &HeldViews) {
        if self.compactions || !matches!(reply, Reply::Kv(_)) {
            let held = Arc::new(readers.hold(&view.machine, true));
            // An error means that the process ends.
            let _ = self.to.send(FrozenState { view, held });
        }
    }
}

/// The receiving half of the queue of states to hash.
#[derive(Debug)]
pub struct StatesToHash(broadcast::Receiver<FrozenState>);

impl StatesToHash {
    /// Takes the oldest queued state, or waits for a state. Skips states that must be released. Returns `None` if the
    /// replica's thread has ended.
    pub async fn next(&mut self) -> Option<FrozenState> {
        loop {
            match self.0.recv().await {
                Ok(state) if state.must_end() => {}
                Ok(state) => return Some(state),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// The last `HASHES_KEPT` hashes, oldest first.
#[derive(Debug, Default)]
pub struct StateHashes {
    kept: watch::Sender<VecDeque<StateHash>>,
}

impl StateHashes {
    /// Adds a hash and drops the oldest hash if there are more than `HASHES_KEPT`.
    pub fn add(&self, hash: StateHash) {
        self.kept.send_modify(|kept| {
            if kept.len() == HASHES_KEPT {
                kept.pop_front();
            }
            kept.push_back(hash);
        });
    }

    /// Returns the hash of the state after the entry `index`, or `None` if the hash is not kept.
    pub fn at(&self, index: u64) -> Option<StateHash> {
        find(&self.kept.borrow(), index)
    }

    /// Waits for the hash of the state after the entry `index`. Returns `None` if no further hash can arrive. Never completes
    /// if that state is not hashed or its hash was dropped, so use a timeout.
    pub async fn wait_for(&self, index: u64) -> Option<StateHash> {
        let mut kept = self.kept.subscribe();
        let found = kept.wait_for(|kept| find(kept, index).is_some()).await;
        found.ok().and_then(|kept| find(&kept, index))
    }

    /// Returns the hashes of states after entries above `index`, newest first.
    pub fn after(&self, index: u64) -> Vec<StateHash> {
        let kept = self.kept.borrow();
        let newest = kept.iter().rev().cloned();
        newest.filter(|hash| hash.index > index).collect()
    }

    /// Drops all hashes, because the state was replaced.
    pub(super) fn clear(&self) {
        self.kept.send_modify(VecDeque::clear);
    }
}

/// Returns the kept hash of the state after the entry `index`, or `None` if no such hash is kept.
fn find(kept: &VecDeque<StateHash>, index: u64) -> Option<StateHash> {
    kept.iter().find(|hash| hash.index == index).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(index: u64) -> StateHash {
        StateHash {
            release: "1".into(),
            index,
            revision: 1,
            compact_revision: -1,
            keys: 1,
            others: 1,
        }
    }

    fn state(index: u64) -> View {
        let mut view = View::default();
        view.position.index = index;
        view
    }

    #[test]
    fn the_last_hashes_are_kept() {
        let hashes = StateHashes::default();
        let last = HASHES_KEPT as u64 + 3;
        (1..=last).for_each(|index| hashes.add(hash(index)));
        assert_eq!((hashes.at(3), hashes.at(4)), (None, Some(hash(4))));
        assert_eq!(hashes.after(last - 2), [hash(last), hash(last - 1)]);
        hashes.clear();
        assert_eq!(hashes.at(last), None);
    }

    #[tokio::test]
    async fn the_latest_states_are_hashed_when_more_wait_than_are_kept() {
        let (frozen, mut to_hash) = FrozenStates::new(true);
        let readers = HeldViews::new(None);
        for index in 1..=9 {
            frozen.offer(state(index), &Reply::Published, &readers);
        }
        drop(frozen);
        for index in 2..=9 {
            let next = to_hash.next().await.map(|next| next.view.position.index);
            assert_eq!(next, Some(index));
        }
        assert!(to_hash.next().await.is_none());
    }

    #[tokio::test]
    async fn a_state_that_pins_too_much_memory_is_not_hashed() {
        let (frozen, mut to_hash) = FrozenStates::new(true);
        let readers = HeldViews::new(None);
        frozen.offer(state(1), &Reply::Published, &readers);
        readers.checkpointed();
        assert_eq!(readers.end_outdated(), 1, "the queued state is a reader");
        frozen.offer(state(2), &Reply::Published, &readers);
        let next = to_hash.next().await.expect("a state");
        assert_eq!(next.view.position.index, 2);
        readers.checkpointed();
        assert_eq!((readers.end_outdated(), next.must_end()), (1, true));
    }
}
