//! The flight recorder: the inputs and effects of a replica, kept in a bounded ring of files, and executed again.
//!
//! The core is pure: the same inputs on the same start have the same effects. [`RecordedReplica`] stands between the thread
//! that owns a replica and the replica. It notes each input and each effect, with redacted values, and hands them to a [`Sink`]
//! turn by turn. [`Ring`] writes them to files on a thread of its own. [`replay()`] executes a recording with the core of this
//! program and compares.
//!
//! Not here: what a command means, who asks for a recording (`witan_config`), and how a replay is printed (`witan_offline`).
//!
//! Reading order: `recorded` (the seam) → `format` (what a file holds) → `input`, `effects`, `redact`, `state` (from the core
//! into the format and back) → `encode`, `frame`, `files`, `ring` → `read`, `replay`, `text` → `handed` (the files for another
//! machine). The simulator records and replays with a sink of its own.

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
