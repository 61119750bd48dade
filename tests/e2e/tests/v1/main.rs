//! The v1 dialect: its rules with exact answers, and effects between v1 and v2. No current etcd release has v1.

mod keys;
mod watch;
