//! Tests directories that are refused. Each refusal names its file, and its exit code shows the remedy.

use std::{fs, io::Write, process::Stdio, thread, time::Duration};

use witan_machine::record;

use super::{workload::records, *};
use crate::{manifest::Chain, offline};

/// Creates a directory with the entries 2 to 8 and a checkpoint at `index`.
fn with_checkpoint(index: u64) -> (TempDir, Storage) {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..9, 1));
    storage.checkpoint.write(None, &view(index, 10)).unwrap();
    (dir, storage)
}

/// Returns the error of opening a directory. The error must name `file` in the member's directory.
fn refused(dir: &TempDir, who: &DataIdentity, file: &str) -> OpenError {
    let error = open_once(&dir.data(), who).expect_err("this must not open");
    let path = dir.data().join("member").join(file);
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    error
}

#[test]
fn a_second_process_learns_the_id_of_the_first() {
    let dir = TempDir::new();
    let (storage, _) = reopen(&dir);
    let error = refused(&dir, &ME, "LOCK");
    assert_eq!(error.exit_code(), 20);
    let pid = std::process::id();
    assert!(
        error.to_string().contains(&format!("process {pid}")),
        "{error}"
    );
    drop(storage);
    fs::write(dir.data().join("member/LOCK"), "nonsense").unwrap();
    reopen(&dir);
}

#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let dir = TempDir::new();
    drop(reopen(&dir));
    let (lock, other) = (dir.data().join("member/LOCK"), dir.0.join("other"));
    fs::remove_file(&lock).unwrap();
    fs::write(&other, "not a lock").unwrap();
    std::os::unix::fs::symlink(&other, &lock).unwrap();
    assert_eq!(refused(&dir, &ME, "LOCK").exit_code(), 26);
    assert_eq!(fs::read(&other).unwrap(), b"not a lock");
}

#[test]
fn a_directory_of_etcd_is_refused_before_anything_is_written() {
    for name in ["snap", "wal"] {
        let dir = TempDir::new();
        let member = dir.data().join("member");
        fs::create_dir_all(member.join(name)).unwrap();
        fs::write(
            member
                .join(name)
                .join("0000000000000000-0000000000000000.wal"),
            "",
        )
        .unwrap();
        assert_eq!(refused(&dir, &ME, name).exit_code(), 37);
        let found = fs::read_dir(&member).unwrap();
        let found: Vec<_> = found.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(found, [name]);
    }
    // etcd has used this directory after Witan.
    let dir = TempDir::new();
    drop(reopen(&dir));
    fs::create_dir(dir.data().join("member/wal")).unwrap();
    reopen(&dir);
}

#[test]
fn a_log_that_a_starting_child_still_holds_is_awaited() {
    let dir = TempDir::new();
    drop(reopen(&dir));
    let held = fs::File::open(dir.data().join("member/log/LOCK")).unwrap();
    held.lock().unwrap();
    thread::scope(|scope| {
        let opening = scope.spawn(|| drop(reopen(&dir)));
        thread::park_timeout(Duration::from_millis(50));
        assert!(!opening.is_finished(), "opened while the log is locked");
        drop(held);
    });
}

/// Field 1000 of a message. No release writes it.
const LATER_FIELD: [u8; 3] = [0xc0, 0x3e, 1];

/// Changes the key or the value of a record.
type ChangeRecord<'a> = dyn Fn(&mut Vec<u8>, &mut Vec<u8>) + 'a;

/// Returns a function that adds a field to the records of this section.
fn add_field(section: u8) -> impl Fn(&mut Vec<u8>, &mut Vec<u8>) {
    move |key, value| {
        if key[0] == section {
            value.extend(LATER_FIELD);
        }
    }
}

