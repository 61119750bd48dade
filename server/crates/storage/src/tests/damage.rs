//! Tests that torn writes are cut, that damage is refused, and that no data is lost silently.

use std::{fs, os::unix::fs::symlink};

use rustix::io::Errno;

use super::{disk::Disk, *};

/// Writes a log with these batches. Returns the offset of the log's end before the first batch and after each batch.
fn prepare(dir: &TempDir, batches: &[LogBatch]) -> Vec<usize> {
    let (mut storage, _) = reopen(dir);
    let file = dir.log_files().pop().unwrap();
    let mut ends = vec![written(&file)];
    for batch in batches {
        storage.log.append(batch);
        ends.push(written(&file));
    }
    ends
}

fn batches() -> Vec<LogBatch> {
    vec![
        batch(2..5, 1),
        batch(5..6, 1),
        batch(6..9, 2),
        batch(9..10, 2),
        batch(10..12, 3),
    ]
}

/// Opens a copy of `dir` in which `bytes` replace the newest log file. Panics if the log then accepts no further entries.
fn open_with(dir: &TempDir, bytes: &[u8]) -> Result<Recovered, OpenError> {
    let scratch = TempDir::new();
    copy(&dir.0, &scratch.0);
    fs::write(scratch.log_files().pop().unwrap(), bytes).unwrap();
    open(&scratch.data(), &ME).map(|(mut storage, recovered)| {
        // After a cut, the same indexes can be written again.
        let next = recovered
            .records
            .last()
            .map_or(2, |record| record.index + 1);
        storage.log.append(&batch(next..next + 2, 9));
        drop(storage);
        let again = open(&scratch.data(), &ME).unwrap().1;
        assert_eq!(again.records.len(), recovered.records.len() + 2);
        recovered
    })
}

#[test]
fn a_torn_last_record_is_cut_wherever_it_tore() {
    let dir = TempDir::new();
    let ends = prepare(&dir, &batches());
    let bytes = fs::read(dir.log_files().pop().unwrap()).unwrap();
    let (start, end) = (ends[4], ends[5]);
    let whole: Vec<u64> = (2..12).collect();
    let before: Vec<u64> = (2..10).collect();
    assert_eq!(indexes(&open_with(&dir, &bytes).unwrap()), whole);
    // A record with a single wrong bit is not torn: it is repaired.
    let differ = |torn: &[u8]| {
        let bits = |(a, b): (&u8, &u8)| (a ^ b).count_ones();
        torn.iter().zip(&bytes).map(bits).sum::<u32>()
    };
    let tears = |torn: usize| {
        let mut zeros = bytes[..torn].to_vec();
        // The file system may have extended the file before it wrote the data,
        zeros.resize(bytes.len(), 0);
        // or it wrote the later pages but not the earlier pages.
        let mut late = bytes.clone();
        late[start..=torn].fill(0);
        [(bytes[..torn].to_vec(), u32::MAX), (zeros, 0), (late, 0)]
    };
    for torn in start..end {
        for (what, (tear, short)) in tears(torn).into_iter().enumerate() {
            let expected = match differ(&tear) | short {
                0 | 1 => &whole,
                _ => &before,
            };
            let found = indexes(&open_with(&dir, &tear).unwrap());
            assert_eq!(found, *expected, "{what} at {torn}");
        }
    }
}

/// Returns a record that the engine accepts as complete in the file with this sequence number.
fn record_without_entries(seq: u64) -> Vec<u8> {
    let footer = b"f";
    let sum = crc32fast::hash(footer) ^ u32::try_from(seq).unwrap();
    let length = 16 + footer.len() + 4;
    let head = [(length as u64) << 8, 16].map(u64::to_be_bytes).concat();
    [&head[..], footer, &sum.to_le_bytes()].concat()
}

#[test]
fn a_torn_record_is_cut_even_if_its_value_contains_complete_records() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    let file = dir.log_files().pop().unwrap();
    let seq: u64 = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    storage.log.append(&batch(2..5, 1));
    let start = written(&file);
    let mut value = vec![b'x'; 5000];
    for _ in 0..2 {
        value.extend(record_without_entries(seq));
    }
    value.extend([b'x'; 1000]);
    let hostile = LogRecord { index: 5, term: 1, payload: value.into() };
    let hostile = LogBatch { records: vec![hostile], hard_state: None, must_sync: true };
    storage.log.append(&hostile);
    drop(storage);
    let bytes = fs::read(&file).unwrap();
    let end = written(&file);
    for unwritten in [start..start + 1024, start..start + 1] {
        let mut torn = bytes.clone();
        torn[unwritten.clone()].fill(!0);
        let found = indexes(&open_with(&dir, &torn).unwrap());
        assert_eq!(found, [2, 3, 4], "{unwritten:?} of {start}..{end}");
        // Complete records after a torn record prove damage.
        torn.truncate(end);
        torn.extend(record_without_entries(seq));
        torn.extend([0; 4096]);
        let error = open_with(&dir, &torn).expect_err("a whole record follows");
        assert_eq!(error.exit_code(), 27, "{error}");
    }
}

#[test]
fn a_flipped_bit_is_refused_or_repaired() {
    let dir = TempDir::new();
    let ends = prepare(&dir, &batches());
    let mut bytes = fs::read(dir.log_files().pop().unwrap()).unwrap();
    // A killed process leaves reserved space.
    bytes.resize(bytes.len() + 5000, 0);
    let (last, end) = (ends[4], ends[5]);
    let behind = [end, end + 1, bytes.len() - 1];
    for at in (0..last).step_by(5).chain(last..end).chain(behind) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let opened = open_with(&dir, &flipped);
        if at < last {
            let error = opened.expect_err("a whole record follows the damage");
            assert_eq!(error.exit_code(), 27, "flip at {at}: {error}");
        } else {
            let found = indexes(&opened.unwrap());
            assert_eq!(found, (2..12).collect::<Vec<_>>(), "flip at {at}");
        }
    }
}

