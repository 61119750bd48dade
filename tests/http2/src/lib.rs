//! Compares the HTTP/2 code with RFC 9113, RFC 7541 and the h2 crate. Both servers run in memory, receive the same frames, and
//! are checked by the same rules.
//!
//! Reading order: `frame` (a client's frames) → `server` (a server, and a client that drives it) → `check` (the rules for all
//! frames of a server) → `calls`, `subject`, `reference` (the two servers) → `script` (sequences of frames from bytes) →
//! `conversation`, `blocks` (checks that the fuzzer also runs), `dice`.
//!
//! The script `run` runs h2spec against the program.

pub mod blocks;
pub mod calls;
pub mod check;
pub mod conversation;
pub mod dice;
pub mod frame;
pub mod reference;
pub mod script;
pub mod server;
pub mod subject;

/// Maximum size in bytes of a header list that both servers accept.
pub const HEADER_LIST_MAX: u32 = 64 << 10;