/// Publishes a base whose records have passed through `change`.
fn write_changed(storage: &mut Storage, view: &View, change: &ChangeRecord<'_>) {
    let mut items = Vec::new();
    for (mut key, mut value) in records(view) {
        change(&mut key, &mut value);
        items.push((key, Some(value)));
    }
    let folder = storage.checkpoint.folder.clone();
    let (run, _) = folder.write_run(&mut items, false).unwrap();
    crate::files::sync_dir(&folder.dir).unwrap();
    let chain = Chain { links: vec![vec![run]] };
    let published = storage.checkpoint.publish(chain, folder.identity.format());
    published.unwrap();
}

/// Fails unless startup and offline commands refuse the directory as one from a later release and leave every file unchanged.
fn check_left_to_a_later_release(dir: &TempDir, what: &str) {
    let before = contents(&dir.data());
    for _ in 0..2 {
        let error = open(&dir.data(), &ME).expect_err(what);
        let read = while_unlocked(|| offline::read(&dir.data(), &Arc::default(), &metrics()));
        for error in [error, read.expect_err(what)] {
            assert_eq!(error.exit_code(), 21, "{what}: {error}");
            let text = error.to_string();
            assert!(
                text.contains("Start the release that wrote it"),
                "{what}: {text}"
            );
            assert!(text.contains(what), "{what}: {text}");
        }
        assert!(
            contents(&dir.data()) == before,
            "{what}: a file has changed"
        );
    }
}

/// The previous checkpoint and the log would restore the state, but without the parts that the later release added.
#[test]
fn a_checkpoint_of_a_later_release_is_refused_and_unchanged() {
    let section = |key: &mut Vec<u8>, _: &mut Vec<u8>| {
        if key[0] == record::MEMBER {
            key[0] = b'n';
        }
    };
    let cases: [(&str, &ChangeRecord<'_>); 3] = [
        ("members: unknown fields", &add_field(record::MEMBER)),
        ("position: unknown fields", &add_field(record::VIEW)),
        ("a record has the unknown section 110", &section),
    ];
    for (what, change) in cases {
        let (dir, mut storage) = with_checkpoint(4);
        write_changed(&mut storage, &view(6, 10), change);
        drop(storage);
        check_left_to_a_later_release(&dir, what);
    }
}

/// Only the release that wrote the previous checkpoint can restore the state without the damaged checkpoint.
#[test]
fn a_previous_checkpoint_of_a_later_release_is_refused_if_the_newest_is_damaged() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..9, 1));
    write_changed(&mut storage, &view(4, 10), &add_field(record::MEMBER));
    storage.checkpoint.write(None, &view(6, 10)).unwrap();
    drop(storage);
    fs::write(dir.run_path(2), "damaged").unwrap();
    check_left_to_a_later_release(&dir, "members: unknown fields");
}

#[test]
fn damage_that_looks_like_a_later_release_is_damage() {
    let (dir, mut storage) = with_checkpoint(4);
    write_changed(&mut storage, &view(6, 10), &add_field(record::MEMBER));
    drop(storage);
    let run = dir.run_path(2);
    let mut bytes = fs::read(&run).unwrap();
    // The position is the last record.
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&run, bytes).unwrap();
    let (storage, recovered) = reopen(&dir);
    assert!(storage.checkpoint.fell_back);
    same(recovered.checkpoint.as_ref(), &view(4, 10));
}

#[test]
fn another_members_directory_is_refused() {
    let dir = TempDir::new();
    drop(reopen(&dir));
    for other in [
        DataIdentity { member_id: MemberId(7), ..ME },
        DataIdentity { cluster_id: 7, ..ME },
    ] {
        assert_eq!(refused(&dir, &other, "identity").exit_code(), 22);
    }
    reopen(&dir);
}

#[test]
fn a_lost_log_is_refused() {
    let dir = TempDir::new();
    drop(reopen(&dir));
    fs::remove_dir_all(dir.data().join("member/log")).unwrap();
    assert_eq!(refused(&dir, &ME, "log").exit_code(), 27);
}

