//! The header of every answer.

use witan_api::v3::etcdserverpb::ResponseHeader;

use crate::node::Node;

/// A header with a revision.
#[expect(
    clippy::unnecessary_wraps,
    reason = "messages are optional in every answer"
)]
pub(super) fn at(node: &Node, revision: i64) -> Option<ResponseHeader> {
    let identity = node.identity();
    Some(ResponseHeader {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        revision,
        raft_term: node.status().term,
    })
}

/// A header without a revision, for calls on the cluster.
pub(super) fn bare(node: &Node) -> Option<ResponseHeader> {
    at(node, 0)
}
