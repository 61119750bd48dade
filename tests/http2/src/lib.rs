//! The HTTP/2 code beside RFC 9113, RFC 7541 and the h2 crate: both servers run in memory, take the
//! same frames, and are judged by the same rules.
//!
//! Reading order: `frame` (the frames of a client) → `server` (a server, and a client that drives it)
//! → `check` (the rules for all frames of a server) → `calls`, `subject`, `reference` (the two servers)
//! → `script` (sequences of frames out of bytes) → `conversation`, `blocks` (the checks that the fuzzer
//! runs, too).
//!
//! What does *not* live here: h2spec, which `run` drives against the program.

pub mod blocks;
pub mod calls;
pub mod check;
pub mod conversation;

pub mod frame;
pub mod reference;
pub mod script;
pub mod server;
pub mod subject;

/// Largest list of headers that either server takes.
pub const HEADER_LIST_MAX: u32 = 64 << 10;
