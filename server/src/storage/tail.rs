//! Judges the log's files before the engine opens them: what is whole, what is the torn write of a
//! crash (cut), what is corruption (refused). Reads the engine's file format and knows nothing of
//! entries.
//!
//! Why the judgement is possible: every write of ours is synced before the next one begins, and a
//! file is synced and closed before the next is made. So a crash can tear only the last record of
//! the last file, or a file just made. Damage anywhere else, and damage with a whole record
//! behind it, cannot come from a crash. Nor can a last record that lacks no sector and is wrong in
//! a single bit: that one was whole, perhaps acknowledged, and is mended.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    OpenError, bit_flip,
    files::{sync_dir, sync_file},
};

/// What every file of the engine begins with.
const MAGIC: &[u8] = b"RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5";
/// Format version and alignment follow the magic, eight bytes each.
const FILE_HEADER_BYTES: usize = MAGIC.len() + 16;
/// The only version of the engine's format that this release writes.
const FILE_VERSION: u64 = 2;
/// Length and place of the footer, eight bytes each, before every record.
const RECORD_HEADER_BYTES: usize = 16;
const CRC_BYTES: usize = 4;
/// A disk writes that much or nothing; where a write tore, that much is still zero.
const SECTOR_BYTES: usize = 512;
/// Digits in a file's name before its suffix.
const SEQ_DIGITS: usize = 16;

/// The engine's two kinds of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFileKind {
    /// What we write.
    Append,
    /// Old entries that the engine moves so that it can drop a file. It writes several records
    /// before a sync, and drops their origin only after it; so damage at the end is always cut,
    /// and [`super::log`] notices by the first index if more than a crash is to blame.
    Rewrite,
}

impl LogFileKind {
    fn suffix(self) -> &'static str {
        match self {
            LogFileKind::Append => ".raftlog",
            LogFileKind::Rewrite => ".rewrite",
        }
    }
}

/// Cuts what a crash left half written and refuses what a crash cannot explain.
pub(crate) fn repair(dir: &Path) -> Result<(), OpenError> {
    for queue in [LogFileKind::Append, LogFileKind::Rewrite] {
        let files = list(dir, queue).map_err(|e| OpenError::io(dir, e))?;
        let gap = files.windows(2).find(|pair| pair[1].0 != pair[0].0 + 1);
        if let (LogFileKind::Append, Some(pair)) = (queue, gap) {
            return Err(OpenError::log(
                &pair[0].1,
                0,
                "the file after it is missing",
            ));
        }
        let count = files.len();
        for (at, (seq, path)) in files.into_iter().enumerate() {
            repair_file(dir, &path, seq, queue, at + 1 == count)?;
        }
    }
    Ok(())
}

