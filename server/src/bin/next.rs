//! A later release for tests of an upgrade, which is not shipped: its feature level and its data format are one higher.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    witan::program::main()
}
