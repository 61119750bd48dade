//! etcd's store of v2 with all of its namespaces: `/0` the members and the version of the cluster, `/1` the keys of
//! users, `/2` users and roles of v2. It is read from a snapshot of etcd's data directory, executes the entries of
//! etcd's log after it, and becomes our state.
//!
//! All namespaces stay one tree until the end because they share one index: each write that succeeds advances it, be
//! it of a key, of a member's attributes or of a user, and one that fails does not.
//!
//! Not here: etcd's files and its log.
//!
//! Reading order: this file → `json` (the snapshot) → `request` (the log) → `members`, `auth` (what `/0` and `/2` say).

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

pub use request::{V2Change, change};

/// Where users' keys are.
const KEYS: &str = "/1";

/// Nodes that etcd never writes itself; below the namespaces it writes.
const READ_ONLY: [&str; 3] = ["/", "/0", KEYS];

/// The store, or a node of `/0` or `/2`, is not what etcd writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("etcd's v2 store: {0}")]
pub struct V2StoreError(String);

/// etcd's store of v2.
#[derive(Clone, Debug)]
pub struct V2Store {
    tree: Tree,
}

impl Default for V2Store {
    /// The store before the first entry of the log, for a data directory without a snapshot.
    fn default() -> Self {
        let mut tree = Tree::at_index(0).expect("0 is a small index");
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

    /// Executes a request of the log in its namespace. A request that does not remove expired nodes says no time, which only
    /// the remaining seconds that events of nodes with a TTL show depend on.
    pub fn apply(&mut self, request: &RequestV2) {
        let path = path::clean(&request.path);
        let writes_path = request.method == "PUT" || request.method == "DELETE";
        let is_read_only = READ_ONLY.iter().any(|known| known.as_bytes() == path);
        if (writes_path && is_read_only) || self.is_of_removed_member(request) {
            return;
        }
        if let Some(operation) = request::operation(request, request.path.clone()) {
            let command = TreeCommand { operation: Some(operation) };
            // as in etcd, what failed has changed nothing
            let _ = self.tree.apply(&command, request.time);
        }
    }

    /// Returns the keys of users with their history, at the index of the whole store.
    pub fn keys(&self) -> Tree {
        self.tree.subtree(KEYS.as_bytes())
    }

    /// Executes an operation on permanent nodes; returns whether it succeeded.
    fn write(&mut self, operation: TreeOperation) -> bool {
        let command = TreeCommand { operation: Some(operation) };
        self.tree.apply(&command, 0).is_ok()
    }

    /// Returns all files below a directory with their paths in it.
    fn files(&self, dir: &str) -> Result<Vec<(String, Bytes)>, V2StoreError> {
        let files = self.tree.files_below(dir.as_bytes()).into_iter();
        let named = files.map(|(path, value)| match String::from_utf8(path.to_vec()) {
            Ok(path) => Ok((path, value)),
            Err(_) => Err(V2StoreError(format!("{dir}: a name is not UTF-8"))),
        });
        named.collect()
    }

    /// Returns the value of a file; `None` if there is no such file.
    fn value(&self, path: &str) -> Option<Bytes> {
        self.tree.get(path.as_bytes(), false, 0).ok()?.node.value
    }
}

/// Reads the JSON that a file has as its value.
fn decode<T: serde::de::DeserializeOwned>(path: &str, value: &[u8]) -> Result<T, V2StoreError> {
    serde_json::from_slice(value).map_err(|error| V2StoreError(format!("{path}: {error}")))
}
