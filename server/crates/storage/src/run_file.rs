//! Reads single records of a run: the values of blocks that are not in memory. `run` reads and writes entire runs.
//!
//! A [`Place`] names a block's record in a run and holds the [`RunFile`]. The directory tracks the `RunFile` of each run
//! ([`CheckpointFolder::run_file`]) and does not remove the run while the `RunFile` exists.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process,
    sync::{Arc, OnceLock, Weak, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use witan_machine::{
    record,
    values::{BlockCache, Place, RecordFile},
};

use super::{
    error::EXIT_DISK_FAILED,
    folder::CheckpointFolder,
    heads::heads_path,
    run::{RunItem, item_bytes},
};

/// Time for which a failing read is retried. Connections can temporarily use up all file descriptors.
const RETRY_FOR: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A run from which blocks are read. The file is open only during a read, so the number of open files does not depend on the
/// size of the state.
#[derive(Debug)]
pub(super) struct RunFile {
    path: PathBuf,
    cache: Arc<BlockCache>,
    /// The directory to which the drop reports the run. The reference is weak, because the directory can own a view of the
    /// checkpoint thread, and the view's places own this value.
    folder: Weak<CheckpointFolder>,
    /// Whether the run is kept only because this value exists. The drop of this value then wakes the thread that removes runs.
    pub(super) outdated: AtomicBool,
    /// The numbers of all blocks in the run, including outdated ones. Not set if the run also contains other records, or if its
    /// blocks are not known yet.
    pub(super) blocks: OnceLock<Vec<u64>>,
}

impl RunFile {
    /// Creates the value without opening the file.
    pub(super) fn new(path: PathBuf, folder: &Arc<CheckpointFolder>) -> Self {
        Self {
            path,
            cache: folder.cache.clone(),
            folder: Arc::downgrade(folder),
            outdated: AtomicBool::new(false),
            blocks: OnceLock::new(),
        }
    }
}

impl RecordFile for RunFile {
    /// Reads a record. Retries a failed read for [`RETRY_FOR`].
    fn read(&self, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        let begun = Instant::now();
        loop {
            let read =
                File::open(&self.path).and_then(|file| file.read_exact_at(&mut bytes, offset));
            match read {
                Ok(()) => return Ok(bytes),
                Err(error) if begun.elapsed() < RETRY_FOR => {
                    tracing::warn!(path = %self.path.display(), %error, "failed to read a record; retrying");
                    thread::sleep(RETRY_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the heads of the run, logs the error and ends the process.
    fn fail(&self, what: &str) -> ! {
        // Without the heads, the next startup reads the run and finds the damage.
        let _ = fs::remove_file(heads_path(&self.path));
        let path = self.path.display();
        tracing::error!(%path, what, "failed to read a record of the checkpoint; exiting");
        process::exit(EXIT_DISK_FAILED);
    }

    fn cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        // Any thread can drop the last place of a run, even while it holds a lock on the state. Therefore, the drop neither
        // removes files nor takes the directory's lock.
        if *self.outdated.get_mut()
            && let Some(folder) = self.folder.upgrade()
        {
            folder.report_garbage();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct BlockLocation {
    block: u64,
    /// Offset of the record's value in the file.
    offset: u64,
    len: u32,
}

#[derive(Debug)]
pub(super) struct RunBlocks {
    run: u64,
    locations: Vec<BlockLocation>,
    /// Whether the run contains no other records.
    only_blocks: bool,
}

impl RunBlocks {
    /// Lists the blocks, without deletions, in the run with the number `run`. `items` are the records of the run.
    pub(super) fn of(run: u64, items: &[RunItem]) -> Self {
        let (mut end, mut locations, mut only_blocks) = (0, Vec::new(), true);
        for item in items {
            end += item_bytes(item) as u64;
            let (key, value) = item;
            let Some(block) = record::block_number(key) else {
                only_blocks = false;
                continue;
            };
            // A run with a longer record cannot be written.
            let len = value
                .as_ref()
                .and_then(|value| u32::try_from(value.len()).ok());
            locations.extend(len.map(|len| BlockLocation {
                block,
                offset: end - u64::from(len),
                len,
            }));
        }
        Self { run, locations, only_blocks }
    }

    /// Passes each block's key and place to `settle`. The run's content must be durable, and the run must be published or part
    /// of a received snapshot.
    pub(super) fn settle(&self, folder: &Arc<CheckpointFolder>, settle: impl Fn(&[u8], Place)) {
        let file = folder.run_file(self.run);
        if self.only_blocks {
            let blocks = self.locations.iter().map(|location| location.block);
            // The numbers may be known already. The numbers of a run's blocks never change.
            let _ = file.blocks.set(blocks.collect());
        }
        for BlockLocation { block, offset, len } in &self.locations {
            let file = file.clone();
            settle(
                &record::block_key(*block),
                Place { file, offset: *offset, len: *len },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_locations_match_the_locations_of_values() {
        let items: Vec<RunItem> = vec![
            (b"ka".to_vec(), Some(vec![1; 7])),
            (record::block_key(1), Some(vec![2; 30])),
            (record::block_key(2), None),
            (record::block_key(3), Some(vec![3; 5])),
            (b"v".to_vec(), Some(vec![4; 9])),
        ];
        let found = RunBlocks::of(8, &items);
        assert_eq!(found.run, 8);
        // Each record begins with 8 bytes of lengths and its key.
        let second = 8 + 2 + 7 + 8 + 10;
        let fourth = second + 30 + 8 + 10 + 8 + 10;
        let expected = [(1, second, 30), (3, fourth, 5)];
        let expected = expected.map(|(block, offset, len)| BlockLocation { block, offset, len });
        assert_eq!(found.locations, expected);
        assert!(!found.only_blocks && RunBlocks::of(9, &items[1..4]).only_blocks);
    }
}
