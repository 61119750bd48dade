//! Version numbers: the API level, which clients parse, and Witan's own version.

/// The etcd release whose API is served. It must be numeric, because clients parse each part as a number.
pub const API: &str = "3.7.3";

/// The storage version at this API level, as `/version` and Status show it.
pub const STORAGE: &str = "3.7.0";

/// The storage version of snapshots, and the highest cluster version in them. Release 3.7 stores nothing that 3.6 does not
/// support, and etcd does not start from a snapshot of a later version.
pub const SNAPSHOT: &str = "3.6.0";

/// Witan's own version.
pub const WITAN: &str = env!("CARGO_PKG_VERSION");

/// Returns the body of `/version`. `cluster` is the cluster version.
pub fn page(cluster: &str) -> String {
    format!(r#"{{"etcdserver":"{API}","etcdcluster":"{cluster}","storage":"{STORAGE}"}}"#)
}

/// Returns the output of `--version`. The first line is etcd's, which test frameworks parse.
pub fn text() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("etcd Version: {API}\nWitan Version: {WITAN}\nOS/Arch: {os}/{arch}\n")
}
