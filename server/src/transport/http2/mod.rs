//! HTTP/2 for gRPC: one task per connection, no task and one allocation or two per call.
//!
//! It serves what gRPC clients send and bounds what anybody else may send (`limits`). Texts and
//! counting are `transport::grpc`'s. What does *not* live here: TLS, HTTP/1.1, upgrades, push,
//! priorities.
//!
//! Reading order: `conn` (the task) → `receive` (frames in) → `answer` (the way of a call) →
//! `wire` (frames out) → `stream` → `patience`, `pings` → `head`, `body` → `hpack`, `huffman`, `table`, `frame` → `limits`.

mod answer;
mod body;
mod conn;
mod frame;
mod head;
mod hpack;
mod huffman;
mod limits;
mod patience;
mod pings;
mod receive;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod wire;

pub use body::{Body, Incoming, Limited};
pub(super) use conn::{Around, Connection};
pub use head::Head;

/// The first bytes of every client's connection.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
