//! The tree as checkpoint records.
//!
//! The key of an event in the history is `h` and the big-endian index. The key of the metadata is `m`. The key of a node is `n`
//! and the path. Parents come before children in key order, because a path is a prefix of all paths below it. Every value ends
//! with the CRC-32 of key and contents.

use bytes::Bytes;
use prost::Message;

use super::{
    Action, CorruptTree, EmitRecord, Event, Node, Tree, WriteCounts,
    history::oldest,
    inode::{Children, Inode, NodeBody, NodeRef, clean, find_mut, split},
};

const HISTORY: u8 = b'h';
const META: u8 = b'm';
const NODE: u8 = b'n';
const CRC_BYTES: usize = 4;

/// Maximum value of every counter; a higher value in a record is corruption. Lower counters cannot overflow in practice.
pub const COUNT_MAX: u64 = 1 << 62;

/// Maximum value of a counter in an imported state; a state with a higher counter is refused, so that counters can still grow.
pub const COUNT_IMPORT_MAX: u64 = COUNT_MAX / 2;

#[derive(Clone, PartialEq, Message)]
struct StoredNode {
    #[prost(uint64, tag = "1")]
    created: u64,
    #[prost(uint64, tag = "2")]
    modified: u64,
    #[prost(sint64, optional, tag = "3")]
    expires_ns: Option<i64>,
    /// The value of a file; absent for a directory.
    #[prost(bytes = "bytes", optional, tag = "4")]
    value: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredTreeMeta {
    #[prost(uint64, tag = "1")]
    index: u64,
    /// The write counters in the order of the fields in [`WriteCounts`].
    #[prost(uint64, repeated, tag = "2")]
    counts: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEvent {
    #[prost(uint32, tag = "1")]
    action: u32,
    #[prost(message, optional, tag = "2")]
    node: Option<StoredEventNode>,
    #[prost(message, optional, tag = "3")]
    prev: Option<StoredEventNode>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEventNode {
    #[prost(bytes = "bytes", tag = "1")]
    path: Bytes,
    #[prost(message, optional, tag = "2")]
    node: Option<StoredNode>,
    #[prost(bool, tag = "3")]
    dir: bool,
    #[prost(sint64, tag = "4")]
    ttl: i64,
}

/// Emits a message as a record that ends with the checksum of key and contents.
fn put(key: Vec<u8>, message: &impl Message, emit: &mut EmitRecord<'_>) {
    let mut value = Vec::with_capacity(message.encoded_len() + CRC_BYTES);
    message.encode(&mut value).expect("a vector has room");
    let crc = crc(&key, &value);
    value.extend_from_slice(&crc.to_le_bytes());
    emit(key, Some(value));
}

/// Returns the CRC-32 of the key followed by the contents.
fn crc(key: &[u8], contents: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(contents);
    hasher.finalize()
}

pub(super) fn node_key(path: &[u8]) -> Vec<u8> {
    [&[NODE], path].concat()
}

fn event_key(index: u64) -> Vec<u8> {
    [&[HISTORY][..], &index.to_be_bytes()].concat()
}

/// Emits the record of one node, without its children.
pub(super) fn put_node(path: &[u8], inode: &Inode, emit: &mut EmitRecord<'_>) {
    let value = match &inode.body {
        NodeBody::File(value) => Some(value.clone()),
        NodeBody::Dir(_) => None,
    };
    let Inode { created, modified, expires_ns, .. } = *inode;
    let stored = StoredNode { created, modified, expires_ns, value };
    put(node_key(path), &stored, emit);
}

/// Emits the record of one event of the history, whose key is the event's index.
fn put_event(event: &Event, emit: &mut EmitRecord<'_>) {
    let stored = StoredEvent {
        action: event.action as u32,
        node: Some(StoredEventNode::new(&event.node)),
        prev: event.prev.as_ref().map(StoredEventNode::new),
    };
    put(event_key(event.index), &stored, emit);
}

/// Emits the record of the index and the write counters.
pub(super) fn put_meta(tree: &Tree, emit: &mut EmitRecord<'_>) {
    let meta = StoredTreeMeta { index: tree.index, counts: tree.counts.numbers().to_vec() };
    put(vec![META], &meta, emit);
}

impl StoredEventNode {
    /// Converts a node of an event, without its children.
    fn new(node: &Node) -> Self {
        let Node { created, modified, expires_ns, .. } = *node;
        let stored = StoredNode { created, modified, expires_ns, value: node.value.clone() };
        Self {
            path: node.path.clone(),
            node: Some(stored),
            dir: node.dir,
            ttl: node.ttl,
        }
    }

    /// Converts to a node without children. Returns `None` if the node's fields are missing.
    fn into_node(self) -> Option<Node> {
        let StoredNode { created, modified, expires_ns, value } = self.node?;
        let Self { path, dir, ttl, .. } = self;
        Some(Node {
            path,
            value,
            dir,
            expires_ns,
            ttl,
            nodes: None,
            modified,
            created,
        })
    }
}

impl StoredEvent {
    /// Converts to an event with this action and index. Returns `None` if a node is incomplete.
    fn into_event(self, action: Action, index: u64) -> Option<Event> {
        let node = self.node?.into_node()?;
        let prev = match self.prev {
            Some(prev) => Some(prev.into_node()?),
            None => None,
        };
        Some(Event { action, node, prev, index, refresh: false })
    }
}

impl Tree {
    /// Loads the next record in key order. Fails if the record is invalid or a later release wrote it.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptTree> {
        let Some((contents, check)) = value.split_last_chunk::<CRC_BYTES>() else {
            return Err(corrupt(key, "is too short"));
        };
        if crc(key, contents) != u32::from_le_bytes(*check) {
            return Err(corrupt(key, "does not match its checksum"));
        }
        match key.split_first() {
            Some((&HISTORY, index)) => self.load_event(key, index, contents),
            Some((&META, [])) => self.load_meta(key, contents),
            Some((&NODE, path)) => self.load_node(key, path, contents),
            Some(_) => Err(later(key, "has an unknown kind")),
            None => Err(corrupt(key, "has no key")),
        }
    }

    /// Adds an event to the history. `index` is the encoded index in the record's key. Fails with `Later` for an unknown action
    /// or field, and with `Invalid` if the key's index has a wrong length or a node is incomplete.
    fn load_event(&mut self, key: &[u8], index: &[u8], contents: &[u8]) -> Result<(), CorruptTree> {
        let stored: StoredEvent = decode(key, contents)?;
        let index = index.try_into().map_err(|_| corrupt(key, "has no index"))?;
        let action = Action::NAMES.get(stored.action as usize);
        let (action, _) = *action.ok_or_else(|| later(key, "has an unknown action"))?;
        let event = stored.into_event(action, u64::from_be_bytes(index));
        let event = event.ok_or_else(|| corrupt(key, "is not a complete event"))?;
        self.history.push(event, None);
        Ok(())
    }

    /// Loads the index and the write counters. Fails if a counter is missing or unknown, or a number is above `COUNT_MAX`.
    fn load_meta(&mut self, key: &[u8], contents: &[u8]) -> Result<(), CorruptTree> {
        let stored: StoredTreeMeta = decode(key, contents)?;
        let known = self.counts.numbers().len();
        let counts = stored.counts.try_into();
        let counts = counts.map_err(|found: Vec<u64>| match found.len() > known {
            true => later(key, "has unknown counters"),
            false => corrupt(key, "lacks counters"),
        })?;
        let counts = WriteCounts::from_numbers(counts);
        let counted = counts.numbers().into_iter().chain([stored.index]);
        if counted.max().is_some_and(|count| count > COUNT_MAX) {
            return Err(corrupt(key, "has a counter that is too large"));
        }
        self.index = stored.index;
        self.counts = counts;
        self.has_meta = true;
        Ok(())
    }

    /// Inserts a node and its expiration time at `path`. `contents` are the record's value without its checksum. Fails if they
    /// cannot be decoded or have unknown fields. Also fails if the path is invalid or occurs twice, or if the parent directory
    /// was not loaded. `key` is for the error.
    fn load_node(&mut self, key: &[u8], path: &[u8], contents: &[u8]) -> Result<(), CorruptTree> {
        let stored: StoredNode = decode(key, contents)?;
        let body = stored
            .value
            .map_or(NodeBody::Dir(Children::new()), NodeBody::File);
        let StoredNode { created, modified, expires_ns, .. } = stored;
        let inode = Inode { created, modified, expires_ns, body };
        self.insert_loaded(path, inode)
            .map_err(|what| corrupt(key, what))
    }

    /// Inserts a node and its expiration time at `path`. Fails if the path is not clean or occurs twice, or if the parent
    /// directory is missing. The error describes the defect; a node that occurs twice has then replaced the earlier node.
    pub(super) fn insert_loaded(&mut self, path: &[u8], inode: Inode) -> Result<(), &'static str> {
        let (dir, name) = split(path);
        // Expirations are looked up by path, so the path must be clean.
        if name.is_empty() || clean(path) != path {
            return Err("is not a path");
        }
        let Some(NodeBody::Dir(children)) = find_mut(&mut self.root, dir).map(|dir| &mut dir.body)
        else {
            return Err("has no parent directory");
        };
        let link = NodeRef::new(inode);
        self.deadlines.insert(&Bytes::copy_from_slice(path), &link);
        match children.insert(Bytes::copy_from_slice(name), link) {
            Some(_) => Err("occurs twice"),
            None => Ok(()),
        }
    }

    /// Completes the load and computes the size. Fails if nodes or events were loaded without the record of the index, or if an
    /// event is outside the retained history. Does not check the indexes of nodes.
    pub fn finish_load(&mut self) -> Result<(), CorruptTree> {
        let holds_nodes = self
            .root
            .children()
            .is_some_and(|children| !children.is_empty());
        let has_events = !self.history.events.is_empty();
        if (holds_nodes || has_events) && !self.has_meta {
            return Err(CorruptTree::Invalid(
                "the record of its index is missing".to_owned(),
            ));
        }
        let kept = oldest(self.index)..=self.index;
        for index in self.history.events.keys() {
            if !kept.contains(index) {
                let text = format!("event {index} is outside the history {kept:?}");
                return Err(CorruptTree::Invalid(text));
            }
        }
        self.measure();
        Ok(())
    }
}

/// Decodes a record's contents. Fails with `Invalid` if the contents cannot be decoded, and with `Later` if they have unknown
/// fields. The error names the record.
fn decode<M: Message + Default>(key: &[u8], contents: &[u8]) -> Result<M, CorruptTree> {
    // Decoding copies the values, so they do not keep the entire record in memory.
    let message = M::decode(contents).map_err(|error| corrupt(key, &error.to_string()))?;
    // If the decoder has skipped unknown fields, at any depth, the encoded length is smaller.
    match message.encoded_len() == contents.len() {
        true => Ok(message),
        false => Err(later(key, "has unknown fields")),
    }
}

/// Creates the error for a record with this key. `what` describes the defect.
fn corrupt(key: &[u8], what: &str) -> CorruptTree {
    CorruptTree::Invalid(format!("{} {what}", name(key)))
}

/// Creates the error for a record with this key from a later release. `what` describes the unknown part.
fn later(key: &[u8], what: &str) -> CorruptTree {
    CorruptTree::Later(format!("{} {what}", name(key)))
}

/// Returns the name of a record for an error.
fn name(key: &[u8]) -> String {
    match key.split_first() {
        Some((&NODE, path)) => format!("node {}", path.escape_ascii()),
        Some((&HISTORY, index)) if index.len() == 8 => {
            let index = index
                .iter()
                .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            format!("event {index}")
        }
        Some(_) | None => format!("record {}", key.escape_ascii()),
    }
}

/// Emits a record for each added or replaced event, and a deletion for each evicted event. Compares events by identity.
pub(super) fn changed_events(old: &Tree, new: &Tree, emit: &mut EmitRecord<'_>) {
    use imbl::ordmap::DiffItem;
    for item in old.history.events.diff(&new.history.events) {
        match item {
            DiffItem::Add(_, kept) | DiffItem::Update { new: (_, kept), .. } => {
                put_event(&kept.event, emit);
            }
            DiffItem::Remove(index, _) => emit(event_key(*index), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_above_its_limit_is_not_loaded() {
        for (index, loads) in [(COUNT_MAX, true), (COUNT_MAX + 1, false)] {
            let tree = Tree { index, ..Tree::default() };
            put_meta(&tree, &mut |key, value| {
                let value = value.expect("the record has contents");
                assert_eq!(Tree::default().load(&key, &value).is_ok(), loads);
            });
        }
        assert!(Tree::at_index(COUNT_IMPORT_MAX).is_ok());
        assert!(Tree::at_index(COUNT_IMPORT_MAX + 1).is_err());
    }

    #[test]
    fn a_node_loads_only_from_a_clean_path() {
        let inode = Inode { expires_ns: Some(5), ..Inode::dir(1) };
        let load = |path: &str| {
            let mut loaded = None;
            put_node(path.as_bytes(), &inode, &mut |key, value| {
                let value = value.expect("a node has contents");
                loaded = Some(Tree::default().load(&key, &value));
            });
            loaded.expect("a node has a record")
        };
        assert!(load("/a").is_ok());
        for path in ["", "/", "a", "//a", "/a/"] {
            assert!(load(path).is_err(), "{path}");
        }
    }
}
