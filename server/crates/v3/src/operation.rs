//! Requests as operations of the state machine, for a caller that only executes them: the log of etcd, which is adopted.

pub use crate::{
    auth::permission,
    kv::{delete_range::operation as delete_range, put::operation as put, txn::operation as txn},
};
