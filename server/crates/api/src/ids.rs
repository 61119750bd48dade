//! Computes and formats IDs of members and clusters as etcd does, so that a cluster keeps its IDs when it migrates.

use sha1::{Digest as _, Sha1};

/// Computes a member's ID from its peer URLs, in any order, and the cluster token. For a member added at run time, `token` is
/// empty and `added_at` is the Unix time in seconds.
pub fn member_id<S: AsRef<str>>(peer_urls: &[S], token: &str, added_at: Option<i64>) -> u64 {
    let mut urls: Vec<&str> = peer_urls.iter().map(AsRef::as_ref).collect();
    urls.sort_unstable();
    let mut sum = Sha1::new();
    for url in urls {
        sum.update(url);
    }
    sum.update(token);
    if let Some(seconds) = added_at {
        sum.update(seconds.to_string());
    }
    first_eight(sum)
}

/// Computes a cluster's ID from its initial members' IDs, in any order.
pub fn cluster_id(members: &[u64]) -> u64 {
    first_eight(sum_of(members))
}

/// Computes a cluster's ID from its members' IDs and the random number `drawn`. A new number gives the same members a new
/// cluster ID.
pub fn drawn_cluster_id(members: &[u64], drawn: u64) -> u64 {
    let mut sum = sum_of(members);
    sum.update(drawn.to_be_bytes());
    first_eight(sum)
}

/// Returns the SHA-1 sum of the members' IDs in ascending order. Callers can add data before they finalize the sum.
fn sum_of(members: &[u64]) -> Sha1 {
    let mut members = members.to_vec();
    members.sort_unstable();
    let mut sum = Sha1::new();
    for member in members {
        sum.update(member.to_be_bytes());
    }
    sum
}

/// Formats an ID as lower-case hexadecimal without leading zeros.
pub fn hex(id: u64) -> String {
    format!("{id:x}")
}

/// Returns the first eight bytes of the sum as a big-endian number, as etcd does for IDs.
fn first_eight(sum: Sha1) -> u64 {
    let sum: [u8; 20] = sum.finalize().into();
    u64::from_be_bytes([
        sum[0], sum[1], sum[2], sum[3], sum[4], sum[5], sum[6], sum[7],
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(urls: &[&str]) -> (String, String) {
        let member = member_id(urls, "etcd-cluster", None);
        (hex(member), hex(cluster_id(&[member])))
    }

    #[test]
    fn ids_of_one_member_match_etcd() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            alone(&["http://localhost:2380"]),
            pair("8e9e05c52164694d", "cdf818194e3a8c32")
        );
        assert_eq!(
            alone(&["http://127.0.0.1:42380"]),
            pair("667880157b8812c8", "dc50b8daae93b3e0")
        );
        let two = ["http://localhost:7001", "http://localhost:2380"];
        assert_eq!(alone(&two), pair("ce2a822cea30bfca", "7e27652122e8b2ae"));
    }

    #[test]
    fn a_cluster_id_does_not_depend_on_the_order_of_the_members() {
        let a = cluster_id(&[0x45b967575ff25cb2, 0x3c828782a67e0043, 0xb26f1b9a6c735437]);
        let b = cluster_id(&[0xb26f1b9a6c735437, 0x45b967575ff25cb2, 0x3c828782a67e0043]);
        assert_eq!((hex(a).as_str(), a), ("34b660d543ad1445", b));
    }

    #[test]
    fn the_time_of_adding_changes_the_id() {
        let urls = ["http://localhost:2380"];
        let ids = [None, Some(1), Some(2)].map(|at| member_id(&urls, "", at));
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    }

    #[test]
    fn hex_has_no_leading_zeros() {
        assert_eq!(hex(0x2cf), "2cf");
    }
}
