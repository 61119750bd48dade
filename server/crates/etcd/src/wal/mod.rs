//! Reads the write-ahead log: segments, summary and entries.
//!
//! The log is read twice, because only its end shows which snapshot, and therefore which entries, to keep in memory. `frame`
//! reads a frame, and `scan` reads a sequence of frames. `encode` writes the log of a new directory.

pub(crate) mod encode;
mod frame;
mod scan;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;

use super::{
    EtcdError, HardState, LogEntry, entry,
    raft_messages::{RaftEntry, RecordKind, WalMetadata, WalSnapshot},
};
use scan::{Place, scan};

/// A file of the log, with the numbers in its name.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    /// The segment's number, starting with 0.
    sequence: u64,
    /// The first index that the segment can contain.
    index: u64,
}

/// The contents of the log except its entries.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) metadata: WalMetadata,
    pub(crate) hard_state: HardState,
    pub(crate) snapshots: Vec<WalSnapshot>,
    pub(crate) torn_bytes: u64,
}

/// Returns the segments in a directory, in order. Fails if there are no segments, or if a segment between two others is
/// missing. Ignores other files.
pub(crate) fn segments(dir: &Path) -> Result<Vec<Segment>, EtcdError> {
    let failed = |error| EtcdError::io(dir, error);
    let incomplete = |what: &str| EtcdError::incomplete_log(dir, what);
    if !dir.is_dir() {
        return Err(incomplete("the directory does not exist"));
    }
    let mut found = Vec::new();
    for file in fs::read_dir(dir).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some((sequence, index)) = name.and_then(parse_name) {
            found.push(Segment { path, sequence, index });
        }
    }
    found.sort_by_key(|segment| segment.sequence);
    if found.is_empty() {
        return Err(incomplete("the directory has no file *.wal"));
    }
    for pair in found.windows(2) {
        let next = pair[0].sequence.saturating_add(1);
        if pair[1].sequence != next {
            let what = format!("the file {next:016x}-*.wal is missing");
            return Err(incomplete(&what));
        }
    }
    Ok(found)
}

/// Parses the sequence number and the index in `0000000000000001-000000000000002a.wal`. Returns `None` for other names.
fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (sequence, index) = name.strip_suffix(".wal")?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(sequence)?, number(index)?))
}

/// Reads the log except its entries. Returns the metadata, the last hard state, the snapshots up to its commit index, and the
/// size of a torn write at the end. Fails if a record is damaged, the segments belong to different members, or the metadata is
/// missing.
pub(crate) fn summarize(dir: &Path, segments: &[Segment]) -> Result<Summary, EtcdError> {
    let mut metadata = None;
    let mut hard_state = HardState::default();
    let mut snapshots: Vec<WalSnapshot> = Vec::new();
    let torn_bytes = scan(segments, &mut |place, kind, data| {
        match kind {
            RecordKind::Metadata => {
                let read: WalMetadata = message(place, data)?;
                if metadata.is_some_and(|known| known != read) {
                    return Err(place.damaged("the segment belongs to another member"));
                }
                metadata = Some(read);
            }
            RecordKind::State => hard_state = message(place, data)?,
            RecordKind::Snapshot => snapshots.push(message(place, data)?),
            RecordKind::Entry | RecordKind::Crc => {}
        }
        Ok(())
    })?;
    snapshots.retain(|snapshot| snapshot.index <= hard_state.commit);
    let incomplete = || EtcdError::incomplete_log(dir, "it has no metadata record");
    let metadata = metadata.ok_or_else(incomplete)?;
    Ok(Summary { metadata, hard_state, snapshots, torn_bytes })
}

/// Returns the entries after the index `after`, including uncommitted ones, but not overwritten ones. Requests for v3 keys up
/// to the index `applied` have no data, because the log can be larger than the memory. `segments` must be sorted and not empty.
/// Fails if the first segment starts after entry `after` + 1, or if an entry is missing, damaged or of an unknown type.
pub(crate) fn entries(
    dir: &Path,
    segments: &[Segment],
    after: u64,
    applied: u64,
) -> Result<Vec<LogEntry>, EtcdError> {
    let next = after.saturating_add(1);
    let first = segments.iter().rposition(|segment| segment.index <= next);
    let first = first.ok_or_else(|| {
        let begin = segments[0].index;
        let what = format!(
            "it starts at entry {begin}, after the newest intact snapshot (member/snap/*.snap), which ends at entry {after}"
        );
        EtcdError::incomplete_log(dir, what)
    })?;
    let mut entries: Vec<RaftEntry> = Vec::new();
    scan(&segments[first..], &mut |place, kind, data| {
        if kind != RecordKind::Entry {
            return Ok(());
        }
        let entry: RaftEntry = message(place, data)?;
        let Some(at) = entry.index.checked_sub(next) else {
            return Ok(());
        };
        let missing = next.saturating_add(entries.len() as u64);
        if entry.index > missing {
            let what = format!("entry {missing} is missing before entry {}", entry.index);
            return Err(place.damaged(&what));
        }
        entries.truncate(at as usize);
        entries.push(match entry.index <= applied {
            true => entry::without_keys(entry),
            false => entry,
        });
        Ok(())
    })?;
    entries.into_iter().map(entry::decode).collect()
}

/// Decodes the data of the record at `place`. Fails with `Damaged` if the data is invalid.
fn message<M: Message + Default>(place: &Place<'_>, data: Bytes) -> Result<M, EtcdError> {
    M::decode(data).map_err(|error| place.damaged(&error.to_string()))
}
