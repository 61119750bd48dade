//! The v1 dialect: each rule with its exact answer, and what v1 and v2 see of each other. There is no etcd that
//! speaks it any more.

mod keys;
mod watch;
