//! Refuses to bootstrap or join a cluster that has etcd members: their peer protocol and log differ, so this member
//! would wait without end while etcd counts it for its quorum.

use futures_util::future::join_all;
use witan_config::Url;
use witan_peer::{PeerDialer, query};

/// Another member runs etcd.
#[derive(Debug, thiserror::Error)]
#[error(
    "what answers at {0} is a member of etcd, and this program cannot be in one cluster with it. If this member \
     was added there, remove it again (etcdctl member remove). To move to Witan, restore a snapshot of that \
     cluster (etcdctl snapshot save FILE, witan snapshot restore FILE), or begin a cluster of its own and copy \
     the keys (etcdctl make-mirror)"
)]
pub struct EtcdMember(String);

impl EtcdMember {
    /// Exit code of the process that this ends.
    pub const EXIT_CODE: i32 = 38;
}

/// Asks the members at these URLs; an error if one of them runs etcd. Members that do not answer are ignored.
pub async fn refuse(urls: &[&Url], dialer: &PeerDialer) -> Result<(), EtcdMember> {
    let answers = join_all(urls.iter().map(|url| query::is_etcd(url, dialer))).await;
    let mut found = urls.iter().zip(answers);
    match found.find(|(_, is_etcd)| *is_etcd) {
        Some((url, _)) => Err(EtcdMember(url.to_string())),
        None => Ok(()),
    }
}
