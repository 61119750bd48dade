//! Merges a chain's runs into records in key order: the newest record of each key, without deleted keys.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    path::{Path, PathBuf},
    vec,
};

use witan_machine::record::{self, CorruptRecord};

use super::{
    error::CheckpointReadError,
    heads::{self, RunEntry},
    manifest::{Chain, Run},
    run::{self, RunReader, RunValue, run_path},
};

/// A record of the state and its location.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) value: RunValue,
    pub(super) run: u64,
    /// Offset of the value in the run.
    pub(super) offset: u64,
}

pub(super) type Records<'a> = dyn Iterator<Item = Result<Record, CheckpointReadError>> + 'a;

/// Iterator over a chain's records. A run is open from its first key to its last, so only overlapping runs are open at the same
/// time.
pub(super) struct MergedRecords {
    sources: Vec<RunSource>,
    next: BinaryHeap<NextRecord>,
    /// Size of the yielded records in bytes.
    pub(super) bytes: u64,
}

struct RunSource {
    path: PathBuf,
    run: Run,
    by_heads: bool,
    reader: Option<SourceReader>,
    /// Numbers of the blocks that were read, or `None` once a record that is not a block has been read.
    blocks: Option<Vec<u64>>,
}

/// The open source of a run's records: the run itself, or its heads.
enum SourceReader {
    Records(RunReader),
    Heads(vec::IntoIter<RunEntry>),
}

/// The next record of a run. The heap pops the smallest key first. Among equal keys, unopened runs come first, then the newest
/// run.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct NextRecord {
    key: Reverse<Vec<u8>>,
    /// Whether the run is still closed, so that `key` is only a lower bound.
    unopened: bool,
    /// Position of the run in the chain. Among equal keys, the record with the highest position is the newest.
    source: usize,
    value: Option<RunValue>,
    /// Offset of the next record in the run.
    end: u64,
}

impl MergedRecords {
    /// Prepares to merge a chain's runs, without opening them. If `by_heads` is set, yields heads instead of records for the
    /// blocks in runs that have heads.
    pub(super) fn new(dir: &Path, chain: &Chain, by_heads: bool) -> Self {
        let sources: Vec<RunSource> = chain
            .runs()
            .map(|run| RunSource {
                path: run_path(dir, run.number),
                run: run.clone(),
                by_heads,
                reader: None,
                blocks: Some(Vec::new()),
            })
            .collect();
        let numbered = sources.iter().enumerate();
        let next = numbered.map(|(source, RunSource { run, .. })| NextRecord {
            key: Reverse(run.first.clone()),
            unopened: true,
            source,
            value: None,
            end: 0,
        });
        Self { next: next.collect(), sources, bytes: 0 }
    }

    /// Returns the number of each run that contains only blocks, with the numbers of these blocks. Omits deletions. Call this
    /// after the last record.
    pub(super) fn into_blocks(self) -> impl Iterator<Item = (u64, Vec<u64>)> {
        let sources = self.sources.into_iter();
        sources.filter_map(|source| Some((source.run.number, source.blocks?)))
    }

    /// Returns the newest record of the next key that is not deleted, or `None` at the end.
    fn next_record(&mut self) -> Result<Option<Record>, CheckpointReadError> {
        while let Some(next) = self.next.pop() {
            let NextRecord { key: Reverse(key), unopened, source, value, end } = next;
            self.advance(source, &key, !unopened)?;
            if unopened {
                continue;
            }
            while let Some(older) = self.next.peek()
                && older.key.0 == key
            {
                let source = older.source;
                self.next.pop();
                self.advance(source, &key, true)?;
            }
            if let Some(value) = value {
                let len = u64::from(value.record_len());
                self.bytes += (key.len() + run::HEADER_BYTES) as u64 + len;
                let run = self.sources[source].run.number;
                let offset = end - len;
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
        let run = &mut self.sources[source];
        let next = run
            .next(last, read)
            .map_err(|error| CheckpointReadError::At(run.path.clone(), Box::new(error)))?;
        if next.is_none() {
            run.reader = None;
        }
        self.next.extend(next.map(|RunEntry { key, value, end }| {
            let key = Reverse(key);
            NextRecord { key, unopened: false, source, value, end }
        }));
        Ok(())
    }
}

impl RunSource {
    /// Reads the next record, or returns `None` at the end. `last` and `read` have the same meaning as in
    /// [`MergedRecords::advance`].
    fn next(&mut self, last: &[u8], read: bool) -> Result<Option<RunEntry>, CheckpointReadError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let reader = SourceReader::open(&self.path, &self.run, self.by_heads)?;
                self.reader.insert(reader)
            }
        };
        let next = reader.next()?;
        if let Some(RunEntry { key, value, .. }) = &next {
            if key.as_slice() < last || read && key == last {
                return Err(CorruptRecord::new("a run is out of order").into());
            }
            match (record::block_number(key), &mut self.blocks) {
                (None, blocks) => *blocks = None,
                (Some(block), Some(blocks)) if value.is_some() => blocks.push(block),
                (Some(_), _) => {}
            }
        }
        Ok(next)
    }
}

impl SourceReader {
    /// Opens the heads of a run if `by_heads` is set and the heads are valid, otherwise the run.
    fn open(path: &Path, run: &Run, by_heads: bool) -> Result<Self, CheckpointReadError> {
        let heads = by_heads.then(|| heads::read(path, run)).flatten();
        match heads {
            Some(heads) => Ok(Self::Heads(heads.into_iter())),
            None => Ok(Self::Records(RunReader::open(path, run.content)?)),
        }
    }

    /// Reads the next entry, or returns `None` at the end. Entries from the heads contain heads instead of records.
    fn next(&mut self) -> Result<Option<RunEntry>, CheckpointReadError> {
        match self {
            Self::Records(reader) => {
                let item = reader.next()?;
                Ok(item.map(|(key, value)| RunEntry {
                    key,
                    value: value.map(RunValue::Record),
                    end: reader.offset,
                }))
            }
            Self::Heads(heads) => Ok(heads.next()),
        }
    }
}

impl Iterator for MergedRecords {
    type Item = Result<Record, CheckpointReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}
