//! A later release for tests of upgrades. It is not shipped. Its feature level and its data format are higher by one.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    witan::program::main()
}
