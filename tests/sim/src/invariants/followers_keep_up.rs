//! Replication under load (§7): once the network is whole, a member that has caught up stays close behind the leader while
//! clients write. It gets entries from the leader's log and needs another snapshot only if its state must be replaced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use witan_machine::member::MemberId;
use witan_replica::replica::Role;

use super::{Fact, Invariant, Scene};
use crate::scenario::UNITS_PER_TICK;

/// Number of units within which a member must have an entry that the leader has committed. The time when it executes the entry
/// depends on the duration of earlier commands.
const LAG: u64 = 20 * UNITS_PER_TICK;

/// Number of units within which a member must catch up, counted from the time when the members settled or from its first later
/// turn.
const CATCH_UP: u64 = 30 * UNITS_PER_TICK;

#[derive(Debug, Default)]
pub(super) struct FollowersKeepUp {
    /// Whether clients have resumed.
    serves: bool,
    /// Members that have requested the leader's state and not received it.
    rebuild: BTreeSet<u64>,
    /// Time since which each member participates.
    since: BTreeMap<u64, u64>,
    /// Times and commit indexes of leaders, up to `LAG` units old.
    committed: VecDeque<(u64, u64)>,
    /// The highest commit index older than `LAG` units, which every member must have reached.
    due: u64,
}

impl Invariant for FollowersKeepUp {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let now = scene.now;
        if let Fact::Settled { .. } = fact {
            self.serves = true;
        }
        if let Fact::Turned { member, status, .. } = fact
            && self.serves
        {
            let since = *self.since.entry(*member).or_insert(now);
            if status.role == Role::Leader {
                self.committed.push_back((now, status.committed));
            }
            while let Some((_, index)) = self.committed.pop_front_if(|(at, _)| *at + LAG < now) {
                self.due = self.due.max(index);
            }
            let counts = scene.truth.registry.by_id.contains_key(&MemberId(*member));
            if counts && since + CATCH_UP < now && status.committed < self.due {
                return Err(format!(
                    "m{member} has commit index {}, but {} was committed {LAG} units ago",
                    status.committed, self.due
                ));
            }
        }
        if let Fact::Rebuilds { member } = fact {
            self.rebuild.insert(*member);
        }
        if let Fact::Restored { member, starts: false, view, .. } = fact {
            let rebuilt = self.rebuild.remove(member);
            if let Some(since) = self.since.get_mut(member) {
                if rebuilt {
                    // The member restarts, and a requested state may arrive twice.
                    *since = now;
                }
                if *since + CATCH_UP < now {
                    return Err(format!(
                        "m{member} had caught up but got a snapshot at {}",
                        view.position.index
                    ));
                }
            }
        }
        Ok(())
    }
}
