//! The error table of v1: code, message and HTTP status, which never change. Codes 400 and 500 mean something else in v2.

use crate::error_table::error_table;

error_table! {
    /// The field `cause` contains the key.
    KeyNotFound = 100, 404, "Key Not Found";
    /// The field `cause` contains `TestAndSet: actual!=given`.
    TestFailed = 101, 400, "The given PrevValue is not equal to the value of the key";
    /// The field `cause` contains the key.
    NotFile = 102, 400, "Not A File";
    /// The field `cause` contains the kind of request, or the reason why the form cannot be read.
    ValueRequired = 200, 400, "Value is Required in POST form";
    /// The field `cause` contains the kind of request, such as `Set`.
    TtlNotNumber = 202, 400, "The given TTL in POST form is not a number";
    /// The field `cause` contains the kind of request, such as `Set`.
    IndexNotNumber = 203, 400, "The given index in POST form is not a number";
    /// The cluster did not answer in time, or the request failed for the reason in the field `cause`. A write may or may not
    /// have been executed.
    RaftInternal = 300, 500, "Raft Internal Error";
    /// There is no leader.
    LeaderElection = 301, 500, "During Leader Election";
    /// The field `cause` contains the kind of request, such as `Set`.
    Keyword = 400, 400, "The prefix of the given key is a keyword in etcd";
    /// The member stopped, or the history lost the change, before the watch had an event. The field `cause` contains the key.
    WatcherCleared = 500, 500, "watcher is cleared due to etcd recovery";
}
