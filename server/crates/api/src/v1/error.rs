//! The error table of v1: code, message and HTTP status, which never change. Codes 400 and 500 mean something else in v2.

use crate::error_table::error_table;

error_table! {
    /// The field `cause` contains the key.
    KeyNotFound = 100, 404, "Key Not Found";
    /// The field `cause` contains `TestAndSet: actual!=given`.
    TestFailed = 101, 400, "The given PrevValue is not equal to the value of the key";
    /// The field `cause` contains the key.
    NotFile = 102, 400, "Not A File";
    /// The field `cause` contains the request.
    ValueRequired = 200, 400, "Value is Required in POST form";
    /// The field `cause` contains the request.
    TtlNotNumber = 202, 400, "The given TTL in POST form is not a number";
    /// The field `cause` contains the request.
    IndexNotNumber = 203, 400, "The given index in POST form is not a number";
    /// The cluster did not answer in time. A write may or may not have been executed.
    RaftInternal = 300, 500, "Raft Internal Error";
    /// There is no leader.
    LeaderElection = 301, 500, "During Leader Election";
    /// The field `cause` contains the request.
    Keyword = 400, 400, "The prefix of the given key is a keyword in etcd";
    /// The member stopped before the watch had an event.
    WatcherCleared = 500, 500, "watcher is cleared due to etcd recovery";
}
