//! Merges runs: yields records in the order of keys, the newest one of each key, without deleted
//! keys.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    path::{Path, PathBuf},
};

use witan_machine::record::CorruptRecord;

use super::{
    error::CheckpointReadError,
    manifest::{Chain, Run},
    run::{self, RunItem, RunReader, run_path},
};

/// A key and its value.
pub(super) type Record = (Vec<u8>, Vec<u8>);

/// The records of a chain in key order.
pub(super) type Records<'a> = dyn Iterator<Item = Result<Record, CheckpointReadError>> + 'a;

/// Iterator over the records of a chain. A run is opened when its first key is reached and closed behind its last, so
/// only overlapping runs are open at once.
pub(super) struct MergedRecords {
    sources: Vec<RunSource>,
    heads: BinaryHeap<RunHead>,
    /// Bytes of the records that were yielded.
    pub(super) bytes: u64,
}

struct RunSource {
    path: PathBuf,
    run: Run,
    reader: Option<RunReader>,
}

/// The next record of a run.
struct RunHead {
    key: Vec<u8>,
    /// The value of the record. `None` before the run is opened: then `key` is only a lower bound.
    value: Option<Option<Vec<u8>>>,
    /// Position of the run in the chain; of equal keys the one of the later run is used.
    source: usize,
}

impl MergedRecords {
    /// Prepares to merge the runs of a chain; each is opened when the merge comes to its first key.
    pub(super) fn new(dir: &Path, chain: &Chain) -> Self {
        let sources: Vec<RunSource> = chain
            .runs()
            .map(|run| RunSource {
                path: run_path(dir, run.number),
                run: run.clone(),
                reader: None,
            })
            .collect();
        let heads = sources.iter().enumerate().map(|(source, of)| RunHead {
            key: of.run.first.clone(),
            value: None,
            source,
        });
        Self { heads: heads.collect(), sources, bytes: 0 }
    }

    /// Reads the next record; `None` at the end of all runs.
    fn next_record(&mut self) -> Result<Option<Record>, CheckpointReadError> {
        while let Some(head) = self.heads.pop() {
            self.advance(head.source, &head.key, head.value.is_some())?;
            let Some(value) = head.value else { continue };
            while let Some(older) = self.heads.peek()
                && older.key == head.key
            {
                let source = older.source;
                self.heads.pop();
                self.advance(source, &head.key, true)?;
            }
            if let Some(value) = value {
                self.bytes += (head.key.len() + value.len() + run::HEADER_BYTES) as u64;
                return Ok(Some((head.key, value)));
            }
        }
        Ok(None)
    }

    /// Reads the next record of a run. `last` is the key before it if `read` is set, otherwise a
    /// lower bound of the first key. Keys out of order are an error.
    fn advance(
        &mut self,
        source: usize,
        last: &[u8],
        read: bool,
    ) -> Result<(), CheckpointReadError> {
        let of = &mut self.sources[source];
        let next = of
            .next(last, read)
            .map_err(|error| CheckpointReadError::At(of.path.clone(), Box::new(error)))?;
        let Some((key, value)) = next else {
            of.reader = None;
            return Ok(());
        };
        self.heads.push(RunHead { key, value: Some(value), source });
        Ok(())
    }
}

impl RunSource {
    /// Reads the next item; `None` at the end. `last` and `read` are those of [`MergedRecords::advance`].
    fn next(&mut self, last: &[u8], read: bool) -> Result<Option<RunItem>, CheckpointReadError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self
                .reader
                .insert(RunReader::open(&self.path, &self.run.content)?),
        };
        let next = reader.next()?;
        if let Some((key, _)) = &next
            && (key.as_slice() < last || read && key == last)
        {
            return Err(CorruptRecord::new("a run is out of order").into());
        }
        Ok(next)
    }
}

impl Iterator for MergedRecords {
    type Item = Result<Record, CheckpointReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

// The heap gives its greatest first: the smallest key; of equal ones the unopened, then the newest.
impl Ord for RunHead {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .key
            .cmp(&self.key)
            .then_with(|| self.value.is_none().cmp(&other.value.is_none()))
            .then_with(|| self.source.cmp(&other.source))
    }
}

impl PartialOrd for RunHead {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RunHead {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for RunHead {}
