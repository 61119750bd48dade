//! The heads of a run: a file next to a run of blocks. It contains everything that startup needs except the values of the
//! blocks. If startup cannot keep all values in memory, it reads this file instead of the run.
//!
//! The file is derived from the run and optional. It is not synced, no manifest names it, and an earlier release ignores it. It
//! contains the run's number and totals and ends with a checksum. If the totals or the checksum do not match, for example
//! after a power failure, startup reads the run.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use witan_machine::record;

use super::{
    files::{create, inject_failure},
    manifest::Run,
    record_stream::RecordTotals,
    run::{HEADER_BYTES, REMOVED, RunItem, RunValue, number_before},
};

const SUFFIX: &str = ".heads";

/// Divisor of the size of a run's records. The quotient is the maximum size of the run's heads. With small values, writing the
/// heads costs more than startup saves.
const HEADS_DIVISOR: usize = 16;

/// A key of a run, with its record or the head of its record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RunEntry {
    pub(super) key: Vec<u8>,
    /// The record or its head, or `None` for a deleted key.
    pub(super) value: Option<RunValue>,
    /// Offset in the run of the record after this one.
    pub(super) end: u64,
}

/// Returns the path of the heads that belong to the run at `run`.
pub(super) fn heads_path(run: &Path) -> PathBuf {
    run.with_extension(&SUFFIX[1..])
}

/// Parses the run's number from the path of its heads, or returns `None` for other files.
pub(super) fn heads_number(path: &Path) -> Option<u64> {
    number_before(path, SUFFIX)
}

/// Returns the first line of the heads, which identifies the run by its number and totals.
fn title(run: &Run) -> String {
    let RecordTotals { records, bytes, sum } = run.content;
    format!(
        "witan heads 1: run {} {records} {bytes} {sum:08x}\n",
        run.number
    )
}

/// Writes the heads of the run at `path`. `items` are the records of the run. Writes nothing if some of these records are not
/// blocks, or if the heads are too large. A failure is only logged, because startup can read the run.
pub(super) fn write(path: &Path, run: &Run, items: &[RunItem]) {
    let Some(bytes) = encode(run, items) else {
        return;
    };
    let path = heads_path(path);
    let written = create(&path).and_then(|mut file| {
        inject_failure()?;
        file.write_all(&bytes)
    });
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "failed to write the heads of a run; startup reads the run instead");
        let _ = fs::remove_file(&path);
    }
}

/// Encodes the heads of a run. Returns `None` if a record is not an intact block, or if the heads up to any record exceed the
/// share that [`HEADS_DIVISOR`] permits.
fn encode(run: &Run, items: &[RunItem]) -> Option<Vec<u8>> {
    if !items.iter().all(|(key, _)| record::is_block(key)) {
        return None;
    }
    let (mut out, mut records_bytes) = (title(run).into_bytes(), 0);
    for (key, value) in items {
        out.extend_from_slice(&length(key)?);
        match value {
            Some(value) => {
                let head = record::block_head(key, value)?;
                out.extend_from_slice(&length(value)?);
                out.extend_from_slice(key);
                out.extend_from_slice(&length(&head)?);
                out.extend_from_slice(&head);
                records_bytes += value.len();
                if out.len() > records_bytes / HEADS_DIVISOR {
                    return None;
                }
            }
            None => {
                out.extend_from_slice(&REMOVED.to_le_bytes());
                out.extend_from_slice(key);
            }
        }
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    Some(out)
}

/// Encodes the length of `bytes`, or returns `None` if the length exceeds 32 bits.
fn length(bytes: &[u8]) -> Option<[u8; 4]> {
    Some(u32::try_from(bytes.len()).ok()?.to_le_bytes())
}

/// Reads the heads of the run at `path`. Returns `None` if the heads are missing, are damaged or belong to another run, or if
/// the size of the run differs from the manifest. Startup must then read the run itself.
pub(super) fn read(path: &Path, run: &Run) -> Option<Vec<RunEntry>> {
    if fs::metadata(path).ok()?.len() != run.content.bytes {
        return None;
    }
    decode(&fs::read(heads_path(path)).ok()?, run)
}

/// Decodes the heads of a run, or returns `None` if the heads are damaged or belong to another run.
fn decode(bytes: &[u8], run: &Run) -> Option<Vec<RunEntry>> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut rest = content.strip_prefix(title(run).as_bytes())?;
    let (mut heads, mut end) = (Vec::new(), 0);
    while !rest.is_empty() {
        let (key_len, record_len) = (take_length(&mut rest)?, take_length(&mut rest)?);
        let key = take(&mut rest, key_len)?.to_vec();
        end += (HEADER_BYTES + key.len()) as u64;
        let value = match record_len {
            REMOVED => None,
            _ => {
                let head_len = take_length(&mut rest)?;
                let head = take(&mut rest, head_len)?.to_vec();
                end += u64::from(record_len);
                Some(RunValue::Head(head, record_len))
            }
        };
        heads.push(RunEntry { key, value, end });
    }
    let whole = end == run.content.bytes && heads.len() as u64 == run.content.records;
    whole.then_some(heads)
}

/// Takes a little-endian number of 4 bytes. Returns `None` and takes nothing if fewer are left.
fn take_length(rest: &mut &[u8]) -> Option<u32> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*length))
}

/// Removes and returns the first `length` bytes of `rest`. Returns `None`, and removes nothing, if `rest` is too short.
fn take<'a>(rest: &mut &'a [u8], length: u32) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length as usize)?;
    *rest = after;
    Some(taken)
}
