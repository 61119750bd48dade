//! Cases that neither the recorded answers (`pairs`) nor the differential test has: clients that wait, disconnect, send
//! slowly or use an older protocol, kills, several connections and several members.

mod auth;
mod members;
mod watch;
mod wire;
