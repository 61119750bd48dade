//! Reads records on one thread while another thread restores the state from them. Both threads take about the same time, so two
//! cores are used.
//!
//! If the cache cannot keep all values in memory, the state is restored from the heads of the runs (`heads`). The values stay
//! on disk. A run without heads is read completely. The values of a block can be evicted from memory as soon as it is restored,
//! so startup needs no more memory for values than the cache's target.

use std::{
    io, mem,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use witan_base::panics::catch_in_library;
use witan_machine::{
    record::{self, CorruptRecord},
    values::{Place, RecordFile as _},
    view::{View, ViewBuilder},
};

use super::{
    error::CheckpointReadError,
    folder::CheckpointFolder,
    manifest::Chain,
    merge::{MergedRecords, Record, Records},
    run::RunValue,
};

/// Approximate size in bytes of a batch of records that passes between the threads.
const PORTION_BYTES: usize = 256 << 10;
const PORTIONS_AHEAD: usize = 4;

type Portion = Vec<Result<Record, CheckpointReadError>>;

/// Restores the state from a chain. Also returns the size of the chain's records in bytes. Reports a record from a later
/// release only if the whole chain is intact. Reads only the heads of the records if the chain exceeds the target size of the
/// cache. If that fails, reads the complete records. Fails with `OutOfMemory` as soon as `fits` returns false.
pub(super) fn read_chain(
    folder: &Arc<CheckpointFolder>,
    chain: &Chain,
    fits: &dyn Fn() -> bool,
) -> Result<(View, u64), CheckpointReadError> {
    if chain.bytes() > folder.cache.target() {
        match restore_from(folder, MergedRecords::new(&folder.dir, chain, true), fits) {
            Ok(restored) => return Ok(restored),
            Err(error) if !fits() => return Err(error),
            // The heads are optional, so startup fails only if the runs cannot be read either.
            Err(error) => {
                tracing::warn!(%error, "failed to start from the heads of the checkpoint; reading the entire checkpoint");
            }
        }
    }
    let restored = restore_from(folder, MergedRecords::new(&folder.dir, chain, false), fits);
    if restored.as_ref().is_err_and(CheckpointReadError::is_later) {
        // A damaged record can look like a record from a later release. Only the end of a run shows that the run is intact.
        let mut merged = MergedRecords::new(&folder.dir, chain, false);
        merged.try_for_each(|record| record.map(drop))?;
    }
    restored
}

/// Restores the state from merged records and tells each run's file which blocks the run contains. Also returns the size of the
/// records in bytes. Fails if a damaged record causes a panic. `fits` has the same meaning as in [`read_chain`].
fn restore_from(
    folder: &Arc<CheckpointFolder>,
    mut merged: MergedRecords,
    fits: &dyn Fn() -> bool,
) -> Result<(View, u64), CheckpointReadError> {
    let mut restore = |records: &mut Records<'_>| restore(folder, records, fits);
    // Catch panics, because a damaged run is detected only at its end, after its records have been used.
    let restored = catch_in_library(|| read_ahead(&mut merged, &mut restore));
    let restored = restored.unwrap_or_else(|| {
        Err(CorruptRecord::new("a panic occurred while the checkpoint was read").into())
    });
    let (view, bytes) = (restored?, merged.bytes);
    for (run, blocks) in merged.into_blocks() {
        let file = folder.state().run_file(run);
        if let Some(file) = file {
            // The numbers may be known already. The numbers of a run's blocks never change.
            let _ = file.blocks.set(blocks);
        }
    }
    Ok((view, bytes))
}

/// Restores the state from its records. Settles each block before it loads the next record. Reads the record of an open block
/// even if the run has heads. `fits` has the same meaning as in [`read_chain`].
fn restore(
    folder: &Arc<CheckpointFolder>,
    records: &mut Records<'_>,
    fits: &dyn Fn() -> bool,
) -> Result<View, CheckpointReadError> {
    let mut builder = ViewBuilder::default();
    for record in records {
        if !fits() {
            let what = "the state does not fit in the memory budget";
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, what).into());
        }
        let Record { key, value, run, offset } = record?;
        let len = value.record_len();
        let place = || Place { file: folder.run_file(run), offset, len };
        match value {
            RunValue::Record(record) => {
                builder.load(&key, &record)?;
                if record::is_block(&key) {
                    builder.settle(&key, place());
                }
            }
            RunValue::Head(..) if builder.is_open_block(&key) => {
                builder.load(&key, &folder.run_file(run).read(offset, len)?)?;
            }
            RunValue::Head(head, _) => builder.load_head(&key, &head, place())?,
        }
        // The cache's target bounds the memory that startup uses.
        folder.cache.trim();
    }
    Ok(builder.finish()?)
}

