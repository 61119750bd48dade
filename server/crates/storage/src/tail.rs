//! Checks the log's files before the engine opens them: keeps complete records, cuts a torn write, and refuses corruption.
//!
//! Every write is synced before the next one starts, and a file is synced and closed before the next one is created. A crash
//! can therefore tear only the last record of the last file, or a newly created file. The last record may also be complete but
//! not durable, so the last file is synced before it is checked. Damage elsewhere, or damage followed by complete records up to
//! the end, cannot come from a crash. Complete records that do not reach the end may be part of a client's value inside the
//! torn record. A crash also cannot cause a single wrong bit in a last record that has all its sectors. Such a record may have
//! been acknowledged, so the bit is repaired.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    OpenError,
    files::{drop_cached_pages, sync_dir, sync_file},
    identity_file::Origin,
    range_crc::{RangeCrc, find_flipped_bit},
};

/// First bytes of every file of the engine.
const MAGIC: &[u8] = b"RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5";
/// The format version and the alignment follow the magic bytes, eight bytes each.
const FILE_HEADER_BYTES: usize = MAGIC.len() + 16;
/// The engine's format version, which this release writes.
const FILE_VERSION: u64 = 2;
/// A record's header: its length and the offset of its footer, eight bytes each.
const RECORD_HEADER_BYTES: usize = 16;
const CRC_BYTES: usize = 4;
/// Number of bytes that a disk writes atomically. A torn write leaves whole sectors of zeros.
const SECTOR_BYTES: usize = 512;
/// Number of digits in a file name before the suffix.
const SEQ_DIGITS: usize = 16;

/// The kind of a file of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFileKind {
    /// Files with new records.
    Append,
    /// Files with old entries that the engine rewrites so that the original files can be deleted. The engine writes several
    /// records before a sync and deletes the originals only afterward. Damage at the end is therefore always cut, except for a
    /// single flipped bit. If a crash did not cause the damage, the log-start record reveals the missing entries
    /// ([`super::log`]).
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

/// Repairs the log's files: cuts a torn write and corrects a flipped bit in the last record. All records are then durable. Fails
/// on other damage and if a file with new records is missing. In a copied directory, removes the files before the last missing
/// file instead.
pub(crate) fn repair(dir: &Path, origin: Origin) -> Result<(), OpenError> {
    for kind in [LogFileKind::Append, LogFileKind::Rewrite] {
        let mut files = list(dir, kind).map_err(|e| OpenError::io(dir, e))?;
        let gap = files
            .windows(2)
            .rposition(|pair| pair[1].0 != pair[0].0 + 1);
        if let (LogFileKind::Append, Some(at)) = (kind, gap) {
            if origin != Origin::Copied {
                let what = "the next file is missing";
                return Err(OpenError::log(&files[at].1, 0, what));
            }
            for (_, path) in files.drain(..=at) {
                tracing::warn!(file = %path.display(), "removed a log file, because later files were purged while the directory was copied");
                fs::remove_file(&path).map_err(|e| OpenError::io(&path, e))?;
            }
        }
        let count = files.len();
        for (at, (seq, path)) in files.into_iter().enumerate() {
            let is_last = at + 1 == count;
            if is_last {
                settle_last(dir, &path).map_err(|e| OpenError::io(&path, e))?;
            }
            repair_file(dir, &path, seq, kind, is_last)?;
        }
    }
    Ok(())
}

/// Makes the last file durable, with its name, and makes the next read return what is on the disk. A killed process may have
/// left a record that it did not sync. After a failed sync, only the kernel's cache may have the record. A member confirms the
/// entries that it reads at startup, so these entries must be durable.
fn settle_last(dir: &Path, path: &Path) -> io::Result<()> {
    sync_file(path)?;
    drop_cached_pages(&File::open(path)?);
    sync_dir(dir)
}

/// Lists the files of one kind with their sequence numbers, in ascending order.
fn list(dir: &Path, kind: LogFileKind) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let digits = name
            .to_str()
            .and_then(|name| name.strip_suffix(kind.suffix()));
        let digits = digits.filter(|digits| digits.len() == SEQ_DIGITS);
        let seq: Option<u64> = digits.and_then(|digits| digits.parse().ok());
        files.extend(seq.map(|seq| (seq, entry.path())));
    }
    files.sort_unstable();
    Ok(files)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFileRepair {
    Whole,
    /// XOR the byte at this offset with this mask, then examine the file again.
    Repair {
        at: usize,
        mask: u8,
    },
    /// Truncate the file to this length. `zeros` means that only zeros are cut, which is not damage.
    Cut {
        good: usize,
        zeros: bool,
    },
    Remove,
}

