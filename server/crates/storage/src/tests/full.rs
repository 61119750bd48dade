//! Tests full disks with small in-memory file systems. A full log disk uses up the ballast, and a full checkpoint disk only
//! causes retries. Where mounting is impossible, the tests print a message and pass. `refusals` tests a full log disk without
//! mounting.

use std::{
    fs,
    io::{self, Write},
    sync::{atomic::Ordering::Relaxed, mpsc},
    thread,
    time::Duration,
};

use rustix::io::Errno;
use witan_config::SpaceConfig;

use super::{
    failing_calls::failing,
    workload::{Driven, Expected, receive},
    *,
};
use crate::{
    SnapshotError, SnapshotReceiver, SpaceLevel, SpaceMonitor, checkpoint::LINKS_BEFORE_REWRITE,
    ledger::measure,
};

const BALLAST_BYTES: u64 = 200_000;

/// Environment variable that turns the test function into the writer.
const CHILD: &str = "WITAN_TEST_FULL";

/// A small in-memory file system, unmounted on drop.
struct Small(PathBuf);

impl Small {
    /// Mounts a file system of `mib` MiB. Prints a message and returns `None` if this is impossible.
    fn mount(dir: &Path, mib: u32) -> Option<Self> {
        fs::create_dir_all(dir).unwrap();
        let mounted = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(dir));
        if !mounted {
            let what = "cannot mount a file system: skipping a test of a full disk";
            writeln!(std::io::stderr(), "{what}").unwrap();
        }
        mounted.then(|| Self(dir.to_owned()))
    }

    fn grow(&self, mib: u32) {
        let size = format!("remount,size={mib}m");
        assert!(run(Command::new("mount").args(["-o", &size]).arg(&self.0)));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0));
    }
}

#[test]
fn a_write_without_space_deletes_the_ballast_and_is_retried() {
    let dir = TempDir::new();
    let member = dir.data().join("member");
    let ballast = member.join("ballast");
    fs::create_dir_all(&member).unwrap();
    let file = fs::File::create(&ballast).unwrap();
    file.set_len(BALLAST_BYTES).unwrap();
    // More than the reserve is free, but too little to end the level `Low`.
    let free = measure(&member).free;
    let wanted = SpaceConfig {
        reserve_bytes: Some(free / 10 * 9),
        ballast_bytes: Some(BALLAST_BYTES),
    };
    let mut space = SpaceMonitor::open(&dir.data(), wanted);
    let (mut storage, _) = open_with(&dir.data(), &ME, space.ledger()).unwrap();
    assert_eq!(space.update(), SpaceLevel::Enough);
    storage.log.append(&batch(1..10, 1));
    space.written(0, 0);

    // Fill the disk before the next measurement.
    disk::fill(&dir.data(), &ballast);
    storage.log.append(&batch(10..20, 1));
    assert!(!ballast.exists(), "the ballast is deleted");
    space.written(0, 0);
    assert_eq!(space.level(), SpaceLevel::Low, "writes are refused");
    drop(storage);
    let (_storage, recovered) = reopen(&dir);
    assert_eq!(indexes(&recovered), (1..20).collect::<Vec<_>>());
}

#[test]
fn a_base_that_does_not_fit_is_not_begun_and_the_chain_continues() {
    let dir = TempDir::new();
    let Some(_disk) = Small::mount(&dir.data(), 24) else {
        return;
    };
    let large = |index| view(index, 12 << 20);
    let (mut storage, _) = reopen(&dir);
    let checkpoint = &mut storage.checkpoint;
    checkpoint.write(None, &large(1)).unwrap();
    let before = dir.runs();
    let error = checkpoint.write(None, &large(2)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(dir.runs(), before);
    // Write more differences than a chain can have if there is space for a base.
    let mut last = large(1);
    for index in 2..60 {
        let mut next = last.clone();
        next.position.index = index;
        checkpoint.write(Some(&last), &next).unwrap();
        last = next;
        let first_new = dir.runs().difference(&before).next().copied();
        assert_eq!(first_new, before.last().map(|newest| newest + 1));
    }
    drop(storage);
    let (_storage, recovered) = reopen(&dir);
    same(recovered.checkpoint.as_ref(), &last);
}

/// A quota can be used up even though the file system has free space.
#[test]
fn a_base_that_exceeds_a_quota_does_not_stop_the_checkpoints() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    let checkpoint = &mut storage.checkpoint;
    let mut last = view(1, 10);
    checkpoint.write(None, &last).unwrap();
    let links = || manifest(&dir).chain.links.len();
    let mut longest = 0;
    while links() > longest {
        longest = links();
        let mut next = last.clone();
        next.position.index += 1;
        let write = || checkpoint.write(Some(&last), &next);
        // The first call of a base, which replaces a long chain, fails.
        if longest == LINKS_BEFORE_REWRITE {
            let (written, _) = failing(0, Errno::DQUOT, write);
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        }
        checkpoint.write(Some(&last), &next).unwrap();
        last = next;
    }
    assert_eq!((longest, links()), (LINKS_BEFORE_REWRITE + 1, 1));
}

