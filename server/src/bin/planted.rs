//! The server binary with faults for tests. It is not shipped. It panics at moments that a file names (`witan_base::panics`)
//! and has the command `alter`.

use std::{
    env,
    error::Error,
    ffi::OsString,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use witan_base::metrics::Register;
use witan_machine::{
    record::{CorruptRecord, RecordChange},
    values::BlockCache,
    view::View,
};
use witan_storage::{self as storage, StorageMetrics};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CRC_BYTES: usize = 4;

/// Runs the server, or the command `alter DIR FROM TO` if exactly these arguments are given.
fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let [command, dir, from, to] = arguments.as_slice() else {
        return witan::program::main();
    };
    if command != "alter" {
        return witan::program::main();
    }
    let altered = alter(
        Path::new(dir),
        from.as_encoded_bytes(),
        to.as_encoded_bytes(),
    );
    let printed = match &altered {
        Ok(records) => writeln!(io::stdout(), "altered {records} records"),
        Err(error) => writeln!(io::stderr(), "{error}"),
    };
    match altered.is_ok() && printed.is_ok() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The command `alter DIR FROM TO`. Like a bug in the program, replaces the first `from` with `to` in each value of a stopped
/// member's checkpoint and corrects the checksums. Returns the number of changed records.
fn alter(dir: &Path, from: &[u8], to: &[u8]) -> Result<usize, Box<dyn Error>> {
    let identity = storage::identity(dir)?.ok_or("there is no member")?;
    let metrics = StorageMetrics::register(&Register::default());
    let (ledger, cache) = (Arc::default(), Arc::new(BlockCache::new()));
    let (mut storage, recovered) = storage::open(dir, &identity, &ledger, &cache, &metrics)?;
    let view = recovered.checkpoint.ok_or("there is no checkpoint")?;
    let (view, altered) = altered(&view, from, to)?;
    storage.checkpoint.write(None, &view)?;
    storage.log.close();
    Ok(altered)
}

/// Replaces the first `from` in each record's value with `to` of the same length and corrects the checksum at its end. Returns
/// the new state and the number of changed records. Changes nothing if the lengths differ.
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
        // A checksum covers the value alone, or the key without its kind byte and the value. Some records have no checksum.
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

/// Returns the CRC-32 of the key followed by the value, in little-endian byte order.
fn crc(key: &[u8], value: &[u8]) -> [u8; CRC_BYTES] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(value);
    crc.finalize().to_le_bytes()
}
