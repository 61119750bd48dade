//! The v1 dialect: the page that taught it, replayed line by line, then each rule with its exact
//! answer, and what v1 and v2 see of each other. There is no etcd that speaks it any more.

#[path = "../seeds/curl.rs"]
mod curl;
mod keys;
mod page;
mod watch;
