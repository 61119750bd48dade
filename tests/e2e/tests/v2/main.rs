//! Cases that the recorded answers (`pairs`) and the differential test do not cover: clients that wait, disconnect, send slowly
//! or use an older protocol, kills, several connections and several members.

mod auth;
mod members;
mod watch;
mod wire;
