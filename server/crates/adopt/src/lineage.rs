//! The lineage of a state. It shows whether two members started from the same state.

use sha2::{Digest as _, Sha256};
use witan_machine::view::{RESTORED, View};

/// Computes the lineage of an adopted state: a hash of its log position and all its checkpoint records. The result is neither
/// 0 nor marked as [`RESTORED`].
pub(super) fn of_adopted(view: &View) -> u64 {
    (hash(view) & !RESTORED).max(1)
}

/// Computes the lineage of a restored state: the same hash as for an adopted state, marked as [`RESTORED`].
pub fn of_restored(view: &View) -> u64 {
    hash(view) | RESTORED
}

/// Returns the first eight bytes of the SHA-256 of the entire state as a big-endian number.
fn hash(view: &View) -> u64 {
    let mut records = Sha256::new();
    view.full_encoding(&mut |part| records.update(part));
    let digest = records.finalize();
    let first = digest.iter().take(size_of::<u64>());
    first.fold(0, |number, byte| number << 8 | u64::from(*byte))
}
