//! HTTP/2 (RFC 9113) for gRPC and HTTP servers: a state machine without I/O, and a driver for tokio.
//!
//! [`Connection`] receives bytes and the time, polls the calls that a [`Service`] runs, and returns bytes to send and the time
//! of the next run. It opens no socket, reads no clock and spawns no task. [`driver`] connects it to a tokio stream.
//!
//! The crate implements no TLS, HTTP/1.1, upgrades, clients, server push or priorities. The server implements [`Service`],
//! which runs calls and provides metrics, memory budgets and error messages.
//!
//! Reading order: `service` is the interface to the server, with the settings of a connection and the result of a call.
//! `connection` is the state machine, which handles frames in `receive` and runs calls in `call`. `stream` and `ready` manage
//! its streams, `message` and `body` receive requests, and `send` writes frames. `meter` counts resources. `head_cache`,
//! `hpack` and `frame` parse and encode, and `head` is the parsed head of a request. `limits` has the fixed limits.

mod body;
mod connection;
pub mod driver;
pub mod frame;
mod head;
mod head_cache;
pub mod hpack;
pub mod limits;
mod message;
mod meter;
mod ready;
mod send;
mod service;
mod stream;
#[cfg(test)]
mod tests;

pub use body::{Aborted, Body, RequestStream};
pub use connection::{Audit, Connection};
pub use head::{Head, RequestMode, escaped_target};
pub use service::{
    CallRequest, CallResponse, Code, Config, KeepAlive, MESSAGE_BYTES_MAX, Refusal, Resource,
    Service, Status,
};

/// The first bytes that every client sends.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
