//! The nodes of the tree (files and directories), and the lookup of paths.

use bytes::Bytes;
use imbl::OrdMap;

use super::{TreeErrorKind, identity_arc::IdentityArc};

#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub(crate) created: u64,
    /// Index of the last change; constant for a directory.
    pub(crate) modified: u64,
    /// Absolute expiration in Unix nanoseconds.
    pub(crate) expires_ns: Option<i64>,
    pub(crate) body: NodeBody,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeBody {
    File(Bytes),
    Dir(Children),
}

pub(crate) type NodeRef = IdentityArc<Inode>;
/// Children by name, in the byte order of listings.
pub(crate) type Children = OrdMap<Bytes, NodeRef>;

/// The failed lookup of a path.
#[derive(Debug)]
pub(crate) struct LookupError {
    pub(crate) kind: TreeErrorKind,
    pub(crate) cause: Bytes,
}

impl Inode {
    /// Creates an empty directory at `index` that does not expire.
    pub(crate) fn dir(index: u64) -> Self {
        let body = NodeBody::Dir(Children::new());
        Self { created: index, modified: index, expires_ns: None, body }
    }

    pub(crate) fn is_dir(&self) -> bool {
        matches!(self.body, NodeBody::Dir(_))
    }

    /// Returns the children of a directory, or `None` for a file.
    pub(crate) fn children(&self) -> Option<&Children> {
        match &self.body {
            NodeBody::File(_) => None,
            NodeBody::Dir(children) => Some(children),
        }
    }
}

/// The root directory.
impl Default for Inode {
    fn default() -> Self {
        Self::dir(0)
    }
}

/// Iterates over the non-empty components of an absolute path, each with the offset of its end. Skips text before the first
/// slash.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    path.split(|byte| *byte == b'/')
        .skip(1)
        .scan(0, |end, name| {
            *end += 1 + name.len();
            Some((*end, name))
        })
        .filter(|(_, name)| !name.is_empty())
}

/// Returns a cleaned copy of a path, without text before the first slash, without empty components and without a trailing
/// slash. A path without components becomes `/`.
pub(crate) fn clean(path: &[u8]) -> Bytes {
    let mut clean = Vec::with_capacity(path.len());
    for (_, name) in components(path) {
        clean.push(b'/');
        clean.extend_from_slice(name);
    }
    if clean.is_empty() {
        clean.push(b'/');
    }
    clean.into()
}

/// Splits a cleaned path into the parent's path and the last component. The parent of `/a` is the empty path.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let at = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    (&path[..at], path.get(at + 1..).unwrap_or_default())
}

/// Returns the path relative to a directory, without a leading slash, or `None` if the path is not below the directory.
pub(crate) fn below<'a>(dir: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let dir = if dir == b"/" { &dir[..0] } else { dir };
    let rest = path.strip_prefix(dir)?.strip_prefix(b"/")?;
    (!rest.is_empty()).then_some(rest)
}

/// Returns whether a component of a path is hidden, because it starts with `_`.
pub(crate) fn is_hidden(name: &[u8]) -> bool {
    name.first() == Some(&b'_')
}

/// Returns the node at `path`. The error contains the first missing path, or the path of a file that should be a directory.
pub(crate) fn find<'a>(root: &'a NodeRef, path: &[u8]) -> Result<&'a NodeRef, LookupError> {
    let mut current = root;
    let mut parent_end = 0;
    for (end, name) in components(path) {
        let Some(children) = current.children() else {
            let cause = Bytes::copy_from_slice(&path[..parent_end]);
            return Err(LookupError { kind: TreeErrorKind::NotDir, cause });
        };
        let Some(child) = children.get(name) else {
            let cause = Bytes::copy_from_slice(&path[..end]);
            return Err(LookupError { kind: TreeErrorKind::KeyNotFound, cause });
        };
        current = child;
        parent_end = end;
    }
    Ok(current)
}

/// Returns the node at `path` for writing. Copies the shared nodes on the path. Returns `None` if the node does not exist.
pub(crate) fn find_mut<'a>(root: &'a mut NodeRef, path: &[u8]) -> Option<&'a mut Inode> {
    let mut current = root.make_mut();
    for (_, name) in components(path) {
        let NodeBody::Dir(children) = &mut current.body else {
            return None;
        };
        current = children.get_mut(name)?.make_mut();
    }
    Some(current)
}

/// Returns the children of the directory `path` for writing. Creates missing directories with `index`. If a component is a
/// file, returns `None` but keeps the created directories. The caller must therefore check with [`find`] first.
pub(crate) fn make_dirs<'a>(
    root: &'a mut NodeRef,
    path: &[u8],
    index: u64,
) -> Option<&'a mut Children> {
    let mut current = root.make_mut();
    for (_, name) in components(path) {
        let NodeBody::Dir(children) = &mut current.body else {
            return None;
        };
        if !children.contains_key(name) {
            children.insert(
                Bytes::copy_from_slice(name),
                NodeRef::new(Inode::dir(index)),
            );
        }
        current = children
            .get_mut(name)
            .expect("inserted if it was not there")
            .make_mut();
    }
    match &mut current.body {
        NodeBody::File(_) => None,
        NodeBody::Dir(children) => Some(children),
    }
}

/// Calls `each` with the node `link` at `path` and each of its descendants: parents first, children in order. Restores `path`.
pub(crate) fn visit(path: &mut Vec<u8>, link: &NodeRef, each: &mut dyn FnMut(&[u8], &Inode)) {
    each(path, link);
    for (name, child) in link.children().into_iter().flatten() {
        let length = path.len();
        path.push(b'/');
        path.extend_from_slice(name);
        visit(path, child, each);
        path.truncate(length);
    }
}
