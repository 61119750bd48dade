//! The lineage of a state, which shows whether two members started from the same state.

use sha2::{Digest as _, Sha256};
use witan_machine::{record::RecordChange, view::View};

/// Computes the lineage of a state: a hash of its log position and of all checkpoint records, including each key's block. The
/// result is never 0, which marks a state that was not adopted.
pub(super) fn of(view: &View) -> u64 {
    let mut records = Sha256::new();
    view.changes(None, &mut |change| match change {
        RecordChange::Put { key, value } => {
            for part in [key, value] {
                records.update((part.len() as u64).to_be_bytes());
                records.update(part);
            }
        }
        RecordChange::Delete { key } => unreachable!("{key:?} is in no earlier state"),
    });
    let digest = records.finalize();
    let first = digest.iter().take(size_of::<u64>());
    first
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
        .max(1)
}
