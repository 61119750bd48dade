//! How nodes look in answers: hidden children left out, children sorted, ttl rounded up.

use bytes::Bytes;

use super::{
    Action, Event, Node, Tree, TreeError,
    inode::{Children, Inode, NodeBody, clean, find, is_hidden},
};

const NS_PER_S: i64 = 1_000_000_000;

/// How many levels below a directory are listed.
#[derive(Clone, Copy)]
pub(crate) enum ListingDepth {
    Nothing,
    Children,
    Everything,
}

impl Tree {
    /// Reads one node; a directory with one level of children, or all levels if `recursive`.
    pub fn get(&self, path: &[u8], recursive: bool, now_ns: i64) -> Result<Event, TreeError> {
        let link = find(&self.root, path).map_err(|miss| self.lookup_failed(miss))?;
        let depth = if recursive {
            ListingDepth::Everything
        } else {
            ListingDepth::Children
        };
        let path = clean(path);
        // The root shows no key.
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

    /// Whether there are more than `nodes` nodes in a directory, or with `recursive` anywhere below it,
    /// hidden ones included; `false` if there is no such directory.
    pub fn lists_more_than(&self, path: &[u8], recursive: bool, nodes: usize) -> bool {
        let Ok(link) = find(&self.root, path) else {
            return false;
        };
        let mut left = nodes;
        !within_limit(link, recursive, &mut left)
    }
}

/// Subtracts the children of a node, or with `recursive` all nodes below it, from `left`; `false` if there
/// are more.
fn within_limit(inode: &Inode, recursive: bool, left: &mut usize) -> bool {
    let Some(children) = inode.children() else {
        return true;
    };
    let Some(rest) = left.checked_sub(children.len()) else {
        return false;
    };
    *left = rest;
    !recursive
        || children
            .values()
            .all(|child| within_limit(child, true, left))
}

/// The node as an answer shows it at `now_ns`.
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

/// The visible children as an answer shows them: without hidden ones, and with expired ones until an
/// applied command removes them. `None` if `depth` asks for none or none is visible.
fn list(children: &Children, path: &[u8], depth: ListingDepth, now_ns: i64) -> Option<Vec<Node>> {
    let deeper = match depth {
        ListingDepth::Nothing => return None,
        ListingDepth::Children => ListingDepth::Nothing,
        ListingDepth::Everything => ListingDepth::Everything,
    };
    let visible = children.iter().filter(|(name, _)| !is_hidden(name));
    let nodes: Vec<Node> = visible
        .map(|(name, child)| show(child, [path, b"/", name].concat().into(), deeper, now_ns))
        .collect();
    (!nodes.is_empty()).then_some(nodes)
}

/// Remaining seconds, rounded up; negative once expiry is more than a second late.
pub(crate) fn remaining_s(expires_ns: i64, now_ns: i64) -> i64 {
    let left_ns = expires_ns.saturating_sub(now_ns);
    left_ns / NS_PER_S + i64::from(left_ns % NS_PER_S > 0)
}
