//! TLS on the client port: accepted clients, certificates and settings, and reloaded files.
//!
//! Reading order: `authority` (certificates) → `stage` (servers) → `client` (one connection) → the
//! tests by topic.

mod authority;
mod client;
mod clients;
mod console;
mod files;
mod follow;
mod http2;
mod listeners;
mod names;
mod settings;
mod slow;
mod stage;
