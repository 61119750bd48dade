//! The difference between two states of the tree, as checkpoint records. Shared subtrees are skipped, so the cost is
//! proportional to the number of changes.

use imbl::ordmap::DiffItem;

use super::{
    EmitRecord, Tree,
    checkpoint::{changed_events, node_key, put_meta, put_node},
    inode::{Children, Inode, NodeRef, visit},
};

impl Tree {
    /// Emits the records that changed since `since`, with `None` for a removed node or an evicted event. Emits all records if
    /// `since` is `None`.
    pub fn changes(&self, since: Option<&Tree>, emit: &mut EmitRecord<'_>) {
        let nothing = Tree::default();
        let old = since.unwrap_or(&nothing);
        changed_events(old, self, emit);
        if since.is_none() || old.index != self.index || old.counts != self.counts {
            put_meta(self, emit);
        }
        below(
            &mut Vec::new(),
            old.root.children(),
            self.root.children(),
            emit,
        );
    }
}

/// Emits the changes below the directory at `path`. `old` or `new` is `None` if the path is not a directory in that state.
/// Restores `path`.
fn below(
    path: &mut Vec<u8>,
    old: Option<&Children>,
    new: Option<&Children>,
    emit: &mut EmitRecord<'_>,
) {
    let none = Children::new();
    let length = path.len();
    for item in old.unwrap_or(&none).diff(new.unwrap_or(&none)) {
        let (DiffItem::Add(name, _)
        | DiffItem::Remove(name, _)
        | DiffItem::Update { new: (name, _), .. }) = item;
        path.push(b'/');
        path.extend_from_slice(name);
        match item {
            DiffItem::Add(_, link) => put_all(path, link, emit),
            DiffItem::Remove(_, link) => visit(path, link, &mut |path, _| {
                emit(node_key(path), None);
            }),
            DiffItem::Update { old: (_, old), new: (_, new) } => {
                if !same_record(old, new) {
                    put_node(path, new, emit);
                }
                below(path, old.children(), new.children(), emit);
            }
        }
        path.truncate(length);
    }
}

/// Emits the records of a node and all its descendants.
fn put_all(path: &mut Vec<u8>, link: &NodeRef, emit: &mut EmitRecord<'_>) {
    visit(path, link, &mut |path, inode| put_node(path, inode, emit));
}

/// Returns whether both nodes are directories with equal records. A change copies all parent directories, and most of their
/// records stay equal.
fn same_record(old: &Inode, new: &Inode) -> bool {
    old.is_dir()
        && new.is_dir()
        && (old.created, old.modified, old.expires_ns)
            == (new.created, new.modified, new.expires_ns)
}
