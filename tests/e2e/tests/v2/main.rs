//! The v2 dialect: members, waiting clients and streams, and what curl sees on the wire. Recorded answers
//! are compared in `pairs`.

mod members;
mod watch;
mod wire;
