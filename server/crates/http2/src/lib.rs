//! HTTP/2 (RFC 9113) for gRPC and HTTP servers, as a state machine without I/O and a thin driver for tokio.
//!
//! [`Connection`] receives bytes and the time, runs the calls that a [`Service`] answers, and returns bytes to send and the
//! time of its next run. It opens no socket, reads no clock and spawns no task; a call is a future that the connection polls.
//! [`driver`] connects it to a tokio stream.
//!
//! The crate does not contain TLS, HTTP/1.1, upgrades, clients, server push or priorities. The server implements [`Service`]
//! for its own work around calls: metrics, budgets and error texts.
//!
//! Reading order: `service` (the server's side) → `config` → `connection` (the state machine: `receive` frames, run a `call`,
//! `timers`) → `stream`, `ready` (which calls run) → `message`, `body` (requests), `target` → `send` (outgoing frames,
//! windows) → `meter` (held resources) → `head`, `heads`, `hpack`, `frame` (formats) → `ping` → `limits` → `driver`.

mod body;
mod config;
mod connection;
pub mod driver;
pub mod frame;
mod head;
mod heads;
pub mod hpack;
pub mod limits;
mod message;
mod meter;
mod ping;
mod ready;
mod send;
mod service;
mod status;
mod stream;
pub mod target;
#[cfg(test)]
mod tests;

pub use body::{Aborted, Body, RequestStream};
pub use config::{Config, KeepAlive};
pub use connection::{Audit, Connection};
pub use head::{Head, RequestMode};
pub use service::{CallRequest, CallResponse, Refusal, Resource, Service};
pub use status::{Code, Status};

/// The response body for a request that is not gRPC.
pub const NOT_GRPC: &str = "this port speaks gRPC over HTTP/2; use HTTP/1.1 for everything else\n";

/// The first bytes that every client sends.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
