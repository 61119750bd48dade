//! Reads logs after a crash or from a bad disk. The reader drops a torn write at the end and refuses any other damage.

use std::fs;

use super::builder::{
    Directory, OWNER, SPARE, commit, damaged_at, first_segment, positions, put, wal_snapshot,
};
use witan_etcd::SegmentEncoder;

/// Builds a log with three entries, each with a value of `bytes` bytes. Returns the log and the offset of its last entry.
fn three_entries(bytes: usize) -> (Vec<u8>, usize) {
    let mut segment = first_segment();
    segment.entry(&put(1, 1, bytes));
    segment.entry(&put(2, 1, bytes));
    segment.state(&commit(1, 2));
    let begin = segment.bytes().len();
    segment.entry(&put(3, 1, bytes));
    (segment.bytes().to_vec(), begin)
}

#[test]
fn a_torn_end_is_dropped_wherever_it_is() {
    for (length, step) in [(20, 1), (1500, 7)] {
        let (whole, begin) = three_entries(length);
        let directory = Directory::new(2);
        let path = directory.segment(0, 0, &whole);
        assert_eq!(positions(&directory.open().unwrap()).len(), 3);
        let padding = whole.iter().rev().take_while(|byte| **byte == 0).count();
        for cut in (begin..whole.len()).step_by(step) {
            let written = whole[begin..cut].iter().rposition(|byte| *byte != 0);
            let torn = written.map_or(0, |last| last as u64 + 1);
            let zeros = [&whole[..cut], &vec![0; whole.len() - cut + SPARE]].concat();
            for (bytes, filled) in [(&whole[..cut], false), (&zeros[..], true)] {
                fs::write(&path, bytes).unwrap();
                let read = directory.open().unwrap();
                let is_whole = filled && cut + padding >= whole.len();
                let expected = if is_whole { (3, 0) } else { (2, torn) };
                assert_eq!(
                    (read.entries.len(), read.torn_bytes),
                    expected,
                    "cut at {cut}"
                );
            }
        }
    }
}

/// The sectors of a write can reach the disk in any order.
#[test]
fn a_sector_of_the_last_record_may_be_missing() {
    let (mut bytes, begin) = three_entries(3000);
    let sector = begin.next_multiple_of(512);
    bytes[sector..sector + 512].fill(0);
    let directory = Directory::new(2);
    directory.segment(0, 0, &bytes);
    let read = directory.open().unwrap();
    assert_eq!(positions(&read), [(1, 1), (2, 1)]);
    assert!(read.torn_bytes > 2000);
}

/// etcd would truncate the log at a sector of zeros and lose the later entries.
#[test]
fn records_after_a_gap_are_not_ignored() {
    let mut segment = first_segment();
    let begin = segment.bytes().len();
    segment.entry(&put(1, 1, 2000));
    let next = segment.bytes().len();
    segment.entry(&put(2, 1, 10));
    let directory = Directory::new(0);
    let sector = begin.next_multiple_of(512);
    for gap in [begin..next, begin..begin + 8, sector..sector + 512] {
        let mut bytes = segment.bytes().to_vec();
        bytes[gap].fill(0);
        let path = directory.segment(0, 0, &bytes);
        let error = directory.open().unwrap_err();
        assert_eq!(damaged_at(&error, &path), Some(begin as u64), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("another record follows at byte {next}")),
            "{error}"
        );
    }
}

/// The reader returns the first entries of a damaged log, or refuses the log.
#[test]
fn a_changed_byte_never_changes_an_entry() {
    let (whole, _) = three_entries(20);
    let directory = Directory::new(2);
    directory.segment(0, 0, &whole);
    let entries = directory.open().unwrap().entries;
    for at in 0..whole.len() {
        for change in [0xff, 0x80, 0x10] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            directory.segment(0, 0, &bytes);
            if let Ok(read) = directory.open() {
                assert!(entries.starts_with(&read.entries), "byte {at}");
                assert!(read.entries.len() >= 2, "byte {at}: committed entries");
            }
        }
    }
    let mut bytes = whole.clone();
    bytes[whole.len() - 12] ^= 0xff;
    directory.segment(0, 0, &bytes);
    directory.refuses("the record fails its checksum");
}

#[test]
fn an_incomplete_earlier_segment_is_refused() {
    let (whole, begin) = three_entries(20);
    let directory = Directory::new(0);
    let mut second = SegmentEncoder::new(0, OWNER);
    second.entry(&put(4, 1, 20));
    directory.segment(1, 4, second.bytes());
    let first = directory.segment(0, 0, &whole[..whole.len() - 20]);
    let error = directory.open().unwrap_err();
    assert_eq!(damaged_at(&error, &first), Some(begin as u64), "{error}");
    directory.segment(0, 0, &whole[..begin]);
    directory
        .refuses("0000000000000001-0000000000000004.wal: byte 0: the record fails its checksum");
}

#[test]
fn missing_segments_are_refused() {
    let mut segments = vec![first_segment()];
    for index in 1..=4 {
        let last = segments.last_mut().unwrap();
        last.entry(&put(index, 1, 20));
        last.state(&commit(1, index));
        let crc = last.crc();
        segments.push(SegmentEncoder::new(crc, OWNER));
    }
    segments[2].snapshot(&wal_snapshot(2, 1));
    let rewritten: Vec<_> = segments
        .iter()
        .map(|segment| segment.bytes().to_vec())
        .collect();
    let directory = Directory::new(4);
    let paths: Vec<_> = (0..4)
        .map(|number| {
            directory.segment(
                number,
                number + u64::from(number > 0),
                &rewritten[number as usize],
            )
        })
        .collect();
    // The checksums of the following records do not match the added record.
    directory.refuses("checksum");
    fs::remove_file(&paths[3]).unwrap();
    assert_eq!(
        positions(&directory.open().unwrap()),
        [(1, 1), (2, 1), (3, 1)]
    );
    fs::remove_file(&paths[1]).unwrap();
    directory.refuses("the file 0000000000000001-*.wal is missing");
    fs::remove_file(&paths[0]).unwrap();
    directory.refuses("it starts at entry 3");
    directory.refuses("which ends at entry 0");
    let error = directory.refused();
    let snapshot = directory.snapshot(2, 1);
    assert_eq!(positions(&directory.open().unwrap()), [(3, 1)]);
    fs::write(snapshot, "x").unwrap();
    assert_eq!(directory.refused(), error);
    fs::remove_file(&paths[2]).unwrap();
    directory.refuses("the directory has no file *.wal");
}

#[test]
fn committed_entries_must_exist() {
    let mut segment = first_segment();
    segment.entry(&put(1, 1, 20));
    segment.state(&commit(1, 2));
    let directory = Directory::new(1);
    directory.segment(0, 0, segment.bytes());
    directory.refuses("it ends at entry 1, but entries up to 2 were committed");
    segment.entry(&put(3, 1, 20));
    directory.segment(0, 0, segment.bytes());
    directory.refuses("entry 2 is missing before entry 3");
}
