//! The counters of the state, which only increase, and their limits.
//!
//! A checkpoint with a counter above [`COUNT_MAX`] cannot be loaded. No state reaches that limit, because an imported counter
//! is at most [`COUNT_IMPORT_MAX`] and each further step takes several bytes of the log.

use std::fmt;

use super::{StateMachine, record::CorruptRecord};
pub use witan_tree::{COUNT_IMPORT_MAX, COUNT_MAX};

/// A counter of an imported state is too close to the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {name} is {count}, but counters of an imported state must not exceed {COUNT_IMPORT_MAX}"
)]
pub struct CountTooFar {
    name: String,
    count: u64,
}

impl From<CountTooFar> for CorruptRecord {
    fn from(error: CountTooFar) -> Self {
        Self::new(error.to_string())
    }
}

/// Fails if `count`, a counter of an imported state, exceeds [`COUNT_IMPORT_MAX`]. The error contains `name`.
pub fn check_import(name: impl fmt::Display, count: u64) -> Result<(), CountTooFar> {
    if count <= COUNT_IMPORT_MAX {
        return Ok(());
    }
    Err(CountTooFar { name: name.to_string(), count })
}

impl StateMachine {
    /// Returns the names and values of the counters that only rise and have an upper bound, except the versions of keys.
    fn counters(&self) -> [(&'static str, u64); 4] {
        [
            ("revision", self.kv.revision().0.cast_unsigned()),
            ("auth revision", self.auth.revision()),
            ("v2 index", self.tree.index()),
            ("number of v2 writes", self.tree.counts().max()),
        ]
    }

    /// Fails if a counter of this imported state exceeds [`COUNT_IMPORT_MAX`]. Does not check the versions of keys.
    pub fn check_import(&self) -> Result<(), CountTooFar> {
        self.counters()
            .into_iter()
            .try_for_each(|(name, count)| check_import(name, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::Auth,
        kv::{Kv, test_helpers::at_revision},
        revision::Revision,
    };

    #[test]
    fn a_state_with_a_counter_near_the_limit_is_not_imported() {
        let at = |count: u64| -> [StateMachine; 2] {
            let kv: Kv = at_revision(Revision(count.cast_signed()));
            let auth = Auth::restored(false, count, [], []);
            [
                StateMachine { kv, ..StateMachine::default() },
                StateMachine { auth, ..StateMachine::default() },
            ]
        };
        for machine in at(COUNT_IMPORT_MAX) {
            assert_eq!(machine.check_import(), Ok(()));
        }
        for machine in at(COUNT_IMPORT_MAX + 1) {
            let error = machine
                .check_import()
                .expect_err("the state is refused")
                .to_string();
            assert!(error.contains("revision is "), "{error}");
        }
    }
}
