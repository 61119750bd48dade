//! The slot directory of a block: the offsets of the version in each slot.

use std::borrow::Cow;

/// The offsets of a version in its block: `meta` for its fields and key, and `value` for its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) meta: u16,
    pub(super) value: u16,
}

impl Offsets {
    /// Directory entry of a slot whose version was compacted.
    pub(super) const COMPACTED: Self = Self { meta: u16::MAX, value: 0 };
}

/// The offsets of a block's versions.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SlotDirectory {
    /// The offsets for each slot. Compacted slots have [`Offsets::COMPACTED`].
    Full(Vec<Offsets>),
    /// Slot and offsets of each remaining version. Smaller on disk than `Full` if more than half of the slots are compacted.
    Sparse(Vec<(u16, Offsets)>),
}

impl SlotDirectory {
    /// Creates a closed block's directory from the slots and offsets of its versions (ascending). The directory depends on
    /// nothing else, so members with the same versions write the same records.
    pub(super) fn closed(versions: Vec<(u16, Offsets)>) -> Self {
        let slots = versions
            .last()
            .map_or(0, |(slot, _)| usize::from(*slot) + 1);
        if versions.len() * 2 < slots {
            Self::Sparse(versions.into_boxed_slice().into_vec())
        } else {
            Self::full(&versions, slots)
        }
    }

    /// Creates a directory with an entry for each of the first `slots` slots.
    pub(super) fn full(versions: &[(u16, Offsets)], slots: usize) -> Self {
        let mut offsets = vec![Offsets::COMPACTED; slots];
        for (slot, offset) in versions {
            offsets[usize::from(*slot)] = *offset;
        }
        Self::Full(offsets)
    }

    /// Returns the slot and offset of each version, in order.
    pub(super) fn present(&self) -> Cow<'_, [(u16, Offsets)]> {
        match self {
            Self::Full(offsets) => {
                let slots = (0_u16..).zip(offsets.iter().copied());
                slots
                    .filter(|(_, offset)| *offset != Offsets::COMPACTED)
                    .collect()
            }
            Self::Sparse(entries) => entries.into(),
        }
    }
}
