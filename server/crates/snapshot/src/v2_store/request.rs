//! The v2 requests in etcd's log.

use bytes::Bytes;
use witan_etcd::RequestV2;
use witan_machine::command::{ClusterVersion, PublishAttributes};
use witan_tree::{CompareAndSwap, Create, ExpireNodes, Set, TreeOperation, WriteMethod};

use super::{
    KEYS, V2StoreError,
    members::{self, VERSION},
};

/// 2000-01-01 in Unix nanoseconds. etcd makes a new node with an earlier expiration permanent.
const EXPIRATION_MIN_NS: i64 = 946_684_800_000_000_000;

/// A v2 request, as a change for Witan's log.
#[derive(Clone, Debug, PartialEq)]
pub enum V2Change {
    /// An operation on the users' keys. An operation that removes expired nodes needs [`RequestV2::time`] as its stamp.
    Tree(TreeOperation),
    /// Sets a member's attributes.
    Publish(PublishAttributes),
    /// Sets the cluster version.
    ClusterVersion(ClusterVersion),
    /// Writes another node, such as a v2 user or role. Only [`super::V2Store::apply`] can execute the request.
    Auth,
    /// A read, or a method that etcd does not support.
    Nothing,
}

/// Returns the change in Witan's log that has the same effect as the request. Fails if a member's attributes are invalid.
pub fn as_witan_change(request: &RequestV2) -> Result<V2Change, V2StoreError> {
    let path = &request.path[..];
    if is_set(request) && path == VERSION.as_bytes() {
        let version = String::from_utf8_lossy(&request.val).into_owned();
        return Ok(V2Change::ClusterVersion(ClusterVersion::of(version)));
    }
    if let Some(id) = published_member(request) {
        return Ok(V2Change::Publish(members::parse_attributes(
            id,
            &request.val,
        )?));
    }
    let below_keys = match path.strip_prefix(KEYS.as_bytes()) {
        Some([]) => Some(Bytes::from_static(b"/")),
        Some(rest) if rest[0] == b'/' => Some(request.path.slice(KEYS.len()..)),
        Some(_) | None if request.method == "SYNC" => Some(Bytes::new()),
        Some(_) | None => None,
    };
    let Some(path) = below_keys else {
        return Ok(match operation(request, Bytes::new()) {
            Some(_) => V2Change::Auth,
            None => V2Change::Nothing,
        });
    };
    Ok(operation(request, path).map_or(V2Change::Nothing, V2Change::Tree))
}

/// Returns the operation on the node at `path` that etcd would choose, or `None` if the request writes nothing.
pub(super) fn operation(request: &RequestV2, path: Bytes) -> Option<TreeOperation> {
    let method = match request.method.as_str() {
        "PUT" => WriteMethod::Put,
        "POST" => WriteMethod::Post,
        "DELETE" => WriteMethod::Delete,
        "SYNC" => return Some(TreeOperation::Expire(ExpireNodes {})),
        _ => return None,
    };
    let write = CompareAndSwap {
        path,
        value: request.val.clone(),
        expires_ns: Some(request.expiration).filter(|expires_ns| *expires_ns != 0),
        refresh: request.refresh.unwrap_or_default(),
        prev_value: Some(request.prev_value.clone()).filter(|value| !value.is_empty()),
        prev_index: Some(request.prev_index).filter(|index| *index != 0),
    };
    let below = (request.dir, request.recursive);
    let mut operation = TreeOperation::choose(method, request.prev_exist, below, write);
    if let TreeOperation::Set(Set { expires_ns, .. })
    | TreeOperation::Create(Create { expires_ns, .. }) = &mut operation
    {
        *expires_ns = expires_ns.filter(|expires_ns| *expires_ns >= EXPIRATION_MIN_NS);
    }
    Some(operation)
}

/// Returns whether the request sets a node unconditionally.
fn is_set(request: &RequestV2) -> bool {
    let conditional = request.prev_index != 0 || !request.prev_value.is_empty();
    request.method == "PUT" && request.prev_exist.is_none() && !conditional
}

/// Returns the id of the member whose attributes the request sets, or `None` for any other request.
pub(super) fn published_member(request: &RequestV2) -> Option<u64> {
    let path = std::str::from_utf8(&request.path).ok()?;
    let id = path.strip_prefix(members::MEMBERS)?.strip_prefix('/')?;
    let id = id.strip_suffix(members::ATTRIBUTES)?.strip_suffix('/')?;
    is_set(request)
        .then(|| u64::from_str_radix(id, 16).ok())
        .flatten()
}
