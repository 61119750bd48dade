//! Version numbers: the API level, which clients parse, and Witan's own version.

/// The etcd release whose API this release serves. Clients parse each part as a number.
pub const API: &str = "3.7.3";

/// The storage version at this API level, as `/version` and Status show it.
pub const STORAGE: &str = "3.7.0";

/// The storage version of snapshots and the highest cluster version in them. Release 3.6 supports everything that release 3.7
/// stores. etcd does not start from a snapshot whose version is later than its own.
pub const SNAPSHOT: &str = "3.6.0";

/// Witan's own version.
pub const WITAN: &str = match cfg!(feature = "next-level") {
    true => "0.2.0-test",
    false => env!("CARGO_PKG_VERSION"),
};

/// Returns the body of `/version`. `cluster` is the cluster version, `level` the feature level of this release, and
/// `cluster_level` the feature level of the cluster. etcd's fields come first, byte for byte as in etcd.
pub fn page(cluster: &str, level: u32, cluster_level: u32) -> String {
    let etcd = format!(r#""etcdserver":"{API}","etcdcluster":"{cluster}","storage":"{STORAGE}""#);
    let own = format!(r#""witan":"{WITAN}","level":{level},"clusterLevel":{cluster_level}"#);
    format!("{{{etcd},{own}}}")
}

/// Returns the output of `--version`. The first line is etcd's, which test frameworks parse.
pub fn text() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("etcd Version: {API}\nWitan Version: {WITAN}\nOS/Arch: {os}/{arch}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_etcds_fields_and_then_witans() {
        let etcd = r#"{"etcdserver":"3.7.3","etcdcluster":"3.6.0","storage":"3.7.0","#;
        let own = format!(r#""witan":"{WITAN}","level":2,"clusterLevel":1}}"#);
        assert_eq!(page("3.6.0", 2, 1), format!("{etcd}{own}"));
    }
}
