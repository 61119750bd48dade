//! The v2 store in the JSON format of etcd's snapshots.

use serde::Deserialize;
use witan_api::v2::stats::StoreStats;
use witan_gocompat::{json::Scanner, text};
use witan_tree::{
    Action, Event, ImportedNode, Node, Tree, WriteCounts, limits::TREE_HISTORY_EVENTS,
};

use super::V2StoreError;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StoredHub {
    event_history: StoredHistory,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StoredHistory {
    queue: StoredQueue,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StoredQueue {
    /// A ring of events. Unused slots are null.
    events: Vec<Option<StoredEvent>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredEvent {
    action: String,
    node: StoredNode,
    prev_node: Option<StoredNode>,
    #[serde(default)]
    refresh: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StoredNode {
    key: String,
    value: Option<String>,
    dir: bool,
    expiration: Option<String>,
    ttl: i64,
    modified_index: u64,
    created_index: u64,
}

/// Reads a store from JSON into a tree with all of its namespaces. Drops refresh events, and events outside the last
/// [`TREE_HISTORY_EVENTS`] indexes.
pub(super) fn read(json: &[u8]) -> Result<Tree, V2StoreError> {
    let mut index = None;
    let (mut root, mut hub, mut counts) = (None, None, None);
    each_field(json, &mut |name, raw| {
        match name.as_str() {
            "CurrentIndex" => index = Some(value(raw)?),
            "Root" => root = Some(raw),
            "WatcherHub" => hub = Some(value(raw)?),
            "Stats" => counts = Some(value(raw)?),
            _ => {}
        }
        Ok(())
    })?;
    let (Some(index), Some(root)) = (index, root) else {
        return Err(V2StoreError("its index or its root is missing".into()));
    };
    let corrupt = |error: witan_tree::CorruptTree| V2StoreError(error.to_string());
    let mut tree = Tree::at_index(index).map_err(corrupt)?;
    let children = read_inode(Vec::new(), root)?.1.unwrap_or(b"{}");
    // Do not recurse, because directories may nest to any depth.
    let mut dirs = vec![(Vec::new(), children)];
    while let Some((dir, children)) = dirs.pop() {
        each_field(children, &mut |name, raw| {
            let path = [&dir, &b"/"[..], name.as_bytes()].concat();
            let (node, children) = read_inode(path.clone(), raw)?;
            tree.import_node(node).map_err(corrupt)?;
            dirs.extend(children.map(|children| (path, children)));
            Ok(())
        })?;
    }
    let events = hub.map(|hub: StoredHub| hub.event_history.queue.events);
    for stored in events.into_iter().flatten().flatten() {
        let at = stored.node.modified_index;
        let is_kept = at <= index && index - at < TREE_HISTORY_EVENTS as u64;
        if is_kept && !stored.refresh {
            tree.import_event(stored.into_event()?);
        }
    }
    let counts = writes(counts.unwrap_or_default());
    tree.finish_import(counts).map_err(corrupt)?;
    Ok(tree)
}

/// Reads one node of the tree. For a directory, also returns the JSON of its children.
fn read_inode(path: Vec<u8>, raw: &[u8]) -> Result<(ImportedNode, Option<&[u8]>), V2StoreError> {
    let mut node = ImportedNode { path: path.into(), ..ImportedNode::default() };
    let mut children = None;
    each_field(raw, &mut |name, raw| {
        match name.as_str() {
            "CreatedIndex" => node.created = value(raw)?,
            "ModifiedIndex" => node.modified = value(raw)?,
            "ExpireTime" => node.expires_ns = time(value::<&str>(raw)?)?,
            "Value" => node.value = Some(value::<String>(raw)?.into()),
            "Children" if raw != b"null" => children = Some(raw),
            _ => {}
        }
        Ok(())
    })?;
    node.value = match children {
        Some(_) => None,
        None => node.value.or_else(|| Some(Default::default())),
    };
    Ok((node, children))
}

/// Calls `visit` with the name and value of each field of an object. Ignores bytes after the object. Fails if `raw` does not
/// start with an object, or if `visit` fails.
fn each_field<'a>(
    raw: &'a [u8],
    visit: &mut dyn FnMut(String, &'a [u8]) -> Result<(), V2StoreError>,
) -> Result<(), V2StoreError> {
    let mut scanner = Scanner::new(raw);
    let mut end = match scanner.token().map_err(V2StoreError)? {
        b'{' => scanner.peek().filter(|byte| *byte == b'}'),
        _ => return Err(V2StoreError("expected an object".into())),
    };
    while end != Some(b'}') {
        scanner.peek();
        let start = scanner.at();
        scanner.key().map_err(V2StoreError)?;
        let name = value(scanner.since(start))?;
        scanner.colon().map_err(V2StoreError)?;
        scanner.peek();
        let start = scanner.at();
        scanner.value().map_err(V2StoreError)?;
        visit(name, scanner.since(start))?;
        end = Some(scanner.token().map_err(V2StoreError)?);
        if !matches!(end, Some(b',' | b'}')) {
            return Err(V2StoreError("unterminated object".into()));
        }
    }
    Ok(())
}

/// Parses JSON.
fn value<'a, T: Deserialize<'a>>(raw: &'a [u8]) -> Result<T, V2StoreError> {
    serde_json::from_slice(raw).map_err(|error| V2StoreError(error.to_string()))
}

/// Parses a time as Unix nanoseconds. Returns `None` for Go's zero time.
fn time(text: &str) -> Result<Option<i64>, V2StoreError> {
    if text.starts_with("0001-") {
        return Ok(None);
    }
    let invalid = || V2StoreError(format!("\"{text}\" is not an expiration time"));
    text::parse_time(text).map(Some).ok_or_else(invalid)
}

impl StoredEvent {
    /// Converts an event. Fails if the action is unknown or `get`, or if an expiration time is invalid.
    fn into_event(self) -> Result<Event, V2StoreError> {
        let node = self.node.into_node()?;
        let prev = self.prev_node.map(StoredNode::into_node).transpose()?;
        let known = Action::NAMES.iter().find(|(_, name)| *name == self.action);
        let Some((action, _)) = known.filter(|(action, _)| *action != Action::Get) else {
            let text = format!("an event has the action \"{}\"", self.action);
            return Err(V2StoreError(text));
        };
        let index = node.modified;
        Ok(Event { action: *action, node, prev, index, refresh: false })
    }
}

impl StoredNode {
    /// Converts a node without its children. Fails if its expiration time is invalid.
    fn into_node(self) -> Result<Node, V2StoreError> {
        Ok(Node {
            path: self.key.into(),
            value: self.value.map(Into::into),
            dir: self.dir,
            expires_ns: self.expiration.as_deref().map(time).transpose()?.flatten(),
            ttl: self.ttl,
            nodes: None,
            modified: self.modified_index,
            created: self.created_index,
        })
    }
}

/// Converts the write counters of etcd's statistics.
fn writes(stored: StoreStats) -> WriteCounts {
    WriteCounts {
        sets_success: stored.sets_success,
        sets_fail: stored.sets_fail,
        delete_success: stored.delete_success,
        delete_fail: stored.delete_fail,
        update_success: stored.update_success,
        update_fail: stored.update_fail,
        create_success: stored.create_success,
        create_fail: stored.create_fail,
        compare_and_swap_success: stored.compare_and_swap_success,
        compare_and_swap_fail: stored.compare_and_swap_fail,
        compare_and_delete_success: stored.compare_and_delete_success,
        compare_and_delete_fail: stored.compare_and_delete_fail,
        expire_count: stored.expire_count,
    }
}
