//! Writes the part of the corpus that a program can make: real requests from the recorded pairs of
//! `tests/e2e/data/v2-pairs.jsonl`, what the core itself writes to a disk, and conversations over HTTP/2. Files of other names
//! (crashes that were found, minimized inputs) stay as they are.

mod bolt;
mod core;
mod http2;
mod peer;
mod requests;
mod texts;

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use witan_fuzz::{corpus, find};

/// Inputs by target and name.
type Corpus = BTreeMap<(&'static str, String), Vec<u8>>;

fn main() -> io::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pairs = fs::read_to_string(root.join("tests/e2e/data/v2-pairs.jsonl"))?;
    let mut corpus = Corpus::new();
    requests::add(&mut corpus, &pairs);
    texts::add(&mut corpus);
    bolt::add(&mut corpus);
    core::add(&mut corpus);
    http2::add(&mut corpus);
    peer::add(&mut corpus);
    for ((target, name), bytes) in corpus {
        let known = find(target).expect("a known target");
        assert!(
            bytes.len() <= known.bytes_max,
            "{target}/{name} is too long"
        );
        let folder = corpus::folder(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
