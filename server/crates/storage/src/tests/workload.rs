//! A member without a network: a real state machine whose entries depend only on their indexes. It writes entries, takes
//! checkpoints and cuts its log as the server does. The expected state therefore follows from the last index.

use std::io::Write as _;

use prost::Message as _;
pub(super) use witan_machine::values::test_support::records;
use witan_machine::{
    command::{Entry, Stamp},
    kv,
};

use super::*;
use crate::{
    Checkpointer, DirectoryLock, IncomingSnapshot, RaftLog, ReceivedSnapshot, SnapshotError,
    SnapshotId, SnapshotReceiver, install,
};

/// Log size in bytes after which a checkpoint is taken: about a dozen small values and one large value.
const CHECKPOINT_BYTES: usize = 4 << 20;
const NAMES: u64 = 40;
/// Size in bytes of the largest request of a v2 client.
const LARGEST_BYTES: usize = 10 << 20;

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Returns a generator of pseudo-random numbers, which are below the generator's argument.
pub(super) fn chances(seed: u64) -> impl FnMut(u64) -> u64 + Send {
    let mut state = seed;
    move |below| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(state) % below
    }
}

/// Returns the entry at an index: a write or deletion of a random key, with a value of up to [`LARGEST_BYTES`] bytes.
pub(super) fn entry(index: u64) -> Entry {
    let size = match index {
        _ if index % 97 == 50 => LARGEST_BYTES,
        _ if index % 23 == 11 => 3 << 19,
        _ if index % 5 == 2 => 28 << 10,
        _ => 300,
    };
    let value = Bytes::from(mix(index).to_le_bytes().repeat(size / 8));
    let name = mix(index ^ 0x55) % NAMES;
    let path = Bytes::from(format!("/dir{}/{name}", name % 3));
    let command = match index % 4 {
        _ if size == LARGEST_BYTES || index.is_multiple_of(4) => {
            let set = witan_tree::Set { path, value, ..witan_tree::Set::default() };
            witan_tree::TreeOperation::Set(set).into()
        }
        1 if index.is_multiple_of(3) => {
            let delete = witan_tree::Delete { path, ..witan_tree::Delete::default() };
            witan_tree::TreeOperation::Delete(delete).into()
        }
        _ => {
            let key = format!("key-{name}").into();
            kv::Put { key, value, ..kv::Put::default() }.into()
        }
    };
    Entry {
        stamp: Some(Stamp {
            now_ns: 1_700_000_000_000_000_000 + i64::try_from(index).unwrap(),
            member: ME.member_id.0,
            ticket: index,
            ..Stamp::default()
        }),
        command: Some(command),
        caller: None,
    }
}

pub(super) fn first() -> View {
    let member = Member { id: ME.member_id.0, ..Member::default() };
    witan_replica::replica::genesis(ME.cluster_id, vec![member])
}

pub(super) fn apply(view: &mut View, entry: &Entry) {
    view.machine.apply(entry);
    view.position.index += 1;
}

pub(super) struct Driven {
    log: RaftLog,
    checkpointer: Checkpointer,
    durable: Receiver<u64>,
    _hold: DirectoryLock,
    view: View,
    saved: u64,
    offered: u64,
    since: usize,
}

impl Driven {
    pub(super) fn start(data: &Path) -> Self {
        Self::start_and_keep(data, Duration::ZERO)
    }

    /// Starts a member that keeps outdated parts of its directory for `kept_for`.
    pub(super) fn start_and_keep(data: &Path, kept_for: Duration) -> Self {
        let (mut storage, recovered) = open(data, &ME).unwrap();
        storage.log.outdated.kept_for = kept_for;
        storage.checkpoint.outdated.kept_for = kept_for;
        let base = recovered.checkpoint.unwrap_or_else(|| {
            storage.checkpoint.write(None, &first()).unwrap();
            first()
        });
        let mut view = base.clone();
        for record in recovered.records {
            apply(&mut view, &Entry::decode(record.payload).unwrap());
        }
        let saved = base.position.index;
        let (checkpointer, durable) =
            start_checkpointer(storage.checkpoint, Some(base), &metrics());
        Self {
            log: storage.log,
            checkpointer,
            durable,
            _hold: storage.lock,
            view,
            saved,
            offered: saved,
            since: 0,
        }
    }

    /// Waits until the last offered state is durable, and cuts the log as after each checkpoint.
    pub(super) fn settle(&mut self) {
        while self.saved < self.offered {
            let index = self.durable.recv().expect("the checkpoint thread runs");
            self.durable(index);
        }
    }

    pub(super) fn checkpoints_fail(&self) -> bool {
        !self.checkpointer.healthy()
    }

    fn durable(&mut self, index: u64) {
        // After a snapshot, an earlier checkpoint may still be reported.
        if index > self.saved {
            self.log.cut(std::mem::replace(&mut self.saved, index));
        }
    }

    /// Returns the state after `by` more entries, as another member may have it.
    pub(super) fn ahead(&self, by: u64) -> View {
        let mut view = self.view.clone();
        for _ in 0..by {
            let next = entry(view.position.index + 1);
            apply(&mut view, &next);
        }
        view
    }

