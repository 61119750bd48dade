//! Hostile or broken clients against a real server. Each client must get an error or a closed connection, the server's memory
//! must stay within a bound, and another client must be served. Each case writes one row to stderr.

mod bodies;
mod framing;
mod h2;
mod kept;
mod large;
mod long;
mod many;
mod pings;
mod shares;
mod slow;
mod stage;
mod streamed;
mod txn;
mod unread;
mod views;
mod watchers;
mod work;
