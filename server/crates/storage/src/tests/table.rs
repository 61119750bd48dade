//! Broken disks as a table: which bytes are damaged, how the next start reacts, and how many
//! acknowledged writes are lost. No damage changes data silently.

use std::{fmt, fs, io::Write};

use super::{
    workload::{Driven, Expected},
    *,
};
use crate::{
    folder::copies,
    manifest::{Manifest, copy_name},
};

/// Entries of the directory that is damaged; enough for two log files and a chain of three.
const ENTRIES: u64 = 160;

/// Result of a start with damaged data.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The damage has no effect, or is repaired.
    Whole,
    /// The older checkpoint and the log, or a copy, make it good.
    Rebuilt,
    /// Refused with this exit code; with the original bytes everything is recovered.
    Refused(i32),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => write!(f, "starts with everything"),
            Self::Rebuilt => write!(f, "starts, rebuilt from what is sound"),
            Self::Refused(code) => write!(f, "refused, exit code {code}"),
        }
    }
}

/// A data directory and the acknowledged writes in it.
struct Sample {
    dir: TempDir,
    last: u64,
    expected: Expected,
}

impl Sample {
    fn new() -> Self {
        let dir = TempDir::new();
        let mut driven = Driven::start(&dir.data());
        let mut last = 0;
        while last < ENTRIES {
            last = driven.step();
            driven.settle();
        }
        drop(driven);
        Self { dir, last, expected: Expected::default() }
    }

    /// Damages a copy, starts from it, and writes a line of the table.
    fn row(&mut self, what: &str, damage: impl FnOnce(&Path), outcome: &Outcome) {
        let scratch = TempDir::new();
        copy(&self.dir.0, &scratch.0);
        damage(&scratch.data());
        let (said, lost) = match self.expected.compare(&scratch.data()) {
            Ok(found) => {
                let said = match found.fell_back {
                    true => Outcome::Rebuilt,
                    false => Outcome::Whole,
                };
                (said, self.last.saturating_sub(found.last))
            }
            Err(error) => (Outcome::Refused(error.exit_code()), 0),
        };
        writeln!(std::io::stderr(), "| {what} | {said} | {lost} |").unwrap();
        assert_eq!(said, *outcome, "{what}");
        assert_eq!(lost, 0, "{what}");
    }

    fn flip(&mut self, what: &str, file: &str, at: usize, outcome: &Outcome) {
        self.row(
            what,
            |data| flip(&data.join("member").join(file), at),
            outcome,
        );
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1 << (at % 8);
    fs::write(path, bytes).unwrap();
}

/// Begin and length of every record of a log file.
fn log_records(path: &Path) -> Vec<(usize, usize)> {
    let bytes = fs::read(path).unwrap();
    let end = written(path);
    let (mut at, mut records) = (69, Vec::new());
    while at < end {
        let length = u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()) >> 8;
        records.push((at, length as usize));
        at += length as usize;
    }
    records
}

