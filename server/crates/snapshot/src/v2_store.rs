//! etcd's v2 store with all of its namespaces. `/0` contains the members and the cluster version, `/1` the users' keys, and
//! `/2` v2 users and roles. The store is read from a snapshot in etcd's data directory. The store then executes the later
//! entries of etcd's log and is converted to Witan's state.
//!
//! All namespaces share one index, which every successful write advances. Therefore, the namespaces stay in one tree until the
//! conversion. `witan_etcd` reads etcd's files and its log.
//!
//! Reading order: this file, `json` (the snapshot), `request` (the log), `members` and `auth` (the meaning of `/0` and `/2`).

mod auth;
mod json;
mod members;
mod request;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use witan_etcd::RequestV2;
use witan_gocompat::path;
use witan_tree::{ImportedNode, Tree, TreeCommand, TreeOperation, WriteCounts};

pub use request::{V2Change, as_witan_change};

/// Path of the directory with the users' keys.
const KEYS: &str = "/1";

/// Nodes that etcd's store refuses to set or delete. Requests can write only nodes below them.
const READ_ONLY: [&str; 3] = ["/", "/0", KEYS];

/// The store, or a node below `/0` or `/2`, has content that etcd never writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("etcd's v2 store: {0}")]
pub struct V2StoreError(String);

/// etcd's v2 store.
#[derive(Clone, Debug)]
pub struct V2Store {
    tree: Tree,
}

impl Default for V2Store {
    /// Returns the store as it is before the first log entry, for a data directory without a snapshot.
    fn default() -> Self {
        let mut tree = Tree::at_index(0).expect("0 is a valid index");
        for path in ["/0", KEYS] {
            let node = ImportedNode { path: path.into(), ..ImportedNode::default() };
            tree.import_node(node).expect("a directory of the root");
        }
        let done = tree.finish_import(WriteCounts::default());
        done.expect("there are no events");
        Self { tree }
    }
}

impl V2Store {
    /// Reads the data of a snapshot (`data` of `raftpb.Snapshot`).
    pub fn read(json: &[u8]) -> Result<Self, V2StoreError> {
        Ok(Self { tree: json::read(json)? })
    }

    /// Executes a request from the log in its namespace. Only requests that remove expired nodes have a time. In other
    /// requests, the missing time affects only the remaining TTLs in events. Reads, and requests that fail in etcd, change
    /// nothing.
    pub fn apply(&mut self, request: &RequestV2) {
        let path = path::clean(&request.path);
        let writes_path = request.method == "PUT" || request.method == "DELETE";
        let is_read_only = READ_ONLY.iter().any(|known| known.as_bytes() == path);
        // etcd ignores the attributes of a missing member.
        let published = request::published_member(request);
        let is_missing = published.is_some_and(|id| !self.has_member(id));
        if (writes_path && is_read_only) || is_missing {
            return;
        }
        if let Some(operation) = request::operation(request, request.path.clone()) {
            let command = TreeCommand { operation: Some(operation) };
            // As in etcd, a failed operation changes nothing.
            let _ = self.tree.apply(&command, request.time);
        }
    }

    /// Returns the users' keys with their history and the index of the entire store. In the history, remaining TTLs are
    /// replaced (see [`Tree::subtree`]).
    pub fn keys(&self) -> Tree {
        self.tree.subtree(KEYS.as_bytes())
    }

    /// Executes an operation on nodes without a TTL and returns whether the operation succeeded.
    fn write(&mut self, operation: TreeOperation) -> bool {
        let command = TreeCommand { operation: Some(operation) };
        self.tree.apply(&command, 0).is_ok()
    }

    /// Returns the relative paths and the values of all files below a directory, or nothing if the directory does not exist.
    /// Fails if a path is not UTF-8.
    fn files(&self, dir: &str) -> Result<Vec<(String, Bytes)>, V2StoreError> {
        let files = self.tree.files_below(dir.as_bytes()).into_iter();
        let named = files.map(|(path, value)| match String::from_utf8(path.to_vec()) {
            Ok(path) => Ok((path, value)),
            Err(_) => Err(V2StoreError(format!("{dir}: a name is not UTF-8"))),
        });
        named.collect()
    }

    /// Returns the value of the file at `path`, or `None` if there is no such file.
    fn value(&self, path: &str) -> Option<Bytes> {
        self.tree.get(path.as_bytes(), false, 0).ok()?.node.value
    }
}

fn decode<T: serde::de::DeserializeOwned>(path: &str, value: &[u8]) -> Result<T, V2StoreError> {
    serde_json::from_slice(value).map_err(|error| V2StoreError(format!("{path}: {error}")))
}
