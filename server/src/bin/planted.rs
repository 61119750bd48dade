//! The server binary with fault injection for tests, see `witan::panics::planted`. It is not shipped.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    witan::program::main()
}
