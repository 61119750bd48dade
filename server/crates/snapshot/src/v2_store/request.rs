//! The requests of v2 in etcd's log, and what each of them does.

use bytes::Bytes;
use witan_machine::command::{ClusterVersion, PublishAttributes};
use witan_tree::{
    CompareAndDelete, CompareAndSwap, Create, Delete, ExpireNodes, Set, TreeOperation, Update,
};

use super::{
    KEYS, V2Store, V2StoreError,
    members::{self, VERSION},
};

/// 2000-01-01: a new node with an earlier expiration is permanent in etcd.
const EXPIRATION_MIN_NS: i64 = 946_684_800_000_000_000;

/// A request as it is in the log (`etcdserverpb.Request`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V2Request {
    /// `PUT`, `POST`, `DELETE`, `SYNC` (removes expired nodes), or `QGET` (a read).
    pub method: String,
    /// With the namespace.
    pub path: Bytes,
    /// `Val`.
    pub value: Bytes,
    /// Whether the node is a directory.
    pub dir: bool,
    /// Empty for no condition.
    pub prev_value: Bytes,
    /// 0 for no condition.
    pub prev_index: u64,
    /// Whether the node must or must not exist.
    pub prev_exist: Option<bool>,
    /// `Expiration`, Unix nanoseconds; 0 for none.
    pub expires_ns: i64,
    /// `Time`, Unix nanoseconds: up to when `SYNC` removes nodes.
    pub time_ns: i64,
    /// Whether the value stays and no watcher is told; absent counts as `false`.
    pub refresh: bool,
    /// Whether a directory is deleted with everything in it.
    pub recursive: bool,
}

/// A request of etcd's log, translated to our log.
#[derive(Clone, Debug, PartialEq)]
pub enum V2Change {
    /// An operation on keys of users. One that removes expired nodes needs [`V2Request::time_ns`] as its stamp.
    Tree(TreeOperation),
    /// A member's attributes.
    Publish(PublishAttributes),
    /// The version of the cluster.
    ClusterVersion(ClusterVersion),
    /// A change of users and roles of v2: the whole new contents of a node, which no single operation of ours
    /// expresses. Only [`V2Store::apply`] executes it.
    Auth,
    /// A read, or a method that etcd does not know.
    Nothing,
}

impl V2Request {
    /// Returns the command of our log that does what the request does; fails if the attributes of a member cannot be
    /// read.
    pub fn change(&self) -> Result<V2Change, V2StoreError> {
        let path = &self.path[..];
        if self.is_set() && path == VERSION.as_bytes() {
            let version = String::from_utf8_lossy(&self.value).into_owned();
            return Ok(V2Change::ClusterVersion(ClusterVersion { version }));
        }
        if let Some(id) = self.published_member() {
            return Ok(V2Change::Publish(members::publish(id, &self.value)?));
        }
        let below_keys = match path.strip_prefix(KEYS.as_bytes()) {
            Some([]) => Some(Bytes::from_static(b"/")),
            Some(rest) if rest[0] == b'/' => Some(self.path.slice(KEYS.len()..)),
            Some(_) | None if self.method == "SYNC" => Some(Bytes::new()),
            Some(_) | None => None,
        };
        let Some(path) = below_keys else {
            return Ok(match self.operation(Bytes::new()) {
                Some(_) => V2Change::Auth,
                None => V2Change::Nothing,
            });
        };
        Ok(self
            .operation(path)
            .map_or(V2Change::Nothing, V2Change::Tree))
    }

    /// Returns the operation on the node at `path`, chosen as etcd does; `None` if the request writes nothing.
    pub(super) fn operation(&self, path: Bytes) -> Option<TreeOperation> {
        let prev_value = Some(self.prev_value.clone()).filter(|value| !value.is_empty());
        let prev_index = Some(self.prev_index).filter(|index| *index != 0);
        let conditional = prev_value.is_some() || prev_index.is_some();
        let expires_ns = Some(self.expires_ns).filter(|expires_ns| *expires_ns != 0);
        let new_expires_ns = expires_ns.filter(|expires_ns| *expires_ns >= EXPIRATION_MIN_NS);
        let (value, dir, refresh) = (self.value.clone(), self.dir, self.refresh);
        let create = |path, value, in_order| {
            let expires_ns = new_expires_ns;
            TreeOperation::Create(Create { path, value, dir, expires_ns, in_order })
        };
        Some(match (self.method.as_str(), self.prev_exist) {
            ("PUT", Some(false)) => create(path, value, false),
            ("PUT", Some(true) | None) if conditional => {
                TreeOperation::CompareAndSwap(CompareAndSwap {
                    path,
                    value,
                    expires_ns,
                    refresh,
                    prev_value,
                    prev_index,
                })
            }
            ("PUT", Some(true)) => {
                TreeOperation::Update(Update { path, value, expires_ns, refresh })
            }
            ("PUT", None) => {
                let expires_ns = new_expires_ns;
                TreeOperation::Set(Set { path, value, dir, expires_ns, refresh })
            }
            ("POST", _) => create(path, value, true),
            ("DELETE", _) if conditional => {
                TreeOperation::CompareAndDelete(CompareAndDelete { path, prev_value, prev_index })
            }
            ("DELETE", _) => {
                let recursive = self.recursive;
                TreeOperation::Delete(Delete { path, dir, recursive })
            }
            ("SYNC", _) => TreeOperation::Expire(ExpireNodes {}),
            _ => return None,
        })
    }

    /// Whether the request sets a node without conditions.
    fn is_set(&self) -> bool {
        let conditional = self.prev_index != 0 || !self.prev_value.is_empty();
        self.method == "PUT" && self.prev_exist.is_none() && !conditional
    }

    /// The id of the member whose attributes the request sets.
    fn published_member(&self) -> Option<u64> {
        let path = std::str::from_utf8(&self.path).ok()?;
        let id = path.strip_prefix(members::MEMBERS)?.strip_prefix('/')?;
        let id = id.strip_suffix(members::ATTRIBUTES)?.strip_suffix('/')?;
        self.is_set()
            .then(|| u64::from_str_radix(id, 16).ok())
            .flatten()
    }
}

impl V2Store {
    /// Whether the request sets the attributes of a member that is not there: etcd ignores it.
    pub(super) fn is_of_removed_member(&self, request: &V2Request) -> bool {
        let id = request.published_member();
        id.is_some_and(|id| !self.has_member(id))
    }
}
