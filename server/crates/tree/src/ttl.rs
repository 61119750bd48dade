//! Expiration times in order. Checkpoints do not contain them, because they are derived from the nodes.

use bytes::Bytes;
use imbl::OrdSet;

use super::inode::{Inode, NodeRef, visit};

/// All nodes that expire, ordered by time, then by path. If a directory and its child expire at the same time, the directory
/// comes first, and its removal includes the child.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TtlQueue(OrdSet<(i64, Bytes)>);

impl TtlQueue {
    /// Adds a node's expiration time, if it has one.
    pub(crate) fn insert(&mut self, path: &Bytes, inode: &Inode) {
        if let Some(expires_ns) = inode.expires_ns {
            self.0.insert((expires_ns, path.clone()));
        }
    }

    /// Removes a node's expiration time, if it has one. Keeps its descendants' expiration times.
    pub(crate) fn remove(&mut self, path: &Bytes, inode: &Inode) {
        if let Some(expires_ns) = inode.expires_ns {
            self.0.remove(&(expires_ns, path.clone()));
        }
    }

    /// Removes the expiration times of a removed subtree.
    pub(crate) fn remove_all(&mut self, path: &[u8], link: &NodeRef) {
        if self.0.is_empty() {
            return;
        }
        visit(&mut path.to_vec(), link, &mut |path, inode| {
            if let Some(expires_ns) = inode.expires_ns {
                self.0.remove(&(expires_ns, Bytes::copy_from_slice(path)));
            }
        });
    }

    /// Iterates over the expiration times at or before `now_ns` in order, with the paths of the nodes.
    pub(crate) fn until(&self, now_ns: i64) -> impl Iterator<Item = &(i64, Bytes)> {
        self.0.iter().take_while(move |(at_ns, _)| *at_ns <= now_ns)
    }

    /// Returns the next expiration time and the path of its node. Returns `None` if no node expires.
    pub(crate) fn first(&self) -> Option<&(i64, Bytes)> {
        self.0.get_min()
    }
}
