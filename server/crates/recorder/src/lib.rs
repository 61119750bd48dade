//! The flight recorder, which records a replica's inputs and effects in a bounded ring of files and replays them.
//!
//! The replica is pure: from the same initial state, the same inputs cause the same effects. [`RecordedReplica`] wraps a
//! replica for its thread. It records each input and effect with redacted values and passes them to a [`Sink`]. [`Ring`] writes
//! them to files on another thread. [`replay()`] executes a recording with this program's replica and compares the effects.
//!
//! `witan_config` defines the flags that enable a recording, and `witan_offline` prints a replay.
//!
//! Reading order: `recorded` and `format`. `input`, `effects`, `redact` and `state` convert to the format. `encode` and `frame`
//! write recordings, `files` starts files and removes the oldest ones, and `ring` is the thread that writes. `read` and
//! `replay` (`replay/player`) read recordings, and `text` describes effects. `download` serves recordings to clients.

mod download;
mod effects;
mod encode;
mod files;
pub mod format;
mod frame;
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

pub use download::Download;
pub use read::ReadError;
pub use recorded::{RecordedReplica, Sink};
pub use replay::{Player, Replayed, ShownTurn, Verdict, replay};
pub use ring::Ring;