/// Decides how to repair a file with these bytes. `seq` is the file's sequence number, and `last` means that the file is the
/// newest one of its kind. The newest file is removed if its header is torn. If neither a torn write nor a flipped bit in the
/// newest file explains the damage, fails with its offset and a description.
pub(super) fn decide_repair(
    bytes: &[u8],
    seq: u64,
    kind: LogFileKind,
    last: bool,
) -> Result<LogFileRepair, (usize, String)> {
    let good = whole_until(bytes, seq);
    if good == Some(bytes.len()) {
        return Ok(LogFileRepair::Whole);
    }
    let at = good.unwrap_or(0);
    if !last {
        let what = "the file is damaged, but it was synced completely before the next file was created, so this is not a torn write";
        return Err((at, what.to_owned()));
    }
    let zeros = bytes[at..].iter().all(|b| *b == 0);
    let cut = good.map_or(LogFileRepair::Remove, |good| LogFileRepair::Cut {
        good,
        zeros,
    });
    if zeros {
        return Ok(cut);
    }
    let sums = RangeCrc::new(bytes);
    if let Some(good) = good
        && let Some((at, mask)) = flipped_bit(&sums, good, seq)
    {
        return Ok(LogFileRepair::Repair { at, mask });
    }
    if kind == LogFileKind::Append {
        let search = if good.is_some() { at + 1 } else { 0 };
        if let Some(next) = records_to_the_end(&sums, search, seq) {
            let what = format!(
                "a record is damaged, but complete records follow from byte {next} to the end"
            );
            return Err((at, what));
        }
    }
    Ok(cut)
}

/// Finds the first offset, at or after `search`, from which complete records reach the end, apart from trailing zeros. Returns
/// `None` if there is no such offset.
fn records_to_the_end(sums: &RangeCrc<'_>, search: usize, seq: u64) -> Option<usize> {
    let bytes = sums.bytes;
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let end = bytes.len() - zeros;
    // Offsets whose records do not reach the end, so that each chain is followed only once.
    let mut visited = HashSet::new();
    (search..end).find(|start| {
        let mut at = *start;
        while let Some(length) = record_of(sums, at, seq) {
            if !visited.insert(at) {
                return false;
            }
            at += length;
            if at >= end {
                return true;
            }
        }
        false
    })
}

/// Examines a log file and applies its repair: corrects a bit, cuts a torn write, or removes an incomplete file. `seq` is the
/// number in the file's name, and `last` marks the newest file of its kind. Fails on damage that a crash cannot cause.
fn repair_file(
    dir: &Path,
    path: &Path,
    seq: u64,
    kind: LogFileKind,
    last: bool,
) -> Result<(), OpenError> {
    let bytes = fs::read(path).map_err(|e| OpenError::io(path, e))?;
    let repair = decide_repair(&bytes, seq, kind, last)
        .map_err(|(at, what)| OpenError::log(path, at, what))?;
    let cut = match repair {
        LogFileRepair::Whole => return Ok(()),
        LogFileRepair::Repair { at, mask } => {
            tracing::warn!(file = %path.display(), offset = at, "repaired a flipped bit in the last write");
            let file = OpenOptions::new().write(true).open(path);
            return file
                .and_then(|file| file.write_all_at(&[bytes[at] ^ mask], at as u64))
                .and_then(|()| sync_file(path))
                .map_err(|e| OpenError::io(path, e))
                .and_then(|()| repair_file(dir, path, seq, kind, last));
        }
        LogFileRepair::Cut { good, zeros } => {
            if !zeros {
                let bytes = bytes.len() - good;
                tracing::warn!(file = %path.display(), offset = good, bytes, "cut a torn last write");
            }
            // Preallocated space reads as zeros and remains after every kill, so cutting it is not logged.
            OpenOptions::new().write(true).open(path).and_then(|file| {
                file.set_len(good as u64)?;
                file.sync_all()
            })
        }
        LogFileRepair::Remove => {
            tracing::warn!(file = %path.display(), "removed an incomplete new log file");
            fs::remove_file(path).and_then(|()| sync_dir(dir))
        }
    };
    cut.map_err(|e| OpenError::io(path, e))
}

