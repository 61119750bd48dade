//! Prints the table of targets for `tests/fuzz/million`: name, maximum input length.

use std::io::{self, Write as _};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for target in witan_fuzz::TARGETS {
        writeln!(out, "{} {}", target.name, target.bytes_max)?;
    }
    Ok(())
}
