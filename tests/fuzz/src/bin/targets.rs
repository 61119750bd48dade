//! Prints the table of targets for `tests/fuzz/million`: name, maximum input length, files.

use std::io::{self, Write as _};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for target in witan_fuzz::TARGETS {
        let files = target.files.join(" ");
        writeln!(out, "{} {} {files}", target.name, target.bytes_max)?;
    }
    Ok(())
}