/// Returns the offset at which the complete records at the start of the file end, or `None` if the file's header is incomplete
/// or invalid.
pub(super) fn whole_until(bytes: &[u8], seq: u64) -> Option<usize> {
    let header = bytes.get(..FILE_HEADER_BYTES)?;
    let (magic, rest) = header.split_at(MAGIC.len());
    if magic != MAGIC || u64_be_at(rest, 0) != Some(FILE_VERSION) || u64_be_at(rest, 8) != Some(0) {
        return None;
    }
    let mut at = FILE_HEADER_BYTES;
    while let Some(len) = record_len(bytes, at, seq) {
        at += len;
    }
    Some(at)
}

/// Finds the single wrong bit in the record at `at` if the record is the last one and has all its sectors. Returns the byte's
/// offset and the bit's mask, or `None` if there is no such bit.
fn flipped_bit(sums: &RangeCrc<'_>, at: usize, seq: u64) -> Option<(usize, u8)> {
    let bytes = sums.bytes;
    let in_last_record = |(byte, mask): (usize, u8)| {
        let mut mended = bytes[at..].to_vec();
        *mended.get_mut(byte)? ^= mask;
        let length = record_len(&mended, 0, seq)?;
        let torn = mended[..length]
            .get(at.next_multiple_of(SECTOR_BYTES) - at..)
            .is_some_and(|rest| {
                let mut sectors = rest.chunks_exact(SECTOR_BYTES);
                sectors.any(|sector| sector.iter().all(|b| *b == 0))
            });
        let last = mended[length..].iter().all(|b| *b == 0);
        (last && !torn).then_some((at + byte, mask))
    };
    let crc = |from: usize, to: usize| sums.of(at + from..at + to);
    let mut header = *bytes.get(at..)?.first_chunk::<RECORD_HEADER_BYTES>()?;
    for bit in 0..RECORD_HEADER_BYTES * 8 {
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        header[byte] ^= mask;
        if let Some(layout) = record_layout(&header, bytes.len() - at)
            && has_valid_sums(&bytes[at..], layout, seq, crc)
            && let Some(found) = in_last_record((byte, mask))
        {
            return Some(found);
        }
        header[byte] ^= mask;
    }
    let (length, footer) = record_layout(&header, bytes.len() - at)?;
    let record = &bytes[at..at + length];
    let flipped_between = |from: usize, to: usize, sign: u32| {
        let (content, sum) = record[from..to].split_last_chunk::<CRC_BYTES>()?;
        let difference = crc32fast::hash(content) ^ sign ^ u32::from_le_bytes(*sum);
        let (byte, mask) = match difference.count_ones() {
            1 => {
                let bit = difference.trailing_zeros() as usize;
                (content.len() + bit / 8, 1 << (bit % 8))
            }
            _ => find_flipped_bit(content.len(), difference)?,
        };
        Some((from + byte, mask))
    };
    let in_entries = flipped_between(RECORD_HEADER_BYTES, footer, 0).and_then(in_last_record);
    in_entries.or_else(|| flipped_between(footer, length, sign(seq)).and_then(in_last_record))
}

/// Parses a record's length and its footer's offset from its header, or returns `None` if these values are invalid. `left` is
/// the number of bytes from the header to the end of the file.
fn record_layout(header: &[u8], left: usize) -> Option<(usize, usize)> {
    let head = u64_be_at(header, 0)?;
    let length = usize::try_from(head >> 8).ok()?;
    // The low byte is the compression type. The log does not compress records.
    if head & 0xff != 0 || length <= RECORD_HEADER_BYTES || length > left {
        return None;
    }
    let footer = usize::try_from(u64_be_at(header, 8)?).ok()?;
    (RECORD_HEADER_BYTES..=length)
        .contains(&footer)
        .then_some((length, footer))
}

/// Returns the number that the engine XORs with a footer's checksum. It depends on the file's sequence number, so a record is
/// valid only in its own file.
fn sign(seq: u64) -> u32 {
    u32::try_from(seq & u64::from(u32::MAX)).expect("masked to 32 bits")
}

/// Returns the same length as [`record_len`], in time independent of the record's length.
fn record_of(sums: &RangeCrc<'_>, at: usize, seq: u64) -> Option<usize> {
    let layout = record_layout(&sums.bytes[at..], sums.bytes.len() - at)?;
    let crc = |from: usize, to: usize| sums.of(at + from..at + to);
    has_valid_sums(&sums.bytes[at..], layout, seq, crc).then_some(layout.0)
}

