//! The header of every answer.

use witan_api::v3::etcdserverpb::ResponseHeader;

use crate::node::Node;

/// With the revision that the answer was made at.
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

/// Answers about the cluster carry no revision.
pub(super) fn bare(node: &Node) -> Option<ResponseHeader> {
    at(node, 0)
}
