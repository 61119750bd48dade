//! The log in memory as a frozen replica holds it: of applied entries their lengths, of all others their commands.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType};
use serde::{Deserialize, Serialize};

use super::MemoryLog;
use crate::{
    limits::{COMMAND_BYTES_MAX, FROZEN_ENTRIES_MAX},
    wire,
};
use witan_machine::{record::CorruptRecord, view::Position};

/// Bytes that a change of configuration has beside its command, and more.
const CHANGE_BYTES: usize = 1 << 10;

/// See the module's description.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FrozenLog {
    /// Index and term of the entry before the first one.
    base: (u64, u64),
    /// Applied entries. Nobody looks into them, but they may be sent to members that lag, and messages have lengths.
    applied: Vec<AppliedEntries>,
    /// The entries behind them.
    unapplied: Vec<UnappliedEntry>,
    #[serde(with = "crate::hex_bytes")]
    hard_state: Bytes,
}

/// Entries in a row that look the same from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AppliedEntries {
    count: usize,
    term: u64,
    bytes: usize,
    changes_members: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct UnappliedEntry {
    term: u64,
    changes_members: bool,
    #[serde(with = "crate::hex_bytes")]
    data: Bytes,
}

impl MemoryLog {
    /// A copy for [`Self::thaw`]; `None` if it has more than [`FROZEN_ENTRIES_MAX`] entries.
    pub(crate) fn freeze(&self) -> Option<FrozenLog> {
        if self.entries.len() > FROZEN_ENTRIES_MAX {
            return None;
        }
        let mut applied: Vec<AppliedEntries> = Vec::new();
        let mut unapplied = Vec::new();
        for entry in &self.entries {
            let (term, bytes) = (entry.term, entry.data.len());
            let changes_members = entry.get_entry_type() == EntryType::EntryConfChange;
            if entry.index > self.position.index {
                let data = entry.data.clone();
                unapplied.push(UnappliedEntry { term, changes_members, data });
                continue;
            }
            let one = AppliedEntries { count: 1, term, bytes, changes_members };
            match applied.last_mut() {
                Some(last) if (AppliedEntries { count: 1, ..*last }) == one => last.count += 1,
                Some(_) | None => applied.push(one),
            }
        }
        Some(FrozenLog {
            base: self.base,
            applied,
            unapplied,
            hard_state: wire::encode_hard_state(&self.hard_state),
        })
    }

    /// The log of which this is a copy, with zeros in applied entries. `CorruptRecord` if there is none, or raft would
    /// refuse it.
    pub(crate) fn thaw(
        position: Position,
        frozen: FrozenLog,
        catch_up_entries: u64,
    ) -> Result<Self, CorruptRecord> {
        let hard_state = wire::decode_hard_state(&frozen.hard_state)?;
        let runs = &frozen.applied;
        let applied = runs
            .iter()
            .fold(0_usize, |sum, it| sum.saturating_add(it.count));
        let longest = runs.iter().map(|it| it.bytes).max().unwrap_or(0);
        let all = applied.saturating_add(frozen.unapplied.len());
        if all > FROZEN_ENTRIES_MAX || longest > COMMAND_BYTES_MAX + CHANGE_BYTES {
            return Err(CorruptRecord::new(
                "the log has too many entries, or too long ones",
            ));
        }
        let zeros = Bytes::from(vec![0; longest]);
        let mut entries = Vec::with_capacity(all);
        for run in runs {
            let data = zeros.slice(..run.bytes);
            let entry = |_| entry(run.term, run.changes_members, data.clone());
            entries.extend((0..run.count).map(entry));
        }
        let rest = frozen.unapplied.into_iter();
        entries.extend(rest.map(|it| entry(it.term, it.changes_members, it.data)));
        for (entry, index) in entries.iter_mut().zip(frozen.base.0.saturating_add(1)..) {
            entry.index = index;
        }
        let last = frozen.base.0.saturating_add(all as u64);
        let behind = frozen.base.0.saturating_add(applied as u64);
        if behind != position.index || !(behind..=last).contains(&hard_state.commit) {
            return Err(CorruptRecord::new("the log does not fit to the state"));
        }
        Ok(Self {
            base: frozen.base,
            bytes: super::bytes(&entries),
            entries: entries.into(),
            hard_state,
            position,
            catch_up_entries,
        })
    }
}

impl FrozenLog {
    /// Replaces each command by what `map` makes of its encoding.
    pub(crate) fn map_commands(&mut self, map: &mut dyn FnMut(Bytes) -> Bytes) {
        let commands = self.unapplied.iter_mut();
        // raft's own entries have no data
        let commands = commands.filter(|it| !it.changes_members && !it.data.is_empty());
        commands.for_each(|it| it.data = map(std::mem::take(&mut it.data)));
    }
}

fn entry(term: u64, changes_members: bool, data: Bytes) -> Entry {
    let mut entry = Entry { term, data, ..Entry::default() };
    if changes_members {
        entry.set_entry_type(EntryType::EntryConfChange);
    }
    entry
}