/// Returns the length of the record at `at`, or `None` if it is incomplete or a checksum is wrong. Its footer's checksum must
/// match the file's sequence number `seq`.
fn record_len(bytes: &[u8], at: usize, seq: u64) -> Option<usize> {
    let bytes = bytes.get(at..)?;
    let layout = record_layout(bytes, bytes.len())?;
    let crc = |from: usize, to: usize| crc32fast::hash(&bytes[from..to]);
    has_valid_sums(bytes, layout, seq, crc).then_some(layout.0)
}

/// Returns whether both blocks of the record at the start of `bytes` have valid checksums. The block of entries may be missing,
/// but must not be empty. `crc` returns the CRC-32 of the bytes between two offsets.
fn has_valid_sums(
    bytes: &[u8],
    (length, footer): (usize, usize),
    seq: u64,
    crc: impl Fn(usize, usize) -> u32,
) -> bool {
    let is_valid = |from: usize, to: usize, sign: u32| {
        let sum = bytes[from..to].split_last_chunk::<CRC_BYTES>();
        sum.is_some_and(|(content, sum)| {
            !content.is_empty() && crc(from, to - CRC_BYTES) ^ sign == u32::from_le_bytes(*sum)
        })
    };
    is_valid(footer, length, sign(seq))
        && (footer == RECORD_HEADER_BYTES || is_valid(RECORD_HEADER_BYTES, footer, 0))
}

/// Reads a big-endian number of 8 bytes at the offset `at`; `None` beyond the end.
fn u64_be_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQ: u64 = 3;

    /// Returns a record with these entries, as the engine encodes it.
    fn record_with(entries: &[u8]) -> Vec<u8> {
        let footer = RECORD_HEADER_BYTES + entries.len() + CRC_BYTES;
        let length = footer + 1 + CRC_BYTES;
        let mut bytes = ((length as u64) << 8).to_be_bytes().to_vec();
        bytes.extend((footer as u64).to_be_bytes());
        bytes.extend(entries);
        bytes.extend(crc32fast::hash(entries).to_le_bytes());
        bytes.extend(b"f");
        bytes.extend((crc32fast::hash(b"f") ^ sign(SEQ)).to_le_bytes());
        bytes
    }

    /// Returns the end of a log with a torn last write. The written value contains `headers` record headers, each for a record
    /// that would end at the valid footer at the end.
    fn crafted_tail(headers: usize) -> Vec<u8> {
        let mut bytes = record_with(b"torn")[..RECORD_HEADER_BYTES + 2].to_vec();
        // Every record has a block of entries.
        let footer = headers * RECORD_HEADER_BYTES + 8;
        let end = record_with(b"");
        let foot = &end[end.len() - 1 - CRC_BYTES..];
        for at in (0..headers).map(|header| header * RECORD_HEADER_BYTES) {
            bytes.extend((((footer + foot.len() - at) as u64) << 8).to_be_bytes());
            bytes.extend(((footer - at) as u64).to_be_bytes());
        }
        bytes.extend([7; 8]);
        bytes.extend(foot);
        bytes
    }

    #[test]
    fn a_crafted_tail_takes_linear_time() {
        let work = |headers| {
            let bytes = crafted_tail(headers);
            let sums = RangeCrc::new(&bytes);
            assert_eq!(records_to_the_end(&sums, 1, SEQ), None);
            assert_eq!(flipped_bit(&sums, 0, SEQ), None);
            sums.hashed.get()
        };
        let (short, long) = (work(4_000), work(16_000));
        assert!(short > 4_000 * CRC_BYTES, "each header is examined");
        assert!(
            long < short * 5,
            "{short} bytes for a quarter, {long} for all"
        );
    }

    #[test]
    fn whole_records_behind_damage_are_found_by_their_ranges() {
        let entries: Vec<u8> = (0..900_u32).map(|n| n as u8).collect();
        let mut bytes = vec![7; 100];
        for length in [0, 1, 300, 900] {
            bytes.extend(record_with(&entries[..length]));
        }
        // The first record is invalid, because its block of entries is empty. The complete records start after it.
        let sums = RangeCrc::new(&bytes);
        let first = 100 + record_with(b"").len();
        assert_eq!(records_to_the_end(&sums, 1, SEQ), Some(first));
        for at in first..bytes.len() {
            assert_eq!(
                record_of(&sums, at, SEQ),
                record_len(&bytes, at, SEQ),
                "{at}"
            );
        }
    }
}
