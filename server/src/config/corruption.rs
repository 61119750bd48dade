//! When members compare their states: `--corrupt-check-time` and its like.

use std::time::Duration;

use super::{ConfigError, build::ValueReader};

/// etcd's name of [`CorruptionChecks::initial`] in `--feature-gates`.
const INITIAL_GATE: &str = "InitialCorruptCheck";

/// etcd's name of the switch of [`CorruptionChecks::compactions`] in `--feature-gates`.
const COMPACTION_GATE: &str = "CompactHashCheck";

/// When members compare their states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorruptionChecks {
    /// `--initial-corrupt-check`: before a member serves clients.
    pub initial: bool,
    /// `--corrupt-check-time`; `None` never does.
    pub every: Option<Duration>,
    /// `--compact-hash-check-enabled` and `--compact-hash-check-time`: how often the states after compactions
    /// are compared; `None` never hashes them.
    pub compactions: Option<Duration>,
}

impl ValueReader<'_> {
    /// Reads when members are compared. A period of zero is off; feature gates count as their flags.
    pub(super) fn corruption_checks(&self) -> Result<CorruptionChecks, ConfigError> {
        let every = self.duration("corrupt-check-time")?;
        let time = "compact-hash-check-time";
        let compactions = self.duration(time)?;
        let enabled = self.boolean("compact-hash-check-enabled")? || self.has_gate(COMPACTION_GATE);
        if enabled && compactions.is_zero() {
            return Err(self.bad(time, "must be positive"));
        }
        Ok(CorruptionChecks {
            initial: self.boolean("initial-corrupt-check")? || self.has_gate(INITIAL_GATE),
            every: (!every.is_zero()).then_some(every),
            compactions: enabled.then_some(compactions),
        })
    }

    /// Whether `--feature-gates` switches a feature on.
    fn has_gate(&self, name: &str) -> bool {
        let gates = self.list("feature-gates");
        gates.iter().any(|gate| {
            let (key, value) = gate.split_once('=').unwrap_or((gate, "true"));
            key == name && value.eq_ignore_ascii_case("true")
        })
    }
}
