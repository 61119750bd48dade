//! The server binary; the code is in `witan::program`.

use std::process::ExitCode;

/// Unlike glibc's allocator, mimalloc returns freed memory to the system. It is also faster with many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    witan::program::main()
}
