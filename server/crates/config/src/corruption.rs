//! The schedule of comparisons of the members' states: `--corrupt-check-time` and related flags.

use std::time::Duration;

use super::{
    ConfigError,
    feature_gates::{COMPACT_HASH_CHECK, FeatureGates, INITIAL_CORRUPT_CHECK},
    values::FlagValues,
};

/// The schedule of comparisons of the members' states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorruptionChecks {
    /// `--initial-corrupt-check`: whether the member compares its state before it serves clients.
    pub initial: bool,
    /// `--corrupt-check-time`: interval of comparisons; `None` disables them.
    pub every: Option<Duration>,
    /// `--compact-hash-check-enabled` and `--compact-hash-check-time`: interval at which members compare the states after
    /// compactions; `None` disables these comparisons.
    pub compactions: Option<Duration>,
}

impl FlagValues {
    /// Returns the schedule of state comparisons. An interval of 0 disables regular comparisons. If comparisons after
    /// compactions are enabled, their interval must not be 0. A feature gate has the same effect as its flag.
    pub(super) fn corruption_checks(
        &self,
        gates: &FeatureGates,
    ) -> Result<CorruptionChecks, ConfigError> {
        let every = self.duration("corrupt-check-time")?;
        let time = "compact-hash-check-time";
        let compactions = self.duration(time)?;
        let enabled = self.boolean("compact-hash-check-enabled")? || gates.has(COMPACT_HASH_CHECK);
        if enabled && compactions.is_zero() {
            return Err(self.bad(time, "must be positive"));
        }
        Ok(CorruptionChecks {
            initial: self.boolean("initial-corrupt-check")? || gates.has(INITIAL_CORRUPT_CHECK),
            every: (!every.is_zero()).then_some(every),
            compactions: enabled.then_some(compactions),
        })
    }
}
