//! The HTTP/1.1 front of the client port: hands requests to the dialects, and answers those for operators itself.
//! `witan_api::access` lists all paths with the access they require.

mod follow;
mod health;
pub mod http;
mod log_level;
mod ops;
mod recorder;
mod top;
