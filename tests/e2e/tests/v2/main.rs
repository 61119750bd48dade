//! Cases that the recorded answers (`pairs`) and the differential test do not cover. Clients wait, disconnect, send slowly or
//! use an older protocol. Servers are killed, and there are several connections or members.

mod auth;
mod members;
mod watch;
mod wire;
