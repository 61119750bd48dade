//! For tests: `witan-planted alter DIR FROM TO` replaces a text with another one of the same length in all values of a stopped
//! member's state, and keeps checksums valid, like a bug in the program would. Only the program `witan-planted` has it, which
//! needs the feature `planted-panics`.

use std::{ffi::OsString, io, path::Path, sync::Arc};

use witan_base::metrics::Register;
use witan_machine::{
    record::{CorruptRecord, RecordChange},
    view::View,
};
use witan_storage::{self as storage, StorageMetrics};

use super::error::OfflineError;

const CRC_BYTES: usize = 4;

/// Runs the test command `alter DIR FROM TO`: in each value of the checkpoint in DIR, replaces the first FROM with TO and
/// corrects the checksum. Does nothing if FROM and TO differ in length.
pub(super) fn alter(arguments: impl Iterator<Item = OsString>) -> Result<String, OfflineError> {
    let arguments: Vec<OsString> = arguments.collect();
    let [dir, from, to] = arguments.as_slice() else {
        let usage = io::Error::other("alter DIR FROM TO");
        return Err(OfflineError::open("alter", Path::new(""))(usage));
    };
    let (from, to) = (from.as_encoded_bytes(), to.as_encoded_bytes());
    alter_dir(Path::new(dir), from, to)
}

/// Replaces `from` with `to` in all values of the checkpoint in a data directory. Returns the text to print.
fn alter_dir(dir: &Path, from: &[u8], to: &[u8]) -> Result<String, OfflineError> {
    let refusal = |error: String| OfflineError::open("alter", dir)(io::Error::other(error));
    let identity = storage::identity(dir)?.ok_or_else(|| refusal("there is no member".into()))?;
    let metrics = StorageMetrics::register(&Register::default());
    let (mut storage, recovered) = storage::open(dir, &identity, &Arc::default(), &metrics)?;
    let view = recovered.checkpoint;
    let view = view.ok_or_else(|| refusal("there is no checkpoint".into()))?;
    let (view, altered) = altered(&view, from, to).map_err(|error| refusal(error.to_string()))?;
    let written = storage.checkpoint.write(None, &view);
    written.map_err(OfflineError::open("write", dir))?;
    storage.log.close();
    Ok(format!("altered {altered} records\n"))
}

/// Replaces the first `from` with `to`, if both have the same length, in each record's value, and corrects the checksum at its
/// end. Returns the new state and the number of changed records.
fn altered(view: &View, from: &[u8], to: &[u8]) -> Result<(View, usize), CorruptRecord> {
    let mut records = Vec::new();
    view.changes(None, &mut |change| {
        if let RecordChange::Put { key, value } = change {
            records.push((key, value));
        }
    });
    records.sort();
    let mut count = 0;
    for (key, value) in &mut records {
        let found = value.windows(from.len()).position(|text| text == from);
        let Some(at) = found.filter(|_| from.len() == to.len()) else {
            continue;
        };
        count += 1;
        let end = value.len().saturating_sub(CRC_BYTES);
        // A checksum covers the value alone, or the key without its kind byte and the value; some records have none.
        let checked = [&[], &key[1..]]
            .into_iter()
            .find(|key| crc(key, &value[..end]) == value[end..]);
        value[at..at + to.len()].copy_from_slice(to);
        if let Some(key) = checked {
            let crc = crc(key, &value[..end]);
            value[end..].copy_from_slice(&crc);
        }
    }
    let view = View::restore(records.into_iter().map(Ok::<_, CorruptRecord>))?;
    Ok((view, count))
}

fn crc(key: &[u8], value: &[u8]) -> [u8; CRC_BYTES] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(value);
    crc.finalize().to_le_bytes()
}
