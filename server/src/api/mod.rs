//! The HTTP/1.1 frontend of the client port: dispatches requests to the dialects and answers operators' requests itself.
//! `witan_api::access` lists all paths with the access that they require.

mod follow;
mod health;
pub mod http;
mod level;
mod log_level;
mod ops;
mod recorder;
mod top;
