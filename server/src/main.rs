//! The server binary. Its code lives in `witan::program`.

use std::process::ExitCode;

/// glibc's allocator keeps what it frees; this one gives it back and is faster under many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    witan::program::main()
}
