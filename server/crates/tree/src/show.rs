//! Converts nodes to response form: hidden children are omitted, children are sorted, and TTLs are rounded up.

use bytes::Bytes;

use super::{
    Action, Event, Node, Tree, TreeError,
    inode::{Children, Inode, NodeBody, clean, find, is_hidden},
};

const NS_PER_S: i64 = 1_000_000_000;

/// The number of levels that a listing contains below a directory.
#[derive(Clone, Copy)]
pub(crate) enum ListingDepth {
    Nothing,
    Children,
    Everything,
}

impl ListingDepth {
    /// Returns the depth for a node's children, or `None` if the listing excludes them.
    fn below(self) -> Option<Self> {
        match self {
            Self::Nothing => None,
            Self::Children => Some(Self::Nothing),
            Self::Everything => Some(Self::Everything),
        }
    }
}

impl Tree {
    /// Reads one node. A directory includes its children, or all descendants if `recursive`, sorted and without hidden nodes.
    /// Includes expired nodes until a command removes them. Fails if the node is missing or a path component is a file.
    pub fn get(&self, path: &[u8], recursive: bool, now_ns: i64) -> Result<Event, TreeError> {
        let link = find(&self.root, path).map_err(|miss| self.lookup_failed(miss))?;
        let depth = listing_depth(recursive);
        let path = clean(path);
        // The root has no key.
        let path = if path == "/" { Bytes::new() } else { path };
        let node = show(link, path, depth, now_ns);
        Ok(Event {
            action: Action::Get,
            node,
            prev: None,
            index: self.index,
            refresh: false,
        })
    }

    /// Returns whether a directory has more than `nodes` children or, with `recursive`, descendants. Counts hidden nodes.
    /// Returns `false` if the directory does not exist.
    pub fn lists_more_than(&self, path: &[u8], recursive: bool, nodes: usize) -> bool {
        self.shows_more_than(path, recursive, nodes, usize::MAX)
    }

    /// Returns whether a read of `path` contains more than `nodes` nodes below it, or more than `bytes` bytes of paths and
    /// values in total. Counts hidden nodes. Returns `false` if the node does not exist.
    pub fn shows_more_than(
        &self,
        path: &[u8],
        recursive: bool,
        nodes: usize,
        bytes: usize,
    ) -> bool {
        let mut left = ListingLimit { nodes, bytes };
        let depth = listing_depth(recursive);
        find(&self.root, path).is_ok_and(|link| !left.take(link, path.len(), depth))
    }
}

/// The nodes and bytes that a listing may still contain.
struct ListingLimit {
    nodes: usize,
    bytes: usize,
}

impl ListingLimit {
    /// Subtracts the size in bytes (path and value) of a node and its listed descendants, and the number of these descendants.
    /// Returns `false` if the listing exceeds the limit; the remaining limit is then meaningless.
    fn take(&mut self, inode: &Inode, path_bytes: usize, depth: ListingDepth) -> bool {
        let subtract = |left: &mut usize, taken| {
            let rest = left.checked_sub(taken);
            *left = rest.unwrap_or_default();
            rest.is_some()
        };
        let children = match &inode.body {
            NodeBody::File(value) => return subtract(&mut self.bytes, path_bytes + value.len()),
            NodeBody::Dir(children) => children,
        };
        let fits = subtract(&mut self.bytes, path_bytes);
        let Some(deeper) = depth.below() else {
            return fits;
        };
        fits && subtract(&mut self.nodes, children.len())
            && children.iter().all(|(name, child)| {
                let path_bytes = path_bytes + 1 + name.len();
                self.take(child, path_bytes, deeper)
            })
    }
}

/// Returns the depth of a listing: all levels if `recursive`, otherwise only children.
fn listing_depth(recursive: bool) -> ListingDepth {
    if recursive {
        ListingDepth::Everything
    } else {
        ListingDepth::Children
    }
}

/// Returns the node in response form, with `path` as its path and its remaining TTL at `now_ns`.
pub(crate) fn show(inode: &Inode, path: Bytes, depth: ListingDepth, now_ns: i64) -> Node {
    let (value, nodes) = match &inode.body {
        NodeBody::File(value) => (Some(value.clone()), None),
        NodeBody::Dir(children) => (None, list(children, &path, depth, now_ns)),
    };
    Node {
        path,
        value,
        dir: inode.is_dir(),
        expires_ns: inode.expires_ns,
        ttl: inode
            .expires_ns
            .map_or(0, |expires_ns| remaining_s(expires_ns, now_ns)),
        nodes,
        modified: inode.modified,
        created: inode.created,
    }
}

/// Returns the visible children in response form, including expired ones, or `None` if no child is visible or `depth` excludes
/// children.
fn list(children: &Children, path: &[u8], depth: ListingDepth, now_ns: i64) -> Option<Vec<Node>> {
    let deeper = depth.below()?;
    let visible = children.iter().filter(|(name, _)| !is_hidden(name));
    let nodes: Vec<Node> = visible
        .map(|(name, child)| show(child, [path, b"/", name].concat().into(), deeper, now_ns))
        .collect();
    (!nodes.is_empty()).then_some(nodes)
}

/// Returns the remaining seconds, rounded up; negative if the node expired at least a second ago.
pub(crate) fn remaining_s(expires_ns: i64, now_ns: i64) -> i64 {
    let left_ns = expires_ns.saturating_sub(now_ns);
    left_ns / NS_PER_S + i64::from(left_ns % NS_PER_S > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Set;

    #[test]
    fn a_listing_is_limited_by_nodes_and_by_bytes() {
        let mut tree = Tree::default();
        for (path, bytes) in [("/d/a", 100), ("/d/_hidden", 10), ("/d/e/f", 1000)] {
            let (path, value) = (path.into(), vec![b'v'; bytes].into());
            let set = Set { path, value, ..Set::default() };
            tree.set(&set, 0).unwrap();
        }
        let table = [
            ("/d/a", true, 0, 104),
            ("/d", false, 3, 2 + 104 + 20 + 4),
            ("/d", true, 4, 2 + 104 + 20 + 4 + 1006),
        ];
        for (path, recursive, nodes, bytes) in table {
            let exceeds =
                |nodes, bytes| tree.shows_more_than(path.as_bytes(), recursive, nodes, bytes);
            assert!(!exceeds(nodes, bytes), "{path}");
            assert!(exceeds(nodes, bytes - 1), "{path}");
            assert!(nodes == 0 || exceeds(nodes - 1, bytes), "{path}");
        }
        assert!(!tree.shows_more_than(b"/none", true, 0, 0));
    }
}
