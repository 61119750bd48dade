//! Parts of the benchmarks. `main.rs` drives witan beside etcd; the programs in `bin/` measure one
//! room of ours by itself.
//!
//! Reading order: `load` (many clients, one measurement) with `paced` (at a rate) → `subject` (of what) → `verb` (what
//! they ask) → `h2`, `http1` (the two lean clients), `dial` (their connections) → `scene` (what is more than one request
//! over and over) with `stream` → `watched` (events that say when they were caused) → `cluster` (three members) →
//! `restart` (by the size of the data) → `program` (which servers a run compares), `floor`, `table`.

pub mod cluster;
mod dial;
pub mod floor;
pub mod h2;
pub mod http1;
pub mod load;
pub mod paced;
pub mod program;
pub mod restart;
pub mod scene;
pub mod stream;
pub mod subject;
pub mod table;
pub mod verb;
pub mod watched;
pub mod wire;

use std::process::ExitCode;

use tokio::task::LocalSet;

/// Does on one thread what a program's arguments ask for; the head of its file says what these may be.
///
/// # Panics
/// If there is no thread.
#[expect(clippy::print_stdout, reason = "a part of programs that print tables")]
pub fn run<O>(options: Result<O, String>, file: &str, act: impl AsyncFnOnce(O)) -> ExitCode {
    let options = match options {
        Ok(options) => options,
        Err(wrong) => {
            println!("{wrong}; see the head of tests/bench/src/{file}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only a thread");
    LocalSet::new().block_on(&runtime, act(options));
    ExitCode::SUCCESS
}
