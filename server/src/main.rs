//! The server binary; the code is in `witan::program`.

use std::process::ExitCode;

/// mimalloc returns freed memory, unlike glibc's allocator, and is faster with many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    witan::program::main()
}