fn list(dir: &Path, queue: LogFileKind) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let Some(digits) = name.strip_suffix(queue.suffix()) else {
            continue;
        };
        if digits.len() == SEQ_DIGITS
            && let Ok(seq) = digits.parse()
        {
            files.push((seq, entry.path()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Whole,
    /// Change one byte by this mask; then judge the file again.
    Repair {
        at: usize,
        mask: u8,
    },
    /// Cut everything behind this byte; it may be only zeros.
    Cut {
        good: usize,
        zeros: bool,
    },
    Remove,
}

/// Damage that no crash explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    at: usize,
    what: String,
}

/// Judges the bytes of one file; `last` says whether it is the newest of its kind.
pub(super) fn judge(
    bytes: &[u8],
    seq: u64,
    queue: LogFileKind,
    last: bool,
) -> Result<Verdict, Damage> {
    let good = whole_until(bytes, seq);
    if good == Some(bytes.len()) {
        return Ok(Verdict::Whole);
    }
    let at = good.unwrap_or(0);
    if !last {
        let what = "a file that was closed is damaged".into();
        return Err(Damage { at, what });
    }
    let zeros = bytes[at..].iter().all(|b| *b == 0);
    if let (false, Some(good)) = (zeros, good)
        && let Some((at, mask)) = flipped_bit(bytes, good, seq)
    {
        return Ok(Verdict::Repair { at, mask });
    }
    if !zeros && queue == LogFileKind::Append {
        let search = if good.is_some() { at + 1 } else { 0 };
        if let Some(next) = (search..bytes.len()).find(|at| record(bytes, *at, seq).is_some()) {
            let what = format!("damaged, although a whole record follows at byte {next}");
            return Err(Damage { at, what });
        }
    }
    Ok(good.map_or(Verdict::Remove, |good| Verdict::Cut { good, zeros }))
}

fn repair_file(
    dir: &Path,
    path: &Path,
    seq: u64,
    queue: LogFileKind,
    last: bool,
) -> Result<(), OpenError> {
    let bytes = fs::read(path).map_err(|e| OpenError::io(path, e))?;
    let verdict = judge(&bytes, seq, queue, last)
        .map_err(|damage| OpenError::log(path, damage.at, damage.what))?;
    let cut = match verdict {
        Verdict::Whole => return Ok(()),
        Verdict::Repair { at, mask } => {
            tracing::warn!(file = %path.display(), offset = at, "repaired a flipped bit in the last write");
            let file = OpenOptions::new().write(true).open(path);
            return file
                .and_then(|file| file.write_all_at(&[bytes[at] ^ mask], at as u64))
                .and_then(|()| sync_file(path))
                .map_err(|e| OpenError::io(path, e))
                .and_then(|()| repair_file(dir, path, seq, queue, last));
        }
        Verdict::Cut { good, zeros } => {
            if !zeros {
                let bytes = bytes.len() - good;
                tracing::warn!(file = %path.display(), offset = good, bytes, "cut a torn last write");
            }
            // Space that the engine reserved ahead reads as zeros; it is there after every kill.
            OpenOptions::new().write(true).open(path).and_then(|file| {
                file.set_len(good as u64)?;
                file.sync_all()
            })
        }
        Verdict::Remove => {
            tracing::warn!(file = %path.display(), "removed an incomplete new log file");
            fs::remove_file(path).and_then(|()| sync_dir(dir))
        }
    };
    cut.map_err(|e| OpenError::io(path, e))
}

/// The byte behind the last whole record; `None` when the file's own header is not whole.
pub(super) fn whole_until(bytes: &[u8], seq: u64) -> Option<usize> {
    let header = bytes.get(..FILE_HEADER_BYTES)?;
    let (magic, rest) = header.split_at(MAGIC.len());
    if magic != MAGIC || number(rest, 0) != Some(FILE_VERSION) || number(rest, 8) != Some(0) {
        return None;
    }
    let mut at = FILE_HEADER_BYTES;
    while let Some(len) = record(bytes, at, seq) {
        at += len;
    }
    Some(at)
}

/// The one bit that is wrong in the record at `at`, if it is the last one and all of it is there:
/// its byte and its mask.
fn flipped_bit(bytes: &[u8], at: usize, seq: u64) -> Option<(usize, u8)> {
    let alone = |(byte, mask): (usize, u8)| {
        let mut mended = bytes[at..].to_vec();
        *mended.get_mut(byte)? ^= mask;
        let length = record(&mended, 0, seq)?;
        let torn = mended[..length]
            .get(at.next_multiple_of(SECTOR_BYTES) - at..)
            .is_some_and(|rest| {
                let mut sectors = rest.chunks_exact(SECTOR_BYTES);
                sectors.any(|sector| sector.iter().all(|b| *b == 0))
            });
        let last = mended[length..].iter().all(|b| *b == 0);
        (last && !torn).then_some((at + byte, mask))
    };
    let mut header = *bytes.get(at..)?.first_chunk::<RECORD_HEADER_BYTES>()?;
    for bit in 0..RECORD_HEADER_BYTES * 8 {
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        header[byte] ^= mask;
        if record_layout(&header, bytes.len() - at).is_some()
            && let Some(found) = alone((byte, mask))
        {
            return Some(found);
        }
        header[byte] ^= mask;
    }
    let (length, footer) = record_layout(&header, bytes.len() - at)?;
    let record = &bytes[at..at + length];
    [
        (RECORD_HEADER_BYTES, footer, 0),
        (footer, length, sign(seq)),
    ]
    .into_iter()
    .filter_map(|(from, to, sign)| {
        let (content, sum) = record[from..to].split_last_chunk::<CRC_BYTES>()?;
        let difference = crc32fast::hash(content) ^ sign ^ u32::from_le_bytes(*sum);
        let (byte, mask) = match difference.count_ones() {
            1 => {
                let bit = difference.trailing_zeros() as usize;
                (content.len() + bit / 8, 1 << (bit % 8))
            }
            _ => bit_flip::find_flipped_bit(content.len(), difference)?,
        };
        Some((from + byte, mask))
    })
    .find_map(alone)
}

/// Length of a record and the place of its footer in it, as its header has them. `room` is how many
/// bytes there are from the header on.
fn record_layout(header: &[u8], room: usize) -> Option<(usize, usize)> {
    let head = number(header, 0)?;
    let length = usize::try_from(head >> 8).ok()?;
    // The low byte names a compression; ours are never compressed.
    if head & 0xff != 0 || length <= RECORD_HEADER_BYTES || length > room {
        return None;
    }
    let footer = usize::try_from(number(header, 8)?).ok()?;
    (RECORD_HEADER_BYTES..=length)
        .contains(&footer)
        .then_some((length, footer))
}

/// The engine mixes the file's number into the footer's sum, so that a record counts only in the
/// file for which it was written.
fn sign(seq: u64) -> u32 {
    u32::try_from(seq & u64::from(u32::MAX)).expect("masked to 32 bits")
}

/// Length of the record that begins at `at`, if a whole one does.
fn record(bytes: &[u8], at: usize, seq: u64) -> Option<usize> {
    let bytes = bytes.get(at..)?;
    let (len, footer) = record_layout(bytes, bytes.len())?;
    let entries = &bytes[RECORD_HEADER_BYTES..footer];
    let whole = has_valid_checksum(&bytes[footer..len], sign(seq))
        && (entries.is_empty() || has_valid_checksum(entries, 0));
    whole.then_some(len)
}

/// Whether a block ends with the sum of what is before it.
fn has_valid_checksum(block: &[u8], sign: u32) -> bool {
    let Some((content, sum)) = block.split_last_chunk::<CRC_BYTES>() else {
        return false;
    };
    !content.is_empty() && crc32fast::hash(content) ^ sign == u32::from_le_bytes(*sum)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*bytes))
}
