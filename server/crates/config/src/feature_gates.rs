//! `--feature-gates`: features that etcd 3.7 enables or disables by name. As in etcd, an unknown name is an error. A value that
//! has no effect in Witan causes a warning.

use witan_gocompat::text::parse_bool;

use super::{ConfigError, values::FlagValues};

const FLAG: &str = "feature-gates";

pub(super) const INITIAL_CORRUPT_CHECK: &str = "InitialCorruptCheck";
pub(super) const COMPACT_HASH_CHECK: &str = "CompactHashCheck";
pub(super) const SET_MEMBER_LOCAL_ADDR: &str = "SetMemberLocalAddr";
const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

/// A feature that is always on or always off in Witan (the `bool`), and the reason.
type Fixed = (bool, &'static str);

const RENEWED: Fixed = (
    false,
    "a lease renewal always waits until earlier commits are applied",
);
const RECORDED: Fixed = (true, "remaining TTLs of leases are always recorded");
const NOT_PRIORITIZED: Fixed = (false, "Witan does not prioritize requests");
const ALWAYS_SERVING: Fixed = (false, "a member serves clients during a defragmentation");
const NO_BBOLT: Fixed = (true, "Witan does not use bbolt");

/// The gates of etcd 3.7. A gate without a fixed value enables or disables its features. In Witan, `AllBeta` has no features.
const GATES: [(&str, Option<Fixed>); 11] = [
    (INITIAL_CORRUPT_CHECK, None),
    (COMPACT_HASH_CHECK, None),
    (ALL_ALPHA, None),
    (ALL_BETA, None),
    ("FastLeaseKeepAlive", Some(RENEWED)),
    ("LeaseCheckpoint", Some(RECORDED)),
    ("LeaseCheckpointPersist", Some(RECORDED)),
    ("PriorityRequest", Some(NOT_PRIORITIZED)),
    (SET_MEMBER_LOCAL_ADDR, None),
    ("StopGRPCServiceOnDefrag", Some(ALWAYS_SERVING)),
    ("TxnModeWriteWithSharedBuffer", Some(NO_BBOLT)),
];

/// The given gates and their values. The last value of a gate takes precedence.
#[derive(Debug, Default)]
pub(super) struct FeatureGates(Vec<(&'static str, bool)>);

impl FeatureGates {
    /// Returns whether an alpha feature is enabled. The feature's gate takes precedence over `AllAlpha`. Without either, the
    /// feature is disabled.
    pub(super) fn has(&self, name: &str) -> bool {
        let given = |name: &str| {
            let mut given = self.0.iter().rev();
            given.find(|(known, _)| *known == name).map(|(_, on)| *on)
        };
        given(name).or_else(|| given(ALL_ALPHA)).unwrap_or(false)
    }
}

impl FlagValues {
    /// Parses `--feature-gates`: a comma-separated list of `NAME=BOOL`, with Go's spellings of booleans. If a gate occurs
    /// twice, the last value takes precedence. Fails for an unknown gate or an invalid value. Warns about a value without an
    /// effect.
    pub(super) fn feature_gates(
        &self,
        warnings: &mut Vec<String>,
    ) -> Result<FeatureGates, ConfigError> {
        let mut gates = FeatureGates::default();
        for part in self.list(FLAG) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(self.bad(FLAG, &format!("missing bool value for {part}")));
            };
            let (name, value) = (name.trim(), value.trim());
            let Some((known, fixed)) = GATES.iter().find(|(known, _)| *known == name) else {
                let known = GATES.map(|(known, _)| known).join(", ");
                let reason = format!("unrecognized feature gate: {name}; known gates: {known}");
                return Err(self.bad(FLAG, &reason));
            };
            let Some(on) = parse_bool(value) else {
                return Err(self.bad(FLAG, &format!("invalid value of {name}={value}")));
            };
            if let Some((here, why)) = fixed
                && *here != on
            {
                warnings.push(format!("--{FLAG} {name}={on} has no effect: {why}"));
            }
            gates.0.push((known, on));
        }
        Ok(gates)
    }
}
