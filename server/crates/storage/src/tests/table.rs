//! A table of damaged checkpoints and the result of the next startup. No acknowledged write is lost, and no damage changes data
//! silently. `damage` covers the log.

use std::fs;

use super::{
    workload::{Driven, Expected},
    *,
};
use crate::{folder::copies, manifest::copy_name};

/// Number of entries before the damage, enough for two log files and a chain of three links.
const ENTRIES: u64 = 160;

/// The result of a startup with damaged files.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The damage has no effect, or is repaired.
    Whole,
    /// The older checkpoint and the log, or a copy, repair the damage.
    Rebuilt,
    /// Startup fails with this exit code. All data is recovered after the original bytes are restored.
    Refused(i32),
}

/// A data directory and its acknowledged writes.
struct Sample {
    dir: TempDir,
    last: u64,
    expected: Expected,
}

impl Sample {
    /// Creates a directory with at least [`ENTRIES`] entries, whose offered checkpoints are durable.
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

    /// Damages a copy of the directory and compares the result of its startup with `outcome`.
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

fn runs(dir: &TempDir) -> Vec<String> {
    let file = |number: u64| format!("checkpoint/{number:08}.run");
    manifest(dir).chain.numbers().map(file).collect()
}

#[test]
fn a_damaged_checkpoint_is_rebuilt_or_refused() {
    let mut sample = Sample::new();
    let runs = runs(&sample.dir);
    assert!(runs.len() > 2, "{runs:?}");
    let newest = runs.last().unwrap().clone();
    for (what, run, outcome) in [
        ("base", &runs[0], Outcome::Refused(28)),
        ("older difference", &runs[1], Outcome::Refused(28)),
        ("newest difference", &newest, Outcome::Rebuilt),
    ] {
        let bytes = fs::read(sample.dir.data().join("member").join(run)).unwrap();
        let length = bytes.len();
        for at in (9..length).step_by(length / 3).chain([length - 1]) {
            sample.flip(&format!("{what}: byte {at}"), run, at, &outcome);
        }
        for at in (0..length).step_by(length.div_ceil(3)) {
            let hole = |data: &Path| {
                let mut bytes = bytes.clone();
                bytes[at..].iter_mut().take(length / 3).for_each(|b| *b = 0);
                fs::write(data.join("member").join(run), bytes).unwrap();
            };
            sample.row(&format!("{what}: hole at {at}"), hole, &outcome);
            let short = |data: &Path| {
                fs::write(data.join("member").join(run), &bytes[..at]).unwrap();
            };
            sample.row(&format!("{what}: cut at {at}"), short, &outcome);
        }
        let gone = |data: &Path| fs::remove_file(data.join("member").join(run)).unwrap();
        sample.row(&format!("{what}: missing"), gone, &outcome);
    }
    let current = "checkpoint/current";
    let folder = sample.dir.checkpoint();
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
    let log = sample.dir.log_files();
    assert!(log.len() > 1, "{log:?}");
    let away = |data: &Path| {
        fs::remove_file(data.join("member/log").join(log[0].file_name().unwrap())).unwrap()
    };
    // The entries in this file are below the cut. If a later file is missing, startup fails; see `damage`.
    sample.row("oldest log file: missing", away, &Outcome::Whole);
}
