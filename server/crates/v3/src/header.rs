//! Builds response headers.

use witan_api::v3::etcdserverpb::ResponseHeader;
use witan_machine::revision::Revision;
use witan_node::Node;

/// Builds a header with this revision, the cluster ID, the member ID and this member's current Raft term. Never returns `None`.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the field of a response is optional"
)]
pub(super) fn at(node: &Node, revision: Revision) -> Option<ResponseHeader> {
    let identity = node.identity();
    Some(ResponseHeader {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id.0,
        revision: revision.0,
        raft_term: node.status().term,
    })
}

/// Builds a header with revision 0, for membership calls.
pub(super) fn bare(node: &Node) -> Option<ResponseHeader> {
    at(node, Revision::NONE)
}
