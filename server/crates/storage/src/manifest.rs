//! The file `current`, which lists the runs of the checkpoint and of the previous checkpoint.
//!
//! The file contains lines of text, encoded by `manifest_file`. The first line names the format. `chain` and `before` start a
//! chain. Each `link` is a difference, except the first, which is the base. Each `run` has a number, its totals (see
//! [`RecordTotals`]) and the start of its first key. `install` is present while a received snapshot is being installed (see
//! [`Install`]).

use std::{fs, io, path::Path};

use super::{
    formats::{self, DataFormat},
    manifest_file,
    record_stream::RecordTotals,
};

/// Name of the file that lists the published checkpoint.
pub(super) const CURRENT: &str = "current";
/// File-name prefix of copies of `current`. Each manifest has a copy, which is kept as long as its runs. Startup reads a copy
/// if `current` is damaged, or if a copied directory lacks runs that `current` names.
const COPY: &str = "current.";
/// Maximum number of stored bytes of a run's first key. These bytes only determine when a merge opens the run.
const FIRST_KEY_BYTES: usize = 32;

/// A run, as listed in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// The run's number, which determines the file name.
    pub(super) number: u64,
    /// Lower bound of the run's keys: the start of its first key.
    pub(super) first: Vec<u8>,
    pub(super) content: RecordTotals,
}

impl Run {
    /// Creates the entry of a run. Only the start of `first`, the run's first key, is stored.
    pub(super) fn new(number: u64, first: &[u8], content: RecordTotals) -> Self {
        let first = first[..first.len().min(FIRST_KEY_BYTES)].to_vec();
        Self { number, first, content }
    }
}

/// A base and the differences after it, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) links: Vec<Vec<Run>>,
}

impl Chain {
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Iterates over the runs of all links, from the base on.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.links.iter().flatten()
    }

    /// Iterates over the numbers of all runs, from the base on.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.runs().map(|run| run.number)
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.numbers().any(|known| known == number)
    }

    /// Returns the size in bytes of all runs, including outdated records.
    pub(super) fn bytes(&self) -> u64 {
        self.runs().map(|run| run.content.bytes).sum()
    }
}

/// The content of the file `current`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The format of all runs in `chain`.
    pub(super) format: &'static DataFormat,
    pub(super) chain: Chain,
    /// The previous checkpoint. Its runs are kept until the next checkpoint is published.
    pub(super) before: Chain,
    /// The installed snapshot; `None` once the log is known to have restarted.
    pub(super) install: Option<Install>,
}

/// A received snapshot that has become the checkpoint. The log belongs to an earlier state and is void, so startup restarts it
/// after the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Install {
    pub(super) index: u64,
    /// Index of the log's last entry when the snapshot was installed.
    pub(super) log_last: u64,
}

/// Returns the file name of the copy `number` of a manifest.
pub(super) fn copy_name(number: u64) -> String {
    format!("{COPY}{number:08}")
}

/// Parses a copy's number from its file name, or returns `None` for other files.
pub(super) fn copy_number(name: &str) -> Option<u64> {
    name.strip_prefix(COPY)?.parse().ok()
}

impl Manifest {
    /// Creates the manifest of a chain without a previous chain and without an installation.
    pub(super) fn new(format: &'static DataFormat, chain: Chain) -> Self {
        Self { format, chain, before: Chain::default(), install: None }
    }

    /// Reads the file. Returns `None` if its content is invalid. Fails with `NotFound` only if the file itself is missing.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let dir = path.parent().unwrap_or(Path::new("."));
        let lines = manifest_file::decode(&fs::read(path)?, dir);
        // The file exists, so the error must not look like a missing file.
        let lines = lines.map_err(|error| match error.kind() == io::ErrorKind::NotFound {
            true => io::Error::other(error),
            false => error,
        })?;
        Ok(lines.and_then(|lines| Self::decode(&lines)))
    }

    /// Encodes the manifest as the lines of the file `current`.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{}\n", self.format.manifest_title);
        for (title, chain) in [("chain", &self.chain), ("before", &self.before)] {
            text += &format!("{title}\n");
            for link in &chain.links {
                text += "link\n";
                for Run { number, first, content } in link {
                    let RecordTotals { records, bytes, sum } = content;
                    let first = hex(first);
                    text += &format!("run {number} {records} {bytes} {sum:08x} {first}\n");
                }
            }
        }
        if let Some(Install { index, log_last }) = self.install {
            text += &format!("install {index} {log_last}\n");
        }
        text
    }

    /// Parses the lines of the file `current`. Returns `None` if the title or a line is invalid, or if `chain` has no links.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let format = formats::titled(lines.next()?)?;
        let mut manifest = Self::new(format, Chain::default());
        let mut chain = None;
        for line in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "chain" => chain = Some(&mut manifest.chain),
                "before" => chain = Some(&mut manifest.before),
                "link" => chain.as_mut()?.links.push(Vec::new()),
                "install" => {
                    let (index, log_last) = rest.split_once(' ')?;
                    manifest.install = Some(Install {
                        index: index.parse().ok()?,
                        log_last: log_last.parse().ok()?,
                    });
                }
                "run" => chain.as_mut()?.links.last_mut()?.push(run(rest)?),
                _ => return None,
            }
        }
        (!manifest.chain.is_empty()).then_some(manifest)
    }
}

/// Parses the text after `run` in a line. Returns `None` if a part is missing, invalid or unexpected.
fn run(text: &str) -> Option<Run> {
    let mut words = text.split(' ');
    let number = words.next()?.parse().ok()?;
    let content = RecordTotals {
        records: words.next()?.parse().ok()?,
        bytes: words.next()?.parse().ok()?,
        sum: u32::from_str_radix(words.next()?, 16).ok()?,
    };
    let first = unhex(words.next()?)?;
    words
        .next()
        .is_none()
        .then_some(Run { number, first, content })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Decodes pairs of hexadecimal digits, or returns `None` if the text contains anything else.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FORMATS;

    #[test]
    fn only_pairs_of_digits_are_decoded() {
        assert_eq!(unhex("00ff"), Some(vec![0, 0xff]));
        for text in ["0", "00f", "+1", "0g", "\u{e4}"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }

    fn manifest() -> Manifest {
        let run = |number: u64| {
            let content = RecordTotals { records: number * 3, bytes: number << 20, sum: 0xff };
            Run::new(number, &[b'k'; 100], content)
        };
        let chain = Chain { links: vec![vec![run(1), run(2)], vec![run(5)]] };
        let before = Chain { links: vec![vec![run(4)]] };
        let install = Some(Install { index: 70, log_last: 50 });
        let format = FORMATS.last().unwrap();
        Manifest { format, chain, before, install }
    }

    #[test]
    fn a_manifest_is_read_back_in_each_format() {
        for format in FORMATS {
            let manifest = Manifest { format, ..manifest() };
            let text = manifest.encode();
            assert_eq!(text.lines().next(), Some(format.manifest_title));
            assert_eq!(Manifest::decode(&text), Some(manifest));
        }
        assert_eq!(manifest().chain.numbers().collect::<Vec<_>>(), [1, 2, 5]);
        assert_eq!(manifest().chain.bytes(), 8 << 20);
    }

    #[test]
    fn invalid_lines_are_refused() {
        for text in ["", "0", "nonsense", "-1", "1 2", "00000012\n"] {
            assert_eq!(Manifest::decode(text), None, "{text}");
        }
    }
}