/// A byte of each kind of a record, by name.
fn kinds(path: &Path, (at, length): (usize, usize)) -> [(&'static str, usize); 6] {
    let bytes = fs::read(path).unwrap();
    let footer = u64::from_be_bytes(bytes[at + 8..at + 16].try_into().unwrap()) as usize;
    [
        ("length", at + 6),
        ("footer's place", at + 14),
        ("payload", at + 16 + (footer - 16) / 2),
        ("payload's CRC", at + footer - 2),
        ("footer", at + footer + (length - footer) / 2),
        ("footer's CRC", at + length - 2),
    ]
}

#[test]
fn a_flipped_bit_in_the_log_is_refused_or_mended() {
    let mut sample = Sample::new();
    let files = sample.dir.log_files();
    assert!(files.len() > 1, "{files:?}");
    let newest = files.last().unwrap();
    for (age, path) in [("older", &files[0]), ("newest", newest)] {
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = format!("log/{name}");
        let records = log_records(path);
        let outcome = Outcome::Refused(27);
        for (kind, at) in [("magic", 5), ("version", 60)] {
            sample.flip(&format!("{age} log file: {kind}"), &file, at, &outcome);
        }
        for (kind, at) in kinds(path, records[records.len() / 2]) {
            sample.flip(
                &format!("{age} log file: a record's {kind}"),
                &file,
                at,
                &outcome,
            );
        }
    }
    let name = newest.file_name().unwrap().to_str().unwrap();
    let last = *log_records(newest).last().unwrap();
    for (kind, at) in kinds(newest, last) {
        let what = format!("newest log file: the last record's {kind}");
        sample.flip(&what, &format!("log/{name}"), at, &Outcome::Whole);
    }
    let away = |data: &Path| {
        fs::remove_file(data.join("member/log").join(files[0].file_name().unwrap())).unwrap()
    };
    // The entries of this file are below the cut; a later missing file is refused, see `damage`.
    sample.row("older log file: missing", away, &Outcome::Whole);
}

/// Returns the files that `current` names for the checkpoint, oldest first.
fn runs(dir: &TempDir) -> Vec<String> {
    let current = dir.data().join("member/checkpoint/current");
    let manifest = Manifest::read(&current).unwrap().unwrap();
    let file = |number: u64| format!("checkpoint/{number:08}.run");
    manifest.chain.numbers().map(file).collect()
}

#[test]
fn a_flipped_bit_in_the_checkpoint_is_rebuilt_or_refused() {
    let mut sample = Sample::new();
    let runs = runs(&sample.dir);
    assert!(runs.len() > 2, "{runs:?}");
    let newest = runs.last().unwrap().clone();
    for (what, run, outcome) in [
        ("base", &runs[0], Outcome::Refused(28)),
        ("older difference", &runs[1], Outcome::Refused(28)),
        ("newest difference", &newest, Outcome::Rebuilt),
    ] {
        let length = fs::read(sample.dir.data().join("member").join(run))
            .unwrap()
            .len();
        for (kind, at) in [("header", 9), ("content", length / 2), ("end", length - 1)] {
            sample.flip(&format!("{what}: {kind}"), run, at, &outcome);
        }
        let gone = |data: &Path| fs::remove_file(data.join("member").join(run)).unwrap();
        sample.row(&format!("{what}: missing"), gone, &outcome);
        let short = |data: &Path| {
            let file = fs::File::options()
                .write(true)
                .open(data.join("member").join(run));
            file.unwrap().set_len(length as u64 / 2).unwrap();
        };
        sample.row(&format!("{what}: cut in half"), short, &outcome);
    }
    let current = "checkpoint/current";
    let folder = sample.dir.data().join("member/checkpoint");
    let newest = copies(&folder).unwrap()[0];
    let copy = format!("checkpoint/{}", copy_name(newest));
    for at in [3, 25, 40] {
        sample.flip(
            &format!("`current`: byte {at}"),
            current,
            at,
            &Outcome::Rebuilt,
        );
        sample.flip(&format!("its copy: byte {at}"), &copy, at, &Outcome::Whole);
    }
    let both = |data: &Path| {
        flip(&data.join("member").join(current), 3);
        flip(&data.join("member").join(&copy), 3);
    };
    sample.row("`current` and its copy", both, &Outcome::Refused(28));
}

#[test]
fn a_flipped_bit_in_the_small_files_is_refused() {
    let mut sample = Sample::new();
    sample.flip(
        "identity: the word format",
        "identity",
        2,
        &Outcome::Refused(23),
    );
    sample.flip(
        "identity: the format's number",
        "identity",
        7,
        &Outcome::Refused(23),
    );
    sample.flip(
        "identity: the word cluster",
        "identity",
        10,
        &Outcome::Refused(23),
    );
    sample.row(
        "identity: another cluster's digit",
        |data| edit(data, "00c1", "00c3"),
        &Outcome::Refused(22),
    );
    sample.row(
        "identity: another member's digit",
        |data| edit(data, "003e", "003f"),
        &Outcome::Refused(22),
    );
    sample.row(
        "identity: missing",
        |data| fs::remove_file(data.join("member/identity")).unwrap(),
        &Outcome::Refused(23),
    );
    sample.row(
        "lock file: other content",
        |data| fs::write(data.join("member/LOCK"), "nonsense").unwrap(),
        &Outcome::Whole,
    );
}

fn edit(data: &Path, from: &str, to: &str) {
    let path = data.join("member/identity");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}
