//! Computes the size of a new base. It neither encodes blocks nor reads values that are not in memory.

use std::cell::Cell;

use witan_machine::record::RecordChange;

use super::{checkpoint::EmitChanges, reuse::RunReuse, run::HEADER_BYTES};

/// The size that a new base would have.
pub(super) struct Weight {
    pub(super) all: u64,
    /// Size in bytes of the records that are not in a reusable run.
    pub(super) new: u64,
}

impl Weight {
    /// Computes the size of a base for the whole state, if it reuses the runs in `before`.
    pub(super) fn of(before: &RunReuse, whole: &EmitChanges<'_>) -> Self {
        let (all, new) = (Cell::new(0_u64), Cell::new(0_u64));
        let add = |key: &[u8], value_bytes: usize| {
            let bytes = (HEADER_BYTES + key.len() + value_bytes) as u64;
            all.set(all.get() + bytes);
            if before.unchanged(key).is_none() {
                new.set(new.get() + bytes);
            }
        };
        // Leaves out every block, because its key and its size suffice.
        let leave_out = |key: &[u8], value_bytes: usize| {
            add(key, value_bytes);
            true
        };
        whole(&leave_out, &mut |change| {
            add(change.key(), value_bytes(&change));
        });
        Self { all: all.get(), new: new.get() }
    }
}

/// Returns the size in bytes of a changed record's value.
fn value_bytes(change: &RecordChange) -> usize {
    match change {
        RecordChange::Put { value, .. } => value.len(),
        RecordChange::Delete { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_weighed_without_their_records() {
        let whole: &EmitChanges<'_> = &|leave_out, emit| {
            for (key, bytes) in [("kb1", 100), ("kb2", 200)] {
                assert!(leave_out(key.as_bytes(), bytes), "{key} would be encoded");
            }
            emit(RecordChange::Put { key: b"v".to_vec(), value: vec![0; 5] });
        };
        let weight = Weight::of(&RunReuse::default(), whole);
        let headers = 3 * HEADER_BYTES as u64;
        let bytes = headers + 3 + 3 + 1 + 100 + 200 + 5;
        assert_eq!((weight.all, weight.new), (bytes, bytes));
    }
}