#[test]
fn a_rewrite_without_space_fails_and_the_chain_continues() {
    let dir = TempDir::new();
    let Some(_disk) = Small::mount(&dir.data(), 24) else {
        return;
    };
    let (mut storage, _) = reopen(&dir);
    let base = view(1, 12 << 20);
    storage.checkpoint.write(None, &base).unwrap();
    let mut next = base.clone();
    next.position.index = 2;
    let (checkpointer, durable) = start_checkpointer(storage.checkpoint, Some(base), &metrics());
    let (done, rewritten) = mpsc::sync_channel(1);
    checkpointer.rewrite(next.clone(), Box::new(move || done.send(()).unwrap()));
    assert_eq!(durable.recv_timeout(LONG), Ok(2));
    assert_eq!(rewritten.recv(), Err(mpsc::RecvError));
    assert!(checkpointer.healthy());
    drop((checkpointer, storage.log, storage.lock));
    let (_storage, recovered) = reopen(&dir);
    same(recovered.checkpoint.as_ref(), &next);
}

#[test]
fn a_previous_chain_continues_if_there_is_no_space_for_a_base() {
    let dir = TempDir::new();
    let Some(_disk) = Small::mount(&dir.data(), 24) else {
        return;
    };
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..9, 1));
    let base = view(1, 12 << 20);
    storage.checkpoint.write(None, &base).unwrap();
    let mut next = base.clone();
    next.position.index = 4;
    storage.checkpoint.write(Some(&base), &next).unwrap();
    let newest = *dir.runs().last().unwrap();
    drop(storage);
    flip_bit(&dir.run_path(newest), 3);
    let (storage, recovered) = reopen(&dir);
    assert!(storage.checkpoint.fell_back);
    same(recovered.checkpoint.as_ref(), &base);
    let (checkpointer, durable) = start_checkpointer(storage.checkpoint, Some(base), &metrics());
    assert_eq!(durable.recv_timeout(LONG), Ok(1));
    next.position.index = 8;
    checkpointer.offer(next.clone());
    assert_eq!(durable.recv_timeout(LONG), Ok(8));
    assert!(checkpointer.healthy());
    drop((checkpointer, storage.log, storage.lock));
    let (storage, recovered) = reopen(&dir);
    assert!(!storage.checkpoint.fell_back);
    same(recovered.checkpoint.as_ref(), &next);
}

#[test]
fn the_base_of_a_raise_takes_the_space_of_the_previous_checkpoint() {
    let dir = TempDir::new();
    let Some(_disk) = Small::mount(&dir.data(), 24) else {
        return;
    };
    let large = |index| view(index, 8 << 20);
    let (mut storage, _) = reopen(&dir);
    storage.checkpoint.write(None, &large(1)).unwrap();
    storage.checkpoint.write(None, &large(2)).unwrap();
    assert!(!manifest(&dir).before.is_empty());
    assert!(measure(&dir.data()).free < 8 << 20);
    let base = Some(large(2));
    let (checkpointer, durable) = start_checkpointer(storage.checkpoint, base, &metrics());
    let mut raised = large(3);
    raised.machine.members.raised_level = 2;
    checkpointer.offer(raised);
    assert_eq!(durable.recv_timeout(LONG), Ok(3));
    assert!(checkpointer.healthy());
    drop(checkpointer);
    assert_eq!(manifest(&dir).format.number, 5);
}

#[test]
fn the_ledger_has_the_size_of_the_checkpoint_that_was_read_published_or_installed() {
    let dir = TempDir::new();
    let ledger = Arc::<Ledger>::default();
    let (mut storage, _) = open_with(&dir.data(), &ME, &ledger).unwrap();
    assert_eq!(ledger.checkpoint_bytes.load(Relaxed), 0);
    let (first, second) = (view(1, 1 << 20), view(2, 10));
    storage.checkpoint.write(None, &first).unwrap();
    storage.checkpoint.write(Some(&first), &second).unwrap();
    let both = manifest(&dir).chain.bytes();
    assert!(both > 1 << 20);
    assert_eq!(ledger.checkpoint_bytes.load(Relaxed), both);
    drop(storage);

    let ledger = Arc::<Ledger>::default();
    let (mut storage, _) = open_with(&dir.data(), &ME, &ledger).unwrap();
    // A rewrite does not write the large record, which is outdated.
    let rewrite_bytes = || ledger.checkpoint_bytes.load(Relaxed);
    assert!((1..1 << 20).contains(&rewrite_bytes()));
    let third = view(3, 10);
    storage.checkpoint.write(Some(&second), &third).unwrap();
    assert!((1..1 << 20).contains(&rewrite_bytes()));
    let folder = storage.checkpoint.folder.clone();
    let received = receive(&SnapshotReceiver::new(folder.clone()), &view(90, 10)).unwrap();
    let _installed = crate::install::publish(&mut storage.log, &folder, received);
    assert!(manifest(&dir).chain.bytes() < both);
    assert_eq!(
        ledger.checkpoint_bytes.load(Relaxed),
        manifest(&dir).chain.bytes()
    );
}

