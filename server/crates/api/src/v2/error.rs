//! The error table of `/v2/keys`: code, message and HTTP status, which never change, because clients depend on them.

use crate::error_table::error_table;

error_table! {
    /// The field `cause` contains the first missing path.
    KeyNotFound = 100, 404, "Key not found";
    /// The field `cause` contains `[expected != actual]`, once or twice.
    CompareFailed = 101, 412, "Compare failed";
    /// The field `cause` contains the path.
    NotFile = 102, 403, "Not a file";
    /// The field `cause` contains the component of the path that is a file.
    NotDir = 104, 400, "Not a directory";
    /// The field `cause` contains the path.
    NodeExists = 105, 412, "Key already exists";
    /// The field `cause` contains `/`.
    RootReadOnly = 107, 400, "Root is read only";
    /// The field `cause` contains the path.
    DirNotEmpty = 108, 403, "Directory not empty";
    /// Credentials are missing, wrong or insufficient.
    Unauthorized = 110, 401, "The request requires user authentication";
    /// `prevValue` is given and empty.
    PrevValueRequired = 201, 400, "PrevValue is Required in POST form";
    /// `ttl` is not a number.
    TtlNotNumber = 202, 400, "The given TTL in POST form is not a number";
    /// `prevIndex` or `waitIndex` is not a number.
    IndexNotNumber = 203, 400, "The given index in POST form is not a number";
    /// A parameter has an invalid value, or the method does not permit the parameter.
    InvalidField = 209, 400, "Invalid field";
    /// The media type is invalid, or the query or the form cannot be decoded.
    InvalidForm = 210, 400, "Invalid POST form";
    /// The refresh has a value.
    RefreshValue = 211, 400, "Value provided on refresh";
    /// The refresh has no TTL.
    RefreshTtlRequired = 212, 400, "A TTL must be provided on refresh";
    /// The cluster did not answer in time, or the request failed for the reason in the field `cause`. A write may or may not
    /// have been executed.
    RaftInternal = 300, 500, "Raft Internal Error";
    /// The quota, the disk space or the memory budget is exhausted, or a discovery token is full. etcd has no such limits for
    /// v2. With status 500, etcd's client would report that there is no leader.
    NoSpace = 302, 507, "Insufficient storage";
    /// The watch begins before the oldest event in the history.
    HistoryCleared = 401, 400, "The event in requested index is outdated and cleared";
}