#[test]
fn a_log_that_ends_before_the_checkpoint_is_refused() {
    let (dir, storage) = with_checkpoint(9);
    drop(storage);
    assert_eq!(refused(&dir, &ME, "log").exit_code(), 27);
}

#[test]
fn a_lost_checkpoint_is_refused() {
    let (dir, mut storage) = with_checkpoint(8);
    storage.log.cut(8);
    drop(storage);
    let checkpoints = dir.checkpoint();
    fs::rename(checkpoints.join("00000001.run"), dir.0.join("away")).unwrap();
    assert_eq!(refused(&dir, &ME, "checkpoint/00000001").exit_code(), 28);
    fs::remove_file(checkpoints.join("current.00000001")).unwrap();
    fs::write(checkpoints.join("current"), "nonsense").unwrap();
    assert_eq!(refused(&dir, &ME, "checkpoint/current").exit_code(), 28);
    fs::remove_file(checkpoints.join("current")).unwrap();
    assert_eq!(refused(&dir, &ME, "checkpoint").exit_code(), 28);
}

#[test]
fn an_older_checkpoint_than_the_cut_is_refused() {
    let (dir, mut storage) = with_checkpoint(4);
    storage.log.cut(7);
    drop(storage);
    assert_eq!(refused(&dir, &ME, "checkpoint").exit_code(), 28);
}

#[test]
fn an_unwritable_directory_is_reported() {
    // Even root cannot create a directory in /sys.
    let error = open(Path::new("/sys/witan-test"), &ME).expect_err("/sys accepts no directories");
    assert_eq!(error.exit_code(), 24, "{error}");
    let dir = TempDir::new();
    fs::write(dir.data(), "a file").unwrap();
    let error = open(&dir.data(), &ME).expect_err("a file at the path");
    assert_eq!(error.exit_code(), 26, "{error}");
}

/// Environment variable that turns a test function into the child process.
const CHILD: &str = "WITAN_TEST_FULL_DISK";

/// Returns a command with a file size limit of `blocks` blocks. The command ignores the limit's signal, so that writes fail as
/// on a full disk.
fn limited(command: &Command, blocks: u32) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    shell
        .args(["-c", &script, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell.envs(
        command
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    shell
}

#[test]
fn a_full_disk_ends_the_process_and_loses_nothing() {
    if let Some(data) = std::env::var_os(CHILD) {
        let (mut storage, recovered) = match open(Path::new(&data), &ME) {
            Ok(opened) => opened,
            Err(error) => std::process::exit(error.exit_code()),
        };
        let mut next = recovered
            .records
            .last()
            .map_or(2, |record| record.index + 1);
        loop {
            storage.log.append(&large(next, 10_000));
            writeln!(std::io::stdout(), "ack {next}").unwrap();
            next += 1;
        }
    }
    let dir = TempDir::new();
    let test = "refusals::a_full_disk_ends_the_process_and_loses_nothing";
    let command = child(test, CHILD, dir.data().as_os_str());
    // The limits are in 512-byte blocks. At first, hundreds of entries fit, then none. Startup succeeds, so that space can be
    // freed, but the first write ends the process.
    for (blocks, code) in [(6000, 29), (6000, 29), (0, 29)] {
        let mut limited = limited(&command, blocks);
        limited.stdout(Stdio::piped()).stderr(Stdio::null());
        let output = start(&mut limited).unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{blocks} blocks");
        let output = String::from_utf8(output.stdout).unwrap();
        let last = output
            .lines()
            .filter_map(|l| l.strip_prefix("ack ")?.parse().ok())
            .next_back();
        let (_, recovered) = reopen(&dir);
        let found = indexes(&recovered);
        assert_eq!(found, (2..found.len() as u64 + 2).collect::<Vec<_>>());
        if let Some(last) = last {
            assert!(
                found.contains(&last),
                "acknowledged entry {last} of {}",
                found.len()
            );
        }
    }
    assert!(reopen(&dir).1.records.len() > 100);
}