#[test]
fn a_start_with_a_checkpoint_needs_no_free_space() {
    let dir = TempDir::new();
    let Some(_disk) = Small::mount(&dir.data(), 24) else {
        return;
    };
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..9, 1));
    storage.checkpoint.write(None, &view(8, 1 << 20)).unwrap();
    drop(storage);
    let mut filler = fs::File::create(dir.data().join("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    assert_eq!(measure(&dir.data()).free, 0);
    let (_storage, recovered) = reopen(&dir);
    same(recovered.checkpoint.as_ref(), &view(8, 1 << 20));
}

/// The run may also use the ballast's bytes, and frees its own bytes if it fails.
#[test]
fn a_retried_write_of_the_log_waits_for_the_run_in_progress() {
    let dir = TempDir::new();
    let ledger = Ledger::default();
    let run = ledger.begin_run(&dir.data(), 1).unwrap();
    let (made_room, waits) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            drop(ledger.make_room());
            made_room.send(()).unwrap();
        });
        assert!(waits.recv_timeout(Duration::from_millis(100)).is_err());
        drop(run);
        waits.recv().unwrap();
    });
}

#[test]
fn a_snapshot_that_does_not_fit_fails_and_the_member_continues() {
    let dir = TempDir::new();
    let Some(_disk) = Small::mount(&dir.data(), 32) else {
        return;
    };
    let mut driven = Driven::start(&dir.data());
    let before = driven.step();
    let error = driven.receive(&driven.ahead(250)).unwrap_err();
    let full = matches!(&error, SnapshotError::Io(e) if e.kind() == io::ErrorKind::StorageFull);
    assert!(full, "{error}");
    let mut last = before;
    for _ in 0..3 {
        last = driven.step();
    }
    drop(driven);
    let found = Expected::default().compare(&dir.data()).unwrap();
    assert_eq!(found.last, last);
}

#[test]
fn a_sync_that_fails_ends_the_process() {
    if let Some(data) = std::env::var_os(CHILD) {
        witan_base::panics::install_hook();
        let mut driven = Driven::start(Path::new(&data));
        for number in 0.. {
            disk::BROKEN.store(number == 5, std::sync::atomic::Ordering::SeqCst);
            writeln!(std::io::stdout(), "ack {}", driven.step()).unwrap();
        }
    }
    let dir = TempDir::new();
    let test = "full::a_sync_that_fails_ends_the_process";
    let mut command = child(test, CHILD, dir.data().as_os_str());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let output = start(&mut command).unwrap().wait_with_output().unwrap();
    let output_text = String::from_utf8(output.stdout).unwrap();
    let acknowledged = output_text
        .lines()
        .filter_map(|l| l.strip_prefix("ack "))
        .next_back();
    let acknowledged: u64 = acknowledged.unwrap().parse().unwrap();
    assert_eq!(output.status.code(), Some(29));
    let found = Expected::default().compare(&dir.data()).unwrap();
    assert!(found.last >= acknowledged, "{found:?}");
}

#[test]
fn a_read_only_directory_is_refused() {
    let dir = TempDir::new();
    let Some(disk) = Small::mount(&dir.data(), 24) else {
        return;
    };
    let mut driven = Driven::start(&dir.data());
    let last = driven.step();
    drop(driven);
    assert!(run(Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&disk.0)));
    let error = open(&dir.data(), &ME).expect_err("nothing can be written");
    assert_eq!(error.exit_code(), 24, "{error}");
    assert!(run(Command::new("mount")
        .args(["-o", "remount,rw"])
        .arg(&disk.0)));
    let found = Expected::default().compare(&dir.data()).unwrap();
    assert_eq!(found.last, last);
}

#[test]
fn a_checkpoint_waits_until_a_full_disk_has_space() {
    let dir = TempDir::new();
    let Some(disk) = Small::mount(&dir.checkpoint(), 6) else {
        return;
    };
    let mut driven = Driven::start(&dir.data());
    while !driven.checkpoints_fail() {
        driven.step();
    }
    // The log still accepts writes.
    let mut last = 0;
    for _ in 0..10 {
        last = driven.step();
    }
    disk.grow(200);
    driven.settle();
    assert!(!driven.checkpoints_fail());
    drop(driven);
    let found = Expected::default().compare(&dir.data()).unwrap();
    assert!(
        found.last == last && found.checkpoint > 1 && !found.fell_back,
        "{found:?}"
    );
}