/// Writes a log that consists of several files. Returns the indexes of its entries.
fn long_log(dir: &TempDir) -> Vec<u64> {
    let (mut storage, _) = reopen(dir);
    for index in 2..40 {
        storage.log.append(&large(index, 1 << 20));
    }
    assert!(dir.log_files().len() > 2, "{:?}", dir.log_files());
    (2..40).collect()
}

#[test]
fn damage_in_a_closed_file_is_refused() {
    let dir = TempDir::new();
    long_log(&dir);
    let first = dir.log_files().remove(0);
    let bytes = fs::read(&first).unwrap();
    // Cutting the end of a closed file would leave a gap in the log.
    for at in [0, 60, 1000, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        fs::write(&first, flipped).unwrap();
        let error = open(&dir.data(), &ME).expect_err("the file was closed");
        assert_eq!(error.exit_code(), 27, "flip at {at}");
        assert!(
            error.to_string().contains(first.to_str().unwrap()),
            "{error}"
        );
    }
    let assert_refused = |why: &str| {
        let error = open(&dir.data(), &ME).expect_err(why);
        assert_eq!(error.exit_code(), 27, "{why}");
    };
    fs::write(&first, &bytes[..bytes.len() - 10]).unwrap();
    assert_refused("the file is too short");
    fs::write(&first, &bytes).unwrap();
    let second = dir.log_files().remove(1);
    fs::rename(&second, dir.0.join("away")).unwrap();
    assert_refused("a file is missing");
    fs::rename(dir.0.join("away"), &second).unwrap();
    fs::rename(&first, dir.0.join("away")).unwrap();
    assert_refused("the first file is missing");
    fs::rename(dir.0.join("away"), &first).unwrap();
    reopen(&dir);
}

/// A killed process may have written a record without syncing it. After the startup, other members rely on this record.
#[test]
fn entries_that_a_start_has_read_survive_a_power_cut() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..5, 1));
    drop(storage);
    let path = dir.log_files().pop().unwrap();
    let synced = fs::read(&path).unwrap();
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(5..6, 1));
    drop(storage);
    let written = fs::read(&path).unwrap();
    fs::write(&path, synced).unwrap();
    let disk = Disk::watch(&dir.0, |_, _| {});
    disk.keep_all();
    fs::write(&path, written).unwrap();
    let (storage, recovered) = reopen(&dir);
    assert_eq!(indexes(&recovered), [2, 3, 4, 5]);
    // The cut loses everything that was not synced.
    let after = TempDir::new();
    disk.cut(&after.0, &mut |_| 0);
    disk.forget();
    drop(storage);
    assert_eq!(indexes(&reopen(&after).1), [2, 3, 4, 5]);
}

#[test]
fn an_incomplete_new_file_is_removed() {
    let dir = TempDir::new();
    let all = long_log(&dir);
    let last = dir.log_files().pop().unwrap();
    let number: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let next = last.with_file_name(format!("{:016}.raftlog", number + 1));
    let header = fs::read(&last).unwrap()[..69].to_vec();
    for length in [0, 1, 8, 52, 53, 60, 61, 68, 69] {
        for zeros in [0, 5000] {
            let bytes = [&header[..length], &vec![0; zeros]].concat();
            fs::write(&next, bytes).unwrap();
            // The previous file was closed and truncated to its content before this point.
            let file = fs::OpenOptions::new().write(true).open(&last).unwrap();
            file.set_len(written(&last) as u64).unwrap();
            let (_, recovered) = reopen(&dir);
            assert_eq!(
                indexes(&recovered),
                all,
                "{length} bytes of header, {zeros} zeros"
            );
        }
    }
}

#[test]
fn a_first_start_interrupted_by_a_crash_is_repeated() {
    let dir = TempDir::new();
    for empty in ["0000000000000001.raftlog", "0000000000000001.rewrite"] {
        for content in [&b""[..], b"RAFT-LOG", &[0; 100]] {
            let log = dir.data().join("member/log");
            fs::create_dir_all(&log).unwrap();
            fs::write(log.join(empty), content).unwrap();
            assert!(reopen(&dir).1.records.is_empty());
            fs::remove_dir_all(dir.data()).unwrap();
        }
    }
}

#[test]
fn a_torn_rewrite_file_is_cut() {
    let dir = TempDir::new();
    let all = long_log(&dir);
    let rewrite = files(&dir.data().join("member/log"), ".rewrite")
        .pop()
        .unwrap();
    let whole = fs::read(&rewrite).unwrap();
    let torn = [&whole[..written(&rewrite)], &[1; 300]].concat();
    fs::write(&rewrite, torn).unwrap();
    assert_eq!(indexes(&reopen(&dir).1), all);
}

#[test]
fn a_start_uses_the_copy_of_an_unreadable_manifest() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.checkpoint.write(None, &view(3, 10)).unwrap();
    drop(storage);
    // A read of this file at offset 0 fails as on a broken disk.
    let current = dir.checkpoint().join("current");
    fs::remove_file(&current).unwrap();
    symlink("/proc/self/mem", &current).unwrap();
    let error = fs::read(&current).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
    let (storage, recovered) = reopen(&dir);
    assert!(storage.checkpoint.fell_back);
    same(recovered.checkpoint.as_ref(), &view(3, 10));
    drop(storage);
    fs::remove_file(dir.checkpoint().join("current.00000001")).unwrap();
    assert_eq!(open(&dir.data(), &ME).unwrap_err().exit_code(), 26);
}
