//! Version numbers: the API level, which clients parse, and Witan's own.

/// The etcd whose API is served; numeric only, because clients turn each part into a number.
pub const API: &str = "3.7.3";

/// The layout of stored data that this API level has, as `/version` and Status name it.
pub const STORAGE: &str = "3.7.0";

/// The layout that snapshots name, and the latest version of a cluster in them: 3.7 stores nothing that 3.6 does not
/// know, and etcd starts from no snapshot of a later version than its own.
pub const SNAPSHOT: &str = "3.6.0";

/// Our own version.
pub const WITAN: &str = env!("CARGO_PKG_VERSION");

/// Returns the body of `/version`, on the ports of clients and of members.
pub fn page(cluster: &str) -> String {
    format!(r#"{{"etcdserver":"{API}","etcdcluster":"{cluster}","storage":"{STORAGE}"}}"#)
}

/// Returns what `--version` prints: the first line is etcd's, which test frameworks parse.
pub fn text() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("etcd Version: {API}\nWitan Version: {WITAN}\nOS/Arch: {os}/{arch}\n")
}
