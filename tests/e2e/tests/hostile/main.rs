//! Hostile or broken clients against a real server. Each ends with an error or a closed connection, the server's memory stays
//! within a stated bound, and another client continues its puts and gets. Each case writes one row to the error output,
//! uncaptured.

mod bodies;
mod compressed;
mod flood;
mod framing;
mod h2;
mod kept;
mod large;
mod long;
mod many;
mod overload;
mod pings;
mod sampled;
mod shares;
mod slow;
mod stage;
mod streamed;
mod turns;
mod txn;
mod unread;
mod views;
mod watchers;
mod work;
