//! Kills a process while it writes: all acknowledged entries must exist afterward. Also checks the size of an idle log.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
    sync::mpsc,
};

use super::*;
use crate::{Checkpointer, space::checkpoint_log_bytes};

/// Environment variable that turns a test function into the child process.
const CHILD: &str = "WITAN_TEST_KILLED";
const ROUNDS: u64 = 8;

/// Writes, checkpoints and cuts like the server, and prints the acknowledged entries.
fn write_until_killed(data: &Path) {
    let (mut storage, recovered) = open(data, &ME).unwrap();
    let base = recovered.checkpoint;
    let mut saved = base.as_ref().map_or(0, |view| view.position.index);
    let (send, durable) = mpsc::sync_channel(64);
    let checkpointer = Checkpointer::start(storage.checkpoint, base, metrics(), move |i| {
        send.send(i).unwrap()
    })
    .unwrap();
    let mut next = storage.log.last_index().max(1) + 1;
    loop {
        let size = (next * 7919 % 30_000) as usize;
        let records = (next..next + next % 5 + 1)
            .map(|index| record(index, 1, size))
            .collect();
        let hard_state = Some(Bytes::from(next.to_string()));
        storage
            .log
            .append(&LogBatch { records, hard_state, must_sync: true });
        next += next % 5 + 1;
        writeln!(std::io::stdout(), "ack {}", next - 1).unwrap();
        if next % 16 < 5 {
            checkpointer.offer(view(next - 1, size * 5));
        }
        while let Ok(index) = durable.try_recv() {
            storage.log.cut(std::mem::replace(&mut saved, index));
            writeln!(std::io::stdout(), "saved {index}").unwrap();
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    if let Some(data) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&data));
    }
    let dir = TempDir::new();
    let (mut acknowledged, mut saved) = (0, 0);
    for round in 0..ROUNDS {
        let test = "crash::a_killed_process_loses_nothing_it_acknowledged";
        let mut command = child(test, CHILD, dir.data().as_os_str());
        let mut process = start(command.stdout(Stdio::piped())).unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // Kill the process after a number of lines. Lines that it prints before it ends also count.
        for (count, line) in (1..).zip(lines) {
            let line = line.unwrap();
            let number = |prefix| {
                line.strip_prefix(prefix)
                    .and_then(|n| n.parse::<u64>().ok())
            };
            acknowledged = number("ack ").unwrap_or(acknowledged);
            saved = number("saved ").unwrap_or(saved);
            if count == 40 + round * 37 {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        let (_, recovered) = reopen(&dir);
        let found = indexes(&recovered);
        let index = recovered
            .checkpoint
            .as_ref()
            .map_or(1, |view| view.position.index);
        let last = index + found.len() as u64;
        assert_eq!(found, (index + 1..=last).collect::<Vec<_>>());
        assert!(
            last >= acknowledged,
            "round {round}: {last} of {acknowledged}"
        );
        for entry in &recovered.records {
            assert_eq!(*entry, record(entry.index, 1, entry.payload.len()));
        }
        assert!(index >= saved, "{saved} {index}");
        if let Some(checkpoint) = &recovered.checkpoint {
            let size = checkpoint.machine.members.by_id[&ME.member_id].name.len();
            same(
                Some(checkpoint),
                &view(index, size - index.to_string().len()),
            );
        }
    }
    assert!(saved > 0, "no checkpoint was written");
}

fn size_of(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            if entry.path().is_dir() {
                size_of(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}

#[test]
fn the_log_at_rest_stays_below_288_mib() {
    // With very large entries, the engine moves some of them to drop their files.
    for (size, total) in [(64 << 10, 400 << 20), (6 << 20, 500 << 20)] {
        let dir = TempDir::new();
        let (mut storage, _) = reopen(&dir);
        let (mut since, mut saved, mut largest) = (0, 0, 0);
        let mut index = 2;
        for _ in 0..total / size {
            since += storage.log.append(&large(index, size));
            if since as u64 >= checkpoint_log_bytes(&dir.data()) {
                since = 0;
                storage.log.cut(std::mem::replace(&mut saved, index));
                largest = largest.max(size_of(&dir.data().join("member/log")));
            }
            index += 1;
        }
        assert!(largest < 288 << 20, "{size} bytes an entry: {largest}");
        storage.checkpoint.write(None, &view(index - 1, 1)).unwrap();
        drop(storage);
        let (_, recovered) = reopen(&dir);
        assert_eq!(recovered.checkpoint.unwrap().position.index, index - 1);
    }
}
