//! The committed inputs: one file per input, in a directory per target.

use std::{fs, io, path::PathBuf};

/// Returns the directory of a target.
pub fn folder(target: &str) -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.join("corpus").join(target)
}

/// Returns all inputs of a target with their names, ordered by name.
pub fn read(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder(target))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        inputs.push((name, fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(inputs)
}
