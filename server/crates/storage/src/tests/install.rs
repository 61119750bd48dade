//! Installs received snapshots. Tests the state after a crash at each step, and that the replica's thread and the checkpoint
//! thread do not wait for each other.

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
};

use super::{
    disk::Disk,
    workload::{Driven, Expected, chances, receive},
    *,
};
use crate::{
    Checkpointer, DirectoryLock, RaftLog, ReceivedSnapshot,
    folder::copies,
    install,
    manifest::{CURRENT, Install, Manifest, copy_name},
};

/// Number of random power cuts at each sync.
const CUTS_AT_ONE: usize = 2;
/// Number of entries by which the other member is ahead, so that its state fills several runs.
const AHEAD: u64 = 40;

#[test]
fn a_crash_at_any_step_leaves_the_old_state_or_the_new_one() {
    let dir = TempDir::new();
    let (cutting, acknowledged) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (cuts, known) = (Arc::new(Mutex::new(Vec::new())), acknowledged.clone());
    let mut chance = chances(11);
    let (noted, active) = (cuts.clone(), cutting.clone());
    let disk = Disk::watch(&dir.0, move |path, kept| {
        if !active.load(Ordering::SeqCst) {
            return;
        }
        for _ in 0..CUTS_AT_ONE {
            let after = TempDir::new();
            kept.cut(&after.0, &mut chance);
            let what = path.strip_prefix(kept.root()).unwrap().to_owned();
            let cut = (what, after, known.load(Ordering::SeqCst));
            noted.lock().unwrap().push(cut);
        }
    });
    let mut driven = Driven::start(&dir.data());
    let mut old = 0;
    while old < 30 {
        old = driven.step();
    }
    driven.offer();
    driven.settle();
    acknowledged.store(old, Ordering::SeqCst);
    let view = driven.ahead(AHEAD);
    let new = view.position.index;

    cutting.store(true, Ordering::SeqCst);
    let received = driven.receive(&view).unwrap();
    driven.install(received);
    acknowledged.store(new, Ordering::SeqCst);
    // The directory after a cut is consistent only if no other thread writes.
    wait_until_adopted(&dir);
    let end = driven.step();
    acknowledged.store(end, Ordering::SeqCst);
    driven.offer();
    driven.settle();
    cutting.store(false, Ordering::SeqCst);
    disk.forget();
    drop(driven);

    let cuts = std::mem::take(&mut *cuts.lock().unwrap());
    assert!(cuts.len() > 10 * CUTS_AT_ONE, "{} cuts", cuts.len());
    let mut seen = [0; 2];
    for (what, dir, acknowledged) in cuts {
        let found = Expected::default().compare(&dir.data());
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", what.display()));
        assert!(found.last >= acknowledged, "{}: {found:?}", what.display());
        assert!(
            found.last == old || found.last >= new,
            "{}: {found:?}",
            what.display()
        );
        assert!(!found.fell_back, "{}", what.display());
        seen[usize::from(found.last >= new)] += 1;
        // The member also starts again, with the entry that it wrote after the previous startup.
        let (storage, _) = reopen(&dir);
        assert_eq!(storage.log.last_index(), found.last + 1);
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

/// Waits until the newest manifest no longer contains an installation.
fn wait_until_adopted(dir: &TempDir) {
    let folder = dir.checkpoint();
    // Read a copy, because the member may replace the file.
    let aside = TempDir::new();
    let read = || {
        let newest = folder.join(copy_name(*copies(&folder).ok()?.first()?));
        let path = aside.0.join("current");
        fs::copy(newest, &path).ok()?;
        Manifest::read(&path).ok().flatten()
    };
    wait_until("the snapshot is not adopted", || {
        read().is_some_and(|manifest| manifest.install.is_none())
    });
}

struct Member {
    log: RaftLog,
    checkpointer: Checkpointer,
    _lock: DirectoryLock,
}

impl Member {
    /// Starts a member with a checkpoint at entry 2 and a log up to entry 9.
    fn start(dir: &TempDir, ledger: &Arc<Ledger>, durable: mpsc::SyncSender<u64>) -> Self {
        let (mut storage, _) = open_with(&dir.data(), &ME, ledger).unwrap();
        storage.checkpoint.write(None, &view(2, 10)).unwrap();
        storage.log.append(&batch(2..10, 1));
        let Storage { log, checkpoint, lock, .. } = storage;
        let checkpointer =
            Checkpointer::start(checkpoint, Some(view(2, 10)), metrics(), move |index| {
                // Ignore an error, because the test may have ended.
                let _ = durable.send(index);
            });
        Self { log, checkpointer: checkpointer.unwrap(), _lock: lock }
    }

    fn receive(&self, view: &View) -> ReceivedSnapshot {
        receive(&self.checkpointer.receiver(), view).unwrap()
    }
}

#[test]
fn installing_waits_for_no_reader_of_the_inbox() {
    let dir = TempDir::new();
    // Nobody reads the inbox, as happens during a turn of the replica's thread.
    let (inbox, unread) = mpsc::sync_channel(0);
    let mut member = Member::start(&dir, &Arc::default(), inbox);
    let later = view(100, 10);
    let received = member.receive(&later);
    member.checkpointer.offer(view(9, 10));
    // The checkpoint is durable, and the checkpoint thread is blocked, because nobody receives the index.
    wait_until("no checkpoint", || manifest(&dir).chain.runs().count() >= 2);
    let (done, installed) = mpsc::sync_channel(1);
    let mut received = received;
    received.on_installed(Box::new(move || done.send(()).unwrap()));
    let replica = std::thread::spawn(move || {
        install(
            &mut member.log,
            &member.checkpointer,
            received,
            View::default(),
        );
        member
    });
    installed.recv_timeout(LONG).expect("an installation");
    let mut member = replica.join().unwrap();
    assert_eq!(member.log.last_index(), 100);
    drop(unread);
    member.checkpointer.stop();
    drop(member);
    let (_, recovered) = reopen(&dir);
    same(recovered.checkpoint.as_ref(), &later);
}

#[test]
fn a_checkpoint_that_was_being_written_does_not_count() {
    let dir = TempDir::new();
    let ledger = Arc::new(Ledger::default());
    let (inbox, durable) = mpsc::sync_channel(64);
    let mut member = Member::start(&dir, &ledger, inbox);
    let later = view(100, 10);
    let received = member.receive(&later);
    // The checkpoint thread has started and is waiting for its turn to write.
    let turn = ledger.begin_run(&dir.data(), 1).unwrap();
    let (done, rewritten) = mpsc::sync_channel(1);
    let done = Box::new(move || done.send(()).unwrap());
    member.checkpointer.rewrite(view(9, 10), done);
    install(&mut member.log, &member.checkpointer, received, view(9, 10));
    drop(turn);
    rewritten
        .recv_timeout(LONG)
        .expect("the snapshot has no outdated records");
    assert!(durable.try_recv().is_err(), "no checkpoint is durable");
    assert!(member.checkpointer.healthy());
    // Later differences continue from the snapshot.
    let mut last = later.clone();
    last.position.index = 101;
    member.log.append(&batch(101..102, 1));
    member.checkpointer.offer(last.clone());
    assert_eq!(durable.recv_timeout(LONG), Ok(101));
    member.checkpointer.stop();
    drop(member);
    let (storage, recovered) = reopen(&dir);
    same(recovered.checkpoint.as_ref(), &last);
    assert_eq!(storage.log.last_index(), 101);
    assert!(!storage.checkpoint.fell_back);
}

#[test]
fn two_snapshots_in_a_row_leave_the_second() {
    let dir = TempDir::new();
    let ledger = Arc::new(Ledger::default());
    let (inbox, _durable) = mpsc::sync_channel(64);
    let mut member = Member::start(&dir, &ledger, inbox);
    for index in [100, 200] {
        let received = member.receive(&view(index, 10));
        install(&mut member.log, &member.checkpointer, received, view(9, 10));
    }
    member.log.append(&batch(201..210, 1));
    member.checkpointer.stop();
    drop(member);
    let (storage, recovered) = reopen(&dir);
    same(recovered.checkpoint.as_ref(), &view(200, 10));
    assert_eq!(indexes(&recovered), (201..210).collect::<Vec<_>>());
    drop(storage);
    assert_eq!(dir.runs().len(), 1, "the first runs are removed");
}

#[test]
fn the_log_may_have_reached_further_than_the_snapshot() {
    let dir = TempDir::new();
    let (inbox, _durable) = mpsc::sync_channel(64);
    let mut member = Member::start(&dir, &Arc::default(), inbox);
    // These entries come from a deposed leader.
    member.log.append(&batch(10..200, 1));
    let received = member.receive(&view(100, 10));
    install(&mut member.log, &member.checkpointer, received, view(9, 10));
    assert_eq!(member.log.last_index(), 100);
    member.log.append(&batch(101..103, 2));
    member.checkpointer.stop();
    drop(member);
    let (_, recovered) = reopen(&dir);
    assert_eq!(recovered.records, batch(101..103, 2).records);
    assert_eq!(recovered.hard_state, batch(101..103, 2).hard_state);
}

/// Publishes a snapshot at index 100 without restarting the log, which ends at `log_last`. Returns the content of the replaced
/// manifest.
fn publish_without_the_log(dir: &TempDir, log_last: u64) -> Vec<u8> {
    let (inbox, _durable) = mpsc::sync_channel(64);
    let member = Member::start(dir, &Arc::default(), inbox);
    let received = member.receive(&view(100, 10));
    let folder = &member.checkpointer.folder;
    let manifest = Manifest {
        install: Some(Install { index: 100, log_last }),
        ..Manifest::new(folder.identity.format(), received.files.chain())
    };
    let replaced = fs::read(dir.checkpoint().join(CURRENT)).unwrap();
    folder.install(&manifest).unwrap();
    drop(member);
    drop(received);
    replaced
}

#[test]
fn a_start_finishes_an_installation() {
    let dir = TempDir::new();
    publish_without_the_log(&dir, 9);
    for _ in 0..2 {
        let (storage, recovered) = reopen(&dir);
        same(recovered.checkpoint.as_ref(), &view(100, 10));
        assert_eq!(recovered.hard_state, batch(2..10, 1).hard_state);
        assert_eq!(
            (storage.log.last_index(), recovered.records.len()),
            (100, 0)
        );
    }
}

/// A process may be killed after it has replaced the manifest and before the new manifest is durable.
#[test]
fn an_installation_that_a_start_finishes_survives_a_power_cut() {
    let (dir, after) = (TempDir::new(), TempDir::new());
    let replaced = publish_without_the_log(&dir, 9);
    let folder = dir.checkpoint();
    let (current, staged) = (folder.join(CURRENT), folder.join("staged"));
    for number in copies(&folder).unwrap() {
        fs::remove_file(folder.join(copy_name(number))).unwrap();
    }
    fs::copy(&current, &staged).unwrap();
    fs::write(&current, replaced).unwrap();
    let left = after.0.clone();
    let disk = Disk::watch(&dir.0, move |path, kept| {
        // The log has restarted, and the manifest is being published again.
        if path.ends_with("current.tmp") {
            kept.cut(&left, &mut |_| 0);
        }
    });
    disk.keep_all();
    fs::rename(&staged, &current).unwrap();
    drop(reopen(&dir));
    disk.forget();
    let (_, recovered) = reopen(&after);
    same(recovered.checkpoint.as_ref(), &view(100, 10));
}

#[test]
fn a_truncated_log_does_not_count_as_an_installation() {
    let dir = TempDir::new();
    publish_without_the_log(&dir, 20);
    let error = open(&dir.data(), &ME).unwrap_err();
    assert_eq!(error.exit_code(), 27, "{error}");
    assert!(error.to_string().contains("ended at entry 20"), "{error}");
}
