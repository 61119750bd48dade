//! Every parser as a fuzz target: a function that takes bytes and panics when what must hold does
//! not. `corpus/TARGET` holds real requests, and inputs that once were crashes.
//!
//! Three ways to run them:
//! - `tests/replay.rs`: the corpus and a fixed number of seeded mutations, in `cargo test`;
//! - `--bin engine` with libFuzzer: guided by coverage, as `tests/fuzz/million` does it;
//! - `--bin seeds` writes the part of the corpus whose format is our own.
//!
//! What does *not* live here: the parsers. The feature `fuzz` of a crate makes its private parsers public, in its `fuzz.rs`.

pub mod corpus;
pub mod input;
pub mod mutate;
pub mod targets;

/// One parser, or a few that always come together.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also the name of its folder in the corpus.
    pub name: &'static str,
    /// Panics when something that must hold does not.
    pub run: fn(&[u8]),
    /// Longer inputs are not tried.
    pub bytes_max: usize,
    /// How many times dearer it is than most; `cargo test` divides its mutations by it.
    pub cost: u64,
    /// The files whose lines it is about.
    pub files: &'static [&'static str],
}

/// All of them.
pub const TARGETS: &[Target] = targets::ALL;

/// The target of a name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
