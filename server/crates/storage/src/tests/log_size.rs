//! Tests the size of the log on disk.

use super::*;
use crate::space::checkpoint_log_bytes;

/// Returns the total size in bytes of the files in a directory, recursively.
fn size_of(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            if entry.path().is_dir() {
                size_of(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}

#[test]
fn the_log_at_rest_stays_below_288_mib() {
    // The engine rewrites some very large entries to delete their files.
    for (size, total) in [(64 << 10, 400 << 20), (6 << 20, 500 << 20)] {
        let dir = TempDir::new();
        let (mut storage, _) = reopen(&dir);
        let (mut since, mut saved, mut largest) = (0, 0, 0);
        let mut index = 2;
        for _ in 0..total / size {
            since += storage.log.append(&large(index, size));
            if since as u64 >= checkpoint_log_bytes(&dir.data()) {
                since = 0;
                storage.log.cut(std::mem::replace(&mut saved, index));
                largest = largest.max(size_of(&dir.data().join("member/log")));
            }
            index += 1;
        }
        assert!(largest < 288 << 20, "{size} bytes an entry: {largest}");
        storage.checkpoint.write(None, &view(index - 1, 1)).unwrap();
        drop(storage);
        let (_, recovered) = reopen(&dir);
        assert_eq!(recovered.checkpoint.unwrap().position.index, index - 1);
    }
}
