//! The v1 dialect: each rule with its exact answer, and the effects between v1 and v2. No current etcd release has v1.

mod keys;
mod watch;