/// Restores the state from records that another thread reads. A panic on that thread becomes an error.
fn read_ahead<T>(
    records: impl Iterator<Item = Result<Record, CheckpointReadError>> + Send,
    restore: &mut dyn FnMut(&mut Records<'_>) -> Result<T, CheckpointReadError>,
) -> Result<T, CheckpointReadError> {
    thread::scope(|scope| {
        let (send, receive) = sync_channel(PORTIONS_AHEAD);
        let reading = thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn_scoped(scope, move || catch_in_library(|| read(records, &send)))?;
        let restored = restore(&mut receive.iter().flatten());
        // If the restore ends early, the reader must not block on a full queue.
        drop(receive);
        match reading.join() {
            Ok(Some(())) => restored,
            Ok(None) | Err(_) => {
                Err(CorruptRecord::new("a panic occurred while the checkpoint was read").into())
            }
        }
    })
}

/// Sends records in portions of about [`PORTION_BYTES`]. Stops early if the receiver is dropped.
fn read(
    records: impl Iterator<Item = Result<Record, CheckpointReadError>>,
    send: &SyncSender<Portion>,
) {
    let (mut portion, mut bytes) = (Portion::new(), 0);
    for record in records {
        bytes += record
            .as_ref()
            .map_or(0, |record| record.key.len() + record.value.bytes().len());
        portion.push(record);
        if bytes >= PORTION_BYTES {
            bytes = 0;
            if send.send(mem::take(&mut portion)).is_err() {
                return;
            }
        }
    }
    // An error means that the receiver was dropped.
    let _ = send.send(portion);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> Result<Record, CheckpointReadError> {
        let (key, value) = (
            number.to_be_bytes().to_vec(),
            RunValue::Record(vec![b'v'; 10_000]),
        );
        Ok(Record { key, value, run: 1, offset: number })
    }

    #[test]
    fn all_records_come_in_their_order() {
        let mut expected = 0..1000;
        let count = read_ahead((0..1000).map(record), &mut |records| {
            let mut count = 0;
            for found in records {
                assert_eq!(found?, record(expected.next().unwrap())?);
                count += 1;
            }
            Ok(count)
        });
        assert_eq!(count.unwrap(), 1000);
    }

    #[test]
    fn an_error_and_a_panic_of_the_reader_are_errors() {
        let whole = &mut |records: &mut Records<'_>| {
            for record in records {
                record?;
            }
            Ok(())
        };
        let broken = |number| match number {
            500 => Err(CorruptRecord::new("the tenth").into()),
            _ => record(number),
        };
        let error: Result<(), _> = read_ahead((0..1000).map(broken), whole);
        assert!(error.unwrap_err().to_string().contains("the tenth"));
        let panics = |number| match number {
            500 => panic!("planted"),
            _ => record(number),
        };
        let error: Result<(), _> = read_ahead((0..1000).map(panics), whole);
        assert!(error.unwrap_err().to_string().contains("panic"));
    }

    #[test]
    fn stopping_early_ends_the_reader() {
        let first = read_ahead((0..).map(record), &mut |records| records.next().unwrap());
        assert_eq!(first.unwrap(), record(0).unwrap());
    }
}