    pub(super) fn receiver(&self) -> SnapshotReceiver {
        self.checkpointer.receiver()
    }

    pub(super) fn begin(&self, view: &View) -> Result<IncomingSnapshot, SnapshotError> {
        self.receiver().begin(id(view), 0)
    }

    pub(super) fn receive(&self, view: &View) -> Result<ReceivedSnapshot, SnapshotError> {
        receive(&self.receiver(), view)
    }

    /// Installs a received snapshot, as a turn of the replica does.
    pub(super) fn install(&mut self, received: ReceivedSnapshot) {
        let view = received.view.clone();
        let replaced = std::mem::replace(&mut self.view, view);
        install(&mut self.log, &self.checkpointer, received, replaced);
        self.saved = self.view.position.index;
        self.offered = self.saved;
        self.since = 0;
    }

    pub(super) fn offer(&mut self) {
        self.offered = self.view.position.index;
        self.checkpointer.offer(self.view.clone());
    }

    /// Appends some entries and returns the index of the last one, which is acknowledged. Offers a checkpoint if the log has
    /// grown enough.
    pub(super) fn step(&mut self) -> u64 {
        let mut batch = LogBatch { must_sync: true, ..LogBatch::default() };
        for _ in 0..1 + self.view.position.index % 4 {
            let index = self.view.position.index + 1;
            let entry = entry(index);
            apply(&mut self.view, &entry);
            batch
                .records
                .push(LogRecord { index, term: 1, payload: entry.encode_to_vec().into() });
        }
        let index = self.view.position.index;
        batch.hard_state = Some(Bytes::from(index.to_le_bytes().to_vec()));
        self.since += self.log.append(&batch);
        if self.since > CHECKPOINT_BYTES {
            self.since = 0;
            self.offered = index;
            self.checkpointer.offer(self.view.clone());
        }
        while let Ok(index) = self.durable.try_recv() {
            self.durable(index);
        }
        index
    }
}

/// Writes entries and prints each acknowledged one until the process is killed.
pub(super) fn run_steps_until_killed(data: &Path) -> ! {
    let mut driven = Driven::start(data);
    loop {
        writeln!(std::io::stdout(), "ack {}", driven.step()).unwrap();
    }
}

/// Receives a state as another member's snapshot.
pub(super) fn receive(
    receiver: &SnapshotReceiver,
    view: &View,
) -> Result<ReceivedSnapshot, SnapshotError> {
    let mut incoming = receiver.begin(id(view), 0)?;
    for (key, value) in records(view) {
        incoming.add(key, value)?;
    }
    let totals = incoming.totals();
    incoming.finish(totals, &|| true)
}

/// Receives and installs a state as another member's snapshot, without the checkpoint thread. Returns the installed state.
pub(super) fn receive_and_install(storage: &mut Storage, view: &View) -> View {
    let Storage { log, checkpoint, .. } = storage;
    let folder = checkpoint.folder.clone();
    let received = receive(&SnapshotReceiver::new(folder.clone()), view).unwrap();
    let view = received.view.clone();
    let (installed, _) = install::publish(log, &folder, received);
    let adopted = checkpoint.adopt(installed.files.chain(), installed.installs);
    adopted.unwrap();
    view
}

pub(super) fn id(view: &View) -> SnapshotId {
    SnapshotId { index: view.position.index, term: view.position.term }
}

#[derive(Default)]
pub(super) struct Expected {
    view: Option<View>,
}

/// The result of a startup.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) last: u64,
    pub(super) checkpoint: u64,
    pub(super) fell_back: bool,
}

impl Expected {
    /// Opens a directory and compares its contents with the state that follows from its last index. Then appends one entry.
    pub(super) fn compare(&mut self, data: &Path) -> Result<Found, OpenError> {
        self.compare_cached(data, &unlimited())
    }

    /// Like [`Self::compare`], but with the values in `cache`.
    pub(super) fn compare_cached(
        &mut self,
        data: &Path,
        cache: &Arc<BlockCache>,
    ) -> Result<Found, OpenError> {
        let open = || crate::open(data, &ME, &Arc::default(), cache, &metrics());
        let (mut storage, recovered) = while_unlocked(open)?;
        let mut view = recovered.checkpoint.unwrap_or_else(first);
        let checkpoint = view.position.index;
        for record in &recovered.records {
            assert_eq!(record.index, view.position.index + 1);
            assert!(
                record.payload == entry(record.index).encode_to_vec(),
                "another entry"
            );
            apply(&mut view, &Entry::decode(record.payload.clone()).unwrap());
        }
        let last = view.position.index;
        let known = self
            .view
            .take()
            .filter(|known| known.position.index <= last);
        let mut known = known.unwrap_or_else(first);
        while known.position.index < last {
            let index = known.position.index + 1;
            apply(&mut known, &entry(index));
        }
        assert!(records(&view) == records(&known), "another state at {last}");
        self.view = Some(known);
        // The log accepts further entries.
        storage.log.append(&LogBatch {
            records: vec![record(last + 1, 2, 100)],
            hard_state: None,
            must_sync: true,
        });
        Ok(Found { last, checkpoint, fell_back: storage.checkpoint.fell_back })
    }
}
