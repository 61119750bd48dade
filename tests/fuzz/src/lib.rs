//! Every parser as a fuzz target: a function that takes bytes and panics if a property is violated. `corpus/TARGET` contains
//! real requests and inputs that once caused crashes.
//!
//! There are two ways to run the targets:
//! - `tests/replay.rs`: the corpus and a fixed number of seeded mutations, in `cargo test`;
//! - `--bin engine` with libFuzzer: guided by coverage, as `tests/fuzz/million` does it.
//!
//! Private parsers are accessible through `fuzz.rs` in their crates.

pub mod corpus;
pub mod input;
pub mod mutate;
pub mod targets;

/// One parser, or several parsers that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the target and of its directory in the corpus.
    pub name: &'static str,
    /// Runs an input. Panics if a property is violated.
    pub run: fn(&[u8]),
    /// Maximum length of an input in bytes.
    pub bytes_max: usize,
    /// Relative cost of an input, by which `cargo test` divides its number of mutations.
    pub cost: u64,
}

/// All targets.
pub const TARGETS: &[Target] = targets::ALL;

/// Returns the target with this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
