//! The flight recorder: what a replica takes in and brings about, kept in a bounded ring of files, and executed again.
//!
//! The core is pure: the same inputs on the same start have the same effects. [`RecordedReplica`] stands between the thread
//! that owns a replica and the replica, notes each input and each effect with hidden values, and hands them to a [`Sink`] turn
//! by turn. [`Ring`] writes them to files on a thread of its own. [`replay()`] executes a recording with the core of this
//! program and compares.
//!
//! Not here: what a command means, who asks for a recording (`witan_config`), and how a replay is printed
//! (`server/src/offline`).
//!
//! Reading order: `recorded` (the seam) → `effects` → `format` (what a file holds) → `noted`, `hide`, `value_hash`, `state`
//! (how it comes there) → `encode`, `frame`, `files`, `ring` → `bounds`, `read` → `replay`, `text` → `handed` (the files for
//! another machine). The simulator records and replays with a sink of its own.

mod bounds;
mod effects;
mod encode;
mod files;
pub mod format;
mod frame;
mod handed;
mod hide;
mod noted;
mod read;
mod recorded;
mod replay;
mod ring;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod value_hash;

pub use encode::Encoder;
pub use handed::HandedFiles;
pub use hide::Hider;
pub use noted::NotedTurn;
pub use read::ReadError;
pub use recorded::{RecordedReplica, Sink};
pub use replay::{Player, Replayed, ShownTurn, Verdict, replay};
pub use ring::{IsLow, Ring, RingSettings};
