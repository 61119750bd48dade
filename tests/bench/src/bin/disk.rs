//! Measures the cost of the disk: bytes written per put with one client and with a thousand, the cost of a checkpoint, and
//! the duration of a restart with a million keys.
//!
//! `cargo run --release -p witan-bench --bin disk [KEYS]` uses the server's storage directly in a folder below `TMPDIR`, with
//! one process per line. Written bytes are the kernel's count for the process (`write_bytes` of `/proc/self/io`), which
//! includes whole pages, checkpoints and the log.

use std::{
    env,
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command as Process, ExitCode, id},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use witan_base::metrics::Register;
use witan_e2e::process;
use witan_machine::{
    command::{Command, Entry, Stamp},
    kv,
    member::{Member, MemberId},
    view::View,
};
use witan_replica::host::{LogBatch, LogRecord};
use witan_storage::{self as storage, Checkpointer, DataIdentity, StorageMetrics};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 1_000_000;
const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 256;
/// Numbers of clients and puts per run. One client's puts are too few for a checkpoint in their time, so its share is taken
/// from the other run.
const RUNS: [(u64, u64); 2] = [(1, 2000), (1000, 1_000_000)];
/// Maximum duration of a checkpoint before the benchmark fails.
const PATIENCE: Duration = Duration::from_secs(120);

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let number = |at: usize| arguments.get(at).and_then(|n| n.parse::<u64>().ok());
    let outcome = match (arguments.get(1).map(String::as_str), number(2), number(3)) {
        (Some("put"), Some(clients), Some(puts)) => put(clients, puts),
        (Some("fill"), Some(keys), _) => fill(keys),
        (Some("open"), Some(keys), _) => open(keys),
        _ => all(&arguments[0], number(1).unwrap_or(KEYS)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one process per line, so that none includes another's memory or counters.
fn all(program: &str, keys: u64) -> Outcome {
    let run = |part: &str, first: u64, second: u64| -> Outcome {
        let arguments = [part.to_owned(), first.to_string(), second.to_string()];
        let status = Process::new(program).args(arguments).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{part} failed").into())
        }
    };
    for (clients, puts) in RUNS {
        run("put", clients, puts.min(keys))?;
    }
    run("fill", keys, 0)?;
    run("open", keys, 0)?;
    fs::remove_dir_all(dir("keys"))?;
    Ok(())
}

fn dir(name: &str) -> PathBuf {
    env::temp_dir().join(format!("witan-bench-disk-{name}"))
}

fn identity() -> DataIdentity {
    DataIdentity::new(1, MemberId(1))
}

/// Returns the entry of one put.
fn entry(number: u64, keys: u64) -> Entry {
    // The multiplier is odd, so that the keys are scattered.
    let key = format!("key-{:012}", number.wrapping_mul(611_953) % keys);
    debug_assert_eq!(key.len(), KEY_BYTES);
    let mut value = vec![b'v'; VALUE_BYTES];
    value[..8].copy_from_slice(&number.to_le_bytes());
    let put = kv::Put { key: key.into(), value: value.into(), ..kv::Put::default() };
    Entry {
        stamp: Some(Stamp {
            now_ns: 1_700_000_000_000_000_000,
            member: 1,
            ticket: number,
            ..Stamp::default()
        }),
        command: Some(Command::Kv(kv::KvCommand {
            operation: Some(kv::KvOperation::Put(put)),
        })),
        caller: None,
    }
}

/// Creates metrics that are not read.
fn metrics() -> StorageMetrics {
    StorageMetrics::register(&Register::default())
}

/// Puts as the server does: one synced write of the log for the puts of all clients.
fn put(clients: u64, puts: u64) -> Outcome {
    let dir = dir("put");
    let _ = fs::remove_dir_all(&dir);
    let (mut storage, _) = storage::open(&dir, &identity(), &Arc::default(), &metrics())?;
    let (send, durable) = mpsc::sync_channel(64);
    let mut view = View::default();
    view.position.index = 1;
    storage.checkpoint.write(None, &view)?;
    let checkpointer = Checkpointer::start(
        storage.checkpoint,
        Some(view.clone()),
        metrics(),
        move |index| {
            let _ = send.send(index);
        },
    )?;
    let (mut since, mut logged, mut offered, mut saved) = (0, 0, 1, 1);
    let (begun, cpu, written) = (Instant::now(), cpu_ms(), written_bytes());
    for first in (0..puts).step_by(usize::try_from(clients)?) {
        let mut batch = LogBatch { must_sync: true, ..LogBatch::default() };
        for number in first..puts.min(first + clients) {
            let entry = entry(number, puts);
            view.position.index += 1;
            let payload = Bytes::from(entry.encode_to_vec());
            batch
                .records
                .push(LogRecord { index: view.position.index, term: 1, payload });
            view.machine.apply(&entry);
        }
        batch.hard_state = Some(Bytes::from(view.position.index.to_le_bytes().to_vec()));
        let bytes = storage.log.append(&batch) as u64;
        logged += bytes;
        since += bytes;
        if since >= storage.checkpoint_log_bytes {
            since = 0;
            offered = view.position.index;
            checkpointer.offer(view.clone());
        }
        while let Ok(index) = durable.try_recv() {
            // Cut the log below the older of the last two checkpoints, like `Replica::durable`.
            storage.log.cut(std::mem::replace(&mut saved, index));
        }
    }
    let rate = puts as f64 / begun.elapsed().as_secs_f64();
    while saved < offered {
        saved = durable.recv_timeout(PATIENCE)?;
    }
    let payload = (KEY_BYTES + VALUE_BYTES) as u64 * puts;
    let written = written_bytes() - written;
    writeln!(
        std::io::stdout(),
        "{clients:4} clients: {:.0} bytes written per put of {} bytes ({:.2} times; its log \
         entry {:.0}), {rate:.0} put/s, {:.1} us CPU per put, {:.0} MiB on disk",
        written as f64 / puts as f64,
        KEY_BYTES + VALUE_BYTES,
        written as f64 / payload as f64,
        logged as f64 / puts as f64,
        (cpu_ms() - cpu) * 1000.0 / puts as f64,
        mib(size_of(&dir)?),
    )?;
    drop((checkpointer, storage.log, storage.lock));
    fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Writes a checkpoint of `keys` keys, and a difference of a hundredth of them.
fn fill(keys: u64) -> Outcome {
    let dir = dir("keys");
    let _ = fs::remove_dir_all(&dir);
    let (mut storage, _) = storage::open(&dir, &identity(), &Arc::default(), &metrics())?;
    let mut view = View::default();
    let DataIdentity { cluster_id, member_id, .. } = identity();
    view.machine.members.cluster_id = cluster_id;
    let member = Member { id: member_id.0, ..Member::default() };
    view.machine.members.by_id.insert(member_id, member);
    for number in 0..keys {
        view.machine.apply(&entry(number, keys));
    }
    view.position.index = keys;
    let state = resident_mib("VmRSS:");
    let (begun, cpu, written) = (Instant::now(), cpu_ms(), written_bytes());
    storage.checkpoint.write(None, &view)?;
    writeln!(
        std::io::stdout(),
        "whole checkpoint of {keys} keys: {:.0} ms ({:.0} ms CPU), {:.0} MiB written, {:.0} MiB \
         on disk, memory {:.0} MiB over the state's {state:.0}",
        begun.elapsed().as_millis(),
        cpu_ms() - cpu,
        mib(written_bytes() - written),
        mib(size_of(&dir)?),
        resident_mib("VmHWM:") - state,
    )?;
    let since = view.clone();
    for number in 0..keys / 20 {
        view.machine.apply(&entry(number, keys));
    }
    view.position.index += keys / 20;
    let (begun, cpu, written) = (Instant::now(), cpu_ms(), written_bytes());
    storage.checkpoint.write(Some(&since), &view)?;
    writeln!(
        std::io::stdout(),
        "difference of {} puts: {:.0} ms ({:.0} ms CPU), {:.1} MiB written, memory at most {:.0} MiB",
        keys / 20,
        begun.elapsed().as_millis(),
        cpu_ms() - cpu,
        mib(written_bytes() - written),
        resident_mib("VmHWM:"),
    )?;
    Ok(())
}

/// Opens the data of [`fill`], as a restart does.
fn open(keys: u64) -> Outcome {
    let before = resident_mib("VmRSS:");
    let (begun, cpu) = (Instant::now(), cpu_ms());
    let (storage, recovered) =
        storage::open(&dir("keys"), &identity(), &Arc::default(), &metrics())?;
    let index = recovered
        .checkpoint
        .as_ref()
        .map_or(0, |view| view.position.index);
    writeln!(
        std::io::stdout(),
        "restart with {keys} keys: {} ms ({:.0} ms CPU) to entry {index}, memory {:.0} MiB, at \
         most {:.0}",
        begun.elapsed().as_millis(),
        cpu_ms() - cpu,
        resident_mib("VmRSS:") - before,
        resident_mib("VmHWM:") - before,
    )?;
    drop(storage);
    Ok(())
}

fn size_of(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            size_of(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn written_bytes() -> u64 {
    process::written_bytes(id())
}

fn resident_mib(label: &str) -> f64 {
    mib(process::status_bytes(id(), label))
}

/// Returns the CPU time of all threads of this process in milliseconds.
fn cpu_ms() -> f64 {
    process::cpu(id()).as_secs_f64() * 1000.0
}
