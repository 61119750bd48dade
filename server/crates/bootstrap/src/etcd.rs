//! Refuses to bootstrap or join a cluster that has etcd members. The peer protocol and the log of etcd differ: this member
//! would wait forever, and the etcd members would count it toward the quorum.

use futures_util::future::join_all;
use witan_config::Url;
use witan_peer::{PeerDialer, query};

/// Another member of the cluster runs etcd. Contains its URL.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} is an etcd member, and Witan cannot join a cluster with etcd members. If this member was added there, \
     remove it again (etcdctl member remove). To move to Witan, start a new cluster that follows the etcd cluster \
     (witan follow --from URL), adopt the data of all its members (witan adopt), or restore a snapshot of it \
     (etcdctl snapshot save FILE, witan snapshot restore FILE)"
)]
pub struct EtcdMember(String);

impl EtcdMember {
    /// Exit code of the process for this error.
    pub const EXIT_CODE: i32 = 38;
}

/// Queries the members at these URLs. Fails if one of them runs etcd. Ignores unreachable members.
pub(super) async fn refuse(urls: &[&Url], dialer: &PeerDialer) -> Result<(), EtcdMember> {
    let answers = join_all(urls.iter().map(|url| query::is_etcd(url, dialer))).await;
    let mut found = urls.iter().zip(answers);
    match found.find(|(_, is_etcd)| *is_etcd) {
        Some((url, _)) => Err(EtcdMember(url.to_string())),
        None => Ok(()),
    }
}
