//! Checkpoints on the simulated disk. As on real storage, each record has a place in a run. A checkpoint writes its changed
//! records to a new run. After some checkpoints, the next one writes all records to one run again.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use witan_machine::{
    record::{CorruptRecord, RecordChange},
    view::View,
};

/// Maximum number of runs of a checkpoint to which the next checkpoint adds a run. If there are more runs, the next checkpoint
/// writes all records.
const RUNS_MAX: usize = 2;

/// The records of one write: their values, one after another.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) content: Bytes,
}

/// The place of a record.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(super) run: Arc<Run>,
    pub(super) offset: usize,
    pub(super) len: usize,
}

impl Stored {
    pub(super) fn value(&self) -> &[u8] {
        &self.run.content[self.offset..self.offset + self.len]
    }
}

/// A checkpoint on disk, or a snapshot on the network.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) records: BTreeMap<Vec<u8>, Stored>,
    pub(super) index: u64,
}

impl Saved {
    /// Writes all records of a state to run `number`.
    pub(crate) fn whole(view: &View, number: u64) -> Self {
        Self::write(BTreeMap::new(), None, view, number)
    }

    /// Writes the next checkpoint to run `number`. `base` is the state of this checkpoint. The run contains the changes since
    /// `base`, or all records.
    pub(super) fn next(&self, base: &View, view: &View, number: u64) -> Self {
        match self.runs().len() <= RUNS_MAX {
            true => Self::write(self.records.clone(), Some(base), view, number),
            false => Self::whole(view, number),
        }
    }

    /// Writes the changes since `base`, or all records without it, to run `number`. `records` are the records of the previous
    /// checkpoint.
    fn write(
        mut records: BTreeMap<Vec<u8>, Stored>,
        base: Option<&View>,
        view: &View,
        number: u64,
    ) -> Self {
        let (mut content, mut written) = (Vec::new(), Vec::new());
        view.changes(base, &mut |change| match change {
            RecordChange::Put { key, value } => {
                written.push((key, content.len(), value.len()));
                content.extend_from_slice(&value);
            }
            RecordChange::Delete { key } => {
                records.remove(&key);
            }
        });
        let run = Arc::new(Run { number, content: content.into() });
        for (key, offset, len) in written {
            records.insert(key, Stored { run: run.clone(), offset, len });
        }
        Self { records, index: view.position.index }
    }

    /// Reads the state, with all values in memory.
    pub(crate) fn view(&self) -> Result<View, CorruptRecord> {
        let records = self.records.iter();
        View::restore(records.map(|(key, stored)| Ok((key.clone(), stored.value().to_vec()))))
    }

    /// Returns the runs that contain records of this checkpoint, by number.
    pub(super) fn runs(&self) -> BTreeMap<u64, Arc<Run>> {
        let runs = self.records.values().map(|stored| &stored.run);
        runs.map(|run| (run.number, run.clone())).collect()
    }
}
