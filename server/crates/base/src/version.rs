//! Version numbers: the API level, which clients parse, and Witan's own version.

/// The etcd release whose API is served. It is numeric, because clients convert each part to a number.
pub const API: &str = "3.7.3";

/// The layout of stored data at this API level, as shown by `/version` and Status.
pub const STORAGE: &str = "3.7.0";

/// The layout in snapshots, and the latest cluster version in them. Release 3.7 stores nothing that 3.6 does not support, and
/// etcd starts from no snapshot of a later version than its own.
pub const SNAPSHOT: &str = "3.6.0";

/// Witan's own version.
pub const WITAN: &str = env!("CARGO_PKG_VERSION");

/// Returns the body of `/version`, on the ports of clients and of members.
pub fn page(cluster: &str) -> String {
    format!(r#"{{"etcdserver":"{API}","etcdcluster":"{cluster}","storage":"{STORAGE}"}}"#)
}

/// Returns the output of `--version`. The first line is etcd's, which test frameworks parse.
pub fn text() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("etcd Version: {API}\nWitan Version: {WITAN}\nOS/Arch: {os}/{arch}\n")
}
