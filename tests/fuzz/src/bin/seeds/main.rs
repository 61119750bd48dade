//! Writes the generated part of the corpus: data that the core writes to a disk, and messages between members. Crashes and
//! minimized inputs stay unchanged.

mod core;
mod peer;

use std::{collections::BTreeMap, fs, io};

use witan_fuzz::{corpus, find};

/// Inputs by target and name.
type Corpus = BTreeMap<(&'static str, String), Vec<u8>>;

fn main() -> io::Result<()> {
    let mut corpus = Corpus::new();
    core::add(&mut corpus);
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
