//! The error table of v1: code, message and HTTP status, which never change. Codes 400 and 500 mean something else in v2.
//! `Cause` is the content of the field `cause` in the response.

use crate::error_table::error_table;

error_table! {
    /// Cause: the key.
    KeyNotFound = 100, 404, "Key Not Found";
    /// Cause: `TestAndSet: actual!=given`.
    TestFailed = 101, 400, "The given PrevValue is not equal to the value of the key";
    /// Cause: the key.
    NotFile = 102, 400, "Not A File";
    /// Cause: the request.
    ValueRequired = 200, 400, "Value is Required in POST form";
    /// Cause: the request.
    TtlNotNumber = 202, 400, "The given TTL in POST form is not a number";
    /// Cause: the request.
    IndexNotNumber = 203, 400, "The given index in POST form is not a number";
    /// The cluster did not answer in time. A write may or may not have been executed.
    RaftInternal = 300, 500, "Raft Internal Error";
    /// There is no leader.
    LeaderElection = 301, 500, "During Leader Election";
    /// Cause: the request.
    Keyword = 400, 400, "The prefix of the given key is a keyword in etcd";
    /// The member stopped before the watch had an event.
    WatcherCleared = 500, 500, "watcher is cleared due to etcd recovery";
}
