//! What neither the recorded answers (`pairs`) nor the differential of v2 can ask: clients that wait, leave, send slowly
//! or are of another age, kills, several connections and several members.

mod auth;
mod members;
mod watch;
mod wire;
