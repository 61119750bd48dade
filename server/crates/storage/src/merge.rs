//! Merges a chain's runs into records in key order: the newest record of each key, without deleted keys.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    path::{Path, PathBuf},
};

use witan_machine::record::CorruptRecord;

use super::{
    error::CheckpointReadError,
    manifest::{Chain, Run},
    run::{self, RunItem, RunReader, run_path},
};

/// A record of the state, and its location.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// Number of the run that contains the record.
    pub(super) run: u64,
    /// Offset of the value in the run.
    pub(super) offset: u64,
}

pub(super) type Records<'a> = dyn Iterator<Item = Result<Record, CheckpointReadError>> + 'a;

/// Iterator over a chain's records. A run is open from its first key to its last, so only overlapping runs are open at once.
pub(super) struct MergedRecords {
    sources: Vec<RunSource>,
    heads: BinaryHeap<RunHead>,
    /// Size of the yielded records in bytes.
    pub(super) bytes: u64,
}

struct RunSource {
    path: PathBuf,
    run: Run,
    reader: Option<RunReader>,
}

/// The next record of a run. The heap pops the head with the smallest key first. Among equal keys, unopened runs come first,
/// then the newest run.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RunHead {
    key: Reverse<Vec<u8>>,
    /// Whether the run is still closed, so that `key` is only a lower bound.
    unopened: bool,
    /// Position of the run in the chain. Among equal keys, the record with the highest position is the newest.
    source: usize,
    value: Option<Vec<u8>>,
    /// Offset in the run of the record after this one.
    end: u64,
}

impl MergedRecords {
    /// Prepares to merge a chain's runs, without opening them.
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
            key: Reverse(of.run.first.clone()),
            unopened: true,
            source,
            value: None,
            end: 0,
        });
        Self { heads: heads.collect(), sources, bytes: 0 }
    }

    /// Returns the next record, or `None` after the last one.
    fn next_record(&mut self) -> Result<Option<Record>, CheckpointReadError> {
        while let Some(head) = self.heads.pop() {
            let RunHead { key: Reverse(key), unopened, source, value, end } = head;
            self.advance(source, &key, !unopened)?;
            if unopened {
                continue;
            }
            while let Some(older) = self.heads.peek()
                && older.key.0 == key
            {
                let source = older.source;
                self.heads.pop();
                self.advance(source, &key, true)?;
            }
            if let Some(value) = value {
                self.bytes += (key.len() + value.len() + run::HEADER_BYTES) as u64;
                let run = self.sources[source].run.number;
                let offset = end - value.len() as u64;
                return Ok(Some(Record { key, value, run, offset }));
            }
        }
        Ok(None)
    }

    /// Reads a run's next record into the heap. If `read` is set, `last` is the run's previous key, otherwise a lower bound of
    /// its first key. Fails if keys are out of order.
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
        let key = Reverse(key);
        let end = of.reader.as_ref().map_or(0, |reader| reader.offset);
        self.heads
            .push(RunHead { key, unopened: false, source, value, end });
        Ok(())
    }
}

impl RunSource {
    /// Reads the next item, or returns `None` at the end. `last` and `read` are as in [`MergedRecords::advance`].
    fn next(&mut self, last: &[u8], read: bool) -> Result<Option<RunItem>, CheckpointReadError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self
                .reader
                .insert(RunReader::open(&self.path, self.run.content)?),
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
