//! The file `current`: lists the runs of the checkpoint and of the previous one.
//!
//! Text, a line each: `chain` or `before`; under it `link` for each difference (the first is the base), and under that
//! `run` with its folder, its contents (see [`RunContent`]) and the beginning of its first key. `install` is present
//! while a received snapshot is being installed (see [`Install`]). The last line is a checksum of all others.

use std::{fmt::Write as _, fs, io, path::Path};

use super::run::RunContent;

/// Name of the file, which is the published checkpoint.
pub(super) const CURRENT: &str = "current";
/// Name of the copy that earlier releases write.
pub(super) const EARLIER_COPY: &str = "current.copy";
/// First line of the file.
const TITLE: &str = "witan checkpoint 2";
/// Begin of the name of a copy. Each file has one, written after it, which stays as long as its runs: it is read if the file
/// is damaged, or if runs that it names are missing in a copy of the directory, because they are newer than the list of
/// files that was copied.
const COPY: &str = "current.";
/// Bytes of a run's first key that are stored; it only determines when the run must be opened.
const FIRST_KEY_BYTES: usize = 32;

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// Number of the run, the name of its folder.
    pub(super) number: u64,
    /// Lower bound of its keys: the beginning of the first key.
    pub(super) first: Vec<u8>,
    pub(super) content: RunContent,
}

impl Run {
    /// Makes the entry of a run, with the first [`FIRST_KEY_BYTES`] bytes of its first key.
    pub(super) fn new(number: u64, first: &[u8], content: RunContent) -> Self {
        let first = first[..first.len().min(FIRST_KEY_BYTES)].to_vec();
        Self { number, first, content }
    }
}

/// A base and differences, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Runs of each link.
    pub(super) links: Vec<Vec<Run>>,
}

impl Chain {
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.links.iter().flatten()
    }

    /// Iterates over the numbers of the folders of all runs.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.runs().map(|run| run.number)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.runs().map(|run| run.content.bytes).sum()
    }
}

/// Content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) chain: Chain,
    /// The previous checkpoint, whose folders are kept until the next one is published.
    pub(super) before: Chain,
    /// The log below may not have been restarted yet.
    pub(super) install: Option<Install>,
}

/// A received snapshot that has become the checkpoint. The log belongs to the earlier state and is void: a start
/// restarts it behind the snapshot, and does not take it for one that has lost its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Install {
    /// Index of the snapshot.
    pub(super) index: u64,
    /// Index of the last entry of the log at that time.
    pub(super) log_last: u64,
}

/// Returns the name of the copy with this number.
pub(super) fn copy_name(number: u64) -> String {
    format!("{COPY}{number:08}")
}

/// Returns the number of a copy from the name of its file; `None` for other files.
pub(super) fn copy_number(name: &str) -> Option<u64> {
    name.strip_prefix(COPY)?.parse().ok()
}

impl Manifest {
    /// Reads the file; `None` if its content is invalid. A missing file is an error.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => Ok(String::from_utf8(text).ok().and_then(|t| Self::decode(&t))),
            Err(e) => Err(e),
        }
    }

    /// Returns the text of the file `current`, whose last line is a checksum of the others.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{TITLE}\n");
        for (title, chain) in [("chain", &self.chain), ("before", &self.before)] {
            line(&mut text, format_args!("{title}"));
            for link in &chain.links {
                line(&mut text, format_args!("link"));
                for run in link {
                    let RunContent { records, bytes, stream_sum, file_bytes, file_sum } =
                        run.content;
                    let first = hex(&run.first);
                    line(
                        &mut text,
                        format_args!(
                            "run {} {records} {bytes} {stream_sum:08x} {file_bytes} {file_sum:08x} \
                             {first}",
                            run.number
                        ),
                    );
                }
            }
        }
        if let Some(Install { index, log_last }) = self.install {
            line(&mut text, format_args!("install {index} {log_last}"));
        }
        let sum = crc32fast::hash(text.as_bytes());
        line(&mut text, format_args!("sum {sum:08x}"));
        text
    }

    /// Parses the text of the file `current`; `None` if checksum, title or a line is invalid, or if it has no
    /// chain.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let at = text.trim_end().rfind("sum ")?;
        let sum = u32::from_str_radix(text[at + 4..].trim_end(), 16).ok()?;
        let text = &text[..at];
        if crc32fast::hash(text.as_bytes()) != sum {
            return None;
        }
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut manifest = Self::default();
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

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string has room");
}

/// Parses what follows `run` in a line of the file.
fn run(text: &str) -> Option<Run> {
    let mut words = text.split(' ');
    let number = words.next()?.parse().ok()?;
    let content = RunContent {
        records: words.next()?.parse().ok()?,
        bytes: words.next()?.parse().ok()?,
        stream_sum: u32::from_str_radix(words.next()?, 16).ok()?,
        file_bytes: words.next()?.parse().ok()?,
        file_sum: u32::from_str_radix(words.next()?, 16).ok()?,
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

/// Decodes pairs of hexadecimal digits; `None` if one is incomplete or there is another character.
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

    #[test]
    fn only_pairs_of_digits_are_a_key() {
        assert_eq!(unhex("00ff"), Some(vec![0, 0xff]));
        for text in ["0", "00f", "+1", "0g", "\u{e4}"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }

    fn manifest() -> Manifest {
        let run = |number: u64| {
            let content = RunContent {
                records: number * 3,
                bytes: number << 20,
                stream_sum: 0xff,
                file_bytes: 1234,
                file_sum: 7,
            };
            Run::new(number, &[b'k'; 100], content)
        };
        let chain = Chain { links: vec![vec![run(1), run(2)], vec![run(5)]] };
        let before = Chain { links: vec![vec![run(4)]] };
        let install = Some(Install { index: 70, log_last: 50 });
        Manifest { chain, before, install }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = manifest().encode();
        assert_eq!(Manifest::decode(&text), Some(manifest()));
        assert_eq!(manifest().chain.numbers().collect::<Vec<_>>(), [1, 2, 5]);
        assert_eq!(manifest().chain.bytes(), 8 << 20);
    }

    #[test]
    fn what_names_no_run_is_refused() {
        for text in ["", "0", "nonsense", "-1", "1 2", "00000012\n"] {
            assert_eq!(Manifest::decode(text), None, "{text}");
        }
    }

    #[test]
    fn every_flipped_bit_shows() {
        let text = manifest().encode();
        let end = text.trim_end().len();
        for at in 0..end {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let found = String::from_utf8(bytes)
                    .ok()
                    .and_then(|t| Manifest::decode(&t));
                // The sum may be written in capitals, too.
                assert!(found.is_none_or(|found| found == manifest()), "{at} {bit}");
            }
        }
    }
}
