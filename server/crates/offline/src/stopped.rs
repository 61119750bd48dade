//! Reads the state of a stopped member from its data directory.

use std::path::Path;

use witan_base::metrics::Register;
use witan_machine::{levels, view::View};
use witan_replica::replica::{ForceError, Replica};
use witan_storage::{self as storage, DataIdentity, StorageMetrics};

use super::error::OfflineError;

/// The state of a stopped member.
pub(super) struct StoppedMember {
    pub(super) identity: DataIdentity,
    /// The state after all log entries, with all other members removed.
    pub(super) view: View,
    /// Index and term of the last log entry, for comparing members.
    pub(super) last: (u64, u64),
}

/// Reads a stopped member's data directory without writing to it. Fails if the directory contains no data, no complete state,
/// the state of a removed member, or a state above the feature level of this release.
pub(super) fn read(dir: &Path) -> Result<StoppedMember, OfflineError> {
    let shown = || dir.display().to_string();
    // An offline command has no metrics page.
    let metrics = StorageMetrics::register(&Register::default());
    let found = storage::read(dir, &metrics)?;
    let (identity, mut recovered) = found.ok_or_else(|| OfflineError::NoData(shown()))?;
    let corrupt = |error| match error {
        ForceError::NoState => OfflineError::NoState(shown()),
        ForceError::Corrupt(source) => OfflineError::Corrupt { dir: shown(), source },
    };
    let own = identity.member_id;
    let place = recovered.checkpoint.as_ref().map(|view| &view.position);
    let received = place.map_or((0, 0), |place| (place.index, place.term));
    let forced = Replica::force_new_cluster(&mut recovered, own, levels::OWN).map_err(corrupt)?;
    let added = forced.map_or(0, |forced| forced.batch.records.len());
    let view = Replica::state_alone(&recovered, own).map_err(corrupt)?;
    let view = view.ok_or_else(|| OfflineError::NotAMember(shown()))?;
    let last = recovered.records.iter().rev().nth(added);
    // After a received or restored state, the log may be empty.
    let last = last.map_or(received, |record| (record.index, record.term));
    Ok(StoppedMember { identity, view, last })
}
