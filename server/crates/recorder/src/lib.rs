//! The flight recorder: keeps a replica's inputs and effects in a bounded ring of files, and replays them.
//!
//! The core is pure: the same inputs on the same initial state have the same effects. [`RecordedReplica`] wraps a replica for
//! the thread that owns it. It records each input and each effect with redacted values, and passes them to a [`Sink`] turn by
//! turn. [`Ring`] writes them to files on its own thread. [`replay()`] executes a recording with the core of this program and
//! compares the effects.
//!
//! `witan_config` has the flags that enable a recording, and `witan_offline` prints a replay.
//!
//! Reading order: `recorded` (the wrapper) → `format` (the file format) → `input`, `effects`, `redact`, `state` (conversions
//! between the core and the format) → `encode`, `frame`, `files`, `ring` → `read`, `replay`, `text` → `handed` (the files for
//! another machine). The simulator records and replays with its own sink.

mod effects;
mod encode;
mod files;
pub mod format;
mod frame;
mod handed;
mod input;
mod read;
mod recorded;
mod redact;
mod replay;
mod ring;
mod state;
#[cfg(test)]
mod tests;
mod text;

pub use encode::Encoder;
pub use handed::HandedFiles;
pub use read::ReadError;
pub use recorded::{RecordedReplica, Sink};
pub use replay::{Player, Replayed, ShownTurn, Verdict, replay};
pub use ring::{IsLow, Ring, RingSettings};
