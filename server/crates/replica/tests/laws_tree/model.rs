//! The v2 tree as a flat map from path to node: slow, but simple.

use std::collections::BTreeMap;

use bytes::Bytes;
use witan_tree::{
    Action, CompareAndSwap, Create, Delete, Event, Node, Set, TreeError, TreeErrorKind,
    TreeOperation, TreeReply, Update,
};

#[derive(Clone)]
struct Flat {
    /// `None` for a directory.
    value: Option<Bytes>,
    expires_ns: Option<i64>,
    created: u64,
    modified: u64,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) index: u64,
    flat: BTreeMap<String, Flat>,
}

/// The resulting state of a write.
struct Write<'a> {
    action: Action,
    path: String,
    value: Option<&'a Bytes>,
    expires_ns: Option<i64>,
    refresh: bool,
}

fn text(path: &Bytes) -> String {
    String::from_utf8(path.to_vec()).unwrap()
}

fn ancestors(path: &str) -> Vec<String> {
    let ends = path
        .match_indices('/')
        .map(|(at, _)| at)
        .filter(|at| *at > 0);
    ends.map(|end| path[..end].to_owned()).collect()
}

fn shown(path: &str, flat: &Flat, now_ns: i64) -> Node {
    Node {
        path: Bytes::from(path.to_owned()),
        value: flat.value.clone(),
        dir: flat.value.is_none(),
        expires_ns: flat.expires_ns,
        ttl: flat
            .expires_ns
            .map_or(0, |e| ((e - now_ns) as f64 / 1e9).ceil() as i64),
        nodes: None,
        modified: flat.modified,
        created: flat.created,
    }
}

impl Model {
    pub(crate) fn nodes(&self, now_ns: i64) -> Vec<(Bytes, Node)> {
        let nodes = self.flat.iter();
        nodes
            .map(|(path, flat)| (path.clone().into(), shown(path, flat, now_ns)))
            .collect()
    }

    /// Returns the nodes that a recursive read of the root shows.
    pub(crate) fn listing(&self, now_ns: i64) -> Node {
        let nodes = self.children("", now_ns);
        Node { dir: true, nodes, ..Node::default() }
    }

    fn children(&self, dir: &str, now_ns: i64) -> Option<Vec<Node>> {
        let mut nodes = Vec::new();
        for (path, flat) in &self.flat {
            let (parent, name) = path.rsplit_once('/').unwrap();
            if parent == dir && !name.starts_with('_') {
                let nodes_below = self.children(path, now_ns);
                nodes.push(Node { nodes: nodes_below, ..shown(path, flat, now_ns) });
            }
        }
        (!nodes.is_empty()).then_some(nodes)
    }

    pub(crate) fn next_expiration_ns(&self) -> Option<i64> {
        self.flat.values().filter_map(|flat| flat.expires_ns).min()
    }

    pub(crate) fn apply(
        &mut self,
        verb: &TreeOperation,
        now_ns: i64,
    ) -> Result<TreeReply, TreeError> {
        let event = match verb {
            TreeOperation::Set(set) => self.set(set, now_ns),
            TreeOperation::Create(create) => self.create(create, now_ns),
            TreeOperation::Update(update) => self.update(update, now_ns),
            TreeOperation::CompareAndSwap(swap) => self.swap(swap, now_ns),
            TreeOperation::CompareAndDelete(delete) => {
                let path = text(&delete.path);
                self.compare(&path, delete.prev_value.as_ref(), delete.prev_index)?;
                Ok(self.remove(Action::CompareAndDelete, &path, now_ns))
            }
            TreeOperation::Delete(delete) => self.delete(delete, now_ns),
            TreeOperation::Expire(_) => return Ok(TreeReply::Expired(self.expire(now_ns))),
        }?;
        Ok(TreeReply::Event(Box::new(event)))
    }

    fn set(&mut self, set: &Set, now_ns: i64) -> Result<Event, TreeError> {
        let path = text(&set.path);
        if set.refresh && path != "/" {
            self.find(&path)?;
        }
        let kept = self.flat.get(&path).and_then(|flat| flat.value.clone());
        let value = if set.refresh {
            kept.unwrap_or_default()
        } else {
            set.value.clone()
        };
        let (action, expires_ns, refresh) = (Action::Set, set.expires_ns, set.refresh);
        let value = (!set.dir).then_some(&value);
        self.place(
            Write { action, path, value, expires_ns, refresh },
            true,
            now_ns,
        )
    }

    fn create(&mut self, create: &Create, now_ns: i64) -> Result<Event, TreeError> {
        let mut path = text(&create.path);
        if create.in_order {
            path = format!("{}/{:020}", path.trim_end_matches('/'), self.index + 1);
        }
        let value = (!create.dir).then_some(&create.value);
        let (action, expires_ns) = (Action::Create, create.expires_ns);
        let write = Write { action, path, value, expires_ns, refresh: false };
        self.place(write, false, now_ns)
    }

    fn update(&mut self, update: &Update, now_ns: i64) -> Result<Event, TreeError> {
        let path = text(&update.path);
        self.not_root(&path)?;
        let old = self.find(&path)?;
        if old.value.is_none() && !update.value.is_empty() {
            return Err(self.error(TreeErrorKind::NotFile, &path));
        }
        let (action, value) = (Action::Update, Some(&update.value));
        let (expires_ns, refresh) = (update.expires_ns, update.refresh);
        Ok(self.write(Write { action, path, value, expires_ns, refresh }, now_ns))
    }

    fn swap(&mut self, swap: &CompareAndSwap, now_ns: i64) -> Result<Event, TreeError> {
        let path = text(&swap.path);
        self.not_root(&path)?;
        self.compare(&path, swap.prev_value.as_ref(), swap.prev_index)?;
        let (action, value) = (Action::CompareAndSwap, Some(&swap.value));
        let (expires_ns, refresh) = (swap.expires_ns, swap.refresh);
        Ok(self.write(Write { action, path, value, expires_ns, refresh }, now_ns))
    }

    fn delete(&mut self, delete: &Delete, now_ns: i64) -> Result<Event, TreeError> {
        let path = text(&delete.path);
        self.not_root(&path)?;
        let is_dir = self.find(&path)?.value.is_none();
        let below = format!("{path}/");
        let is_empty = !self.flat.keys().any(|other| other.starts_with(&below));
        if is_dir && !delete.dir && !delete.recursive {
            return Err(self.error(TreeErrorKind::NotFile, &path));
        }
        if is_dir && !is_empty && !delete.recursive {
            return Err(self.error(TreeErrorKind::DirNotEmpty, &path));
        }
        Ok(self.remove(Action::Delete, &path, now_ns))
    }

    fn error(&self, kind: TreeErrorKind, cause: &str) -> TreeError {
        TreeError { kind, cause: cause.to_owned().into(), index: self.index }
    }

    fn not_root(&self, path: &str) -> Result<(), TreeError> {
        if path == "/" {
            Err(self.error(TreeErrorKind::RootReadOnly, "/"))
        } else {
            Ok(())
        }
    }

    /// Returns the node at a path, or an error for the first obstacle on the way.
    fn find(&self, path: &str) -> Result<Flat, TreeError> {
        for dir in ancestors(path) {
            match self.flat.get(&dir) {
                None => return Err(self.error(TreeErrorKind::KeyNotFound, &dir)),
                Some(Flat { value: Some(_), .. }) => {
                    return Err(self.error(TreeErrorKind::NotDir, &dir));
                }
                Some(Flat { value: None, .. }) => {}
            }
        }
        let missing = || self.error(TreeErrorKind::KeyNotFound, path);
        self.flat.get(path).cloned().ok_or_else(missing)
    }

    fn compare(
        &self,
        path: &str,
        value: Option<&Bytes>,
        index: Option<u64>,
    ) -> Result<(), TreeError> {
        if path == "/" {
            return Err(self.error(TreeErrorKind::NotFile, ""));
        }
        let flat = self.find(path)?;
        let Some(actual) = &flat.value else {
            return Err(self.error(TreeErrorKind::NotFile, path));
        };
        let mut causes = Vec::new();
        if let Some(wanted) = value.filter(|wanted| *wanted != actual) {
            causes.push(format!("[{} != {}]", text(wanted), text(actual)));
        }
        if let Some(wanted) = index.filter(|wanted| *wanted != flat.modified) {
            causes.push(format!("[{wanted} != {}]", flat.modified));
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(self.error(TreeErrorKind::CompareFailed, &causes.join(" ")))
    }

    fn place(&mut self, write: Write<'_>, replace: bool, now_ns: i64) -> Result<Event, TreeError> {
        let path = write.path;
        self.not_root(&path)?;
        let old = match self.find(&path) {
            Ok(_) if !replace => return Err(self.error(TreeErrorKind::NodeExists, &path)),
            Ok(old) if old.value.is_none() => return Err(self.error(TreeErrorKind::NotFile, &path)),
            Ok(old) => Some(old),
            Err(error) if error.kind == TreeErrorKind::KeyNotFound => None,
            Err(error) => return Err(error),
        };
        self.index += 1;
        let (created, modified) = (self.index, self.index);
        for dir in ancestors(&path) {
            let new = Flat { value: None, expires_ns: None, created, modified };
            self.flat.entry(dir).or_insert(new);
        }
        let value = write.value.cloned();
        let new = Flat { value, expires_ns: write.expires_ns, created, modified };
        let node = shown(&path, &new, now_ns);
        let prev = old.map(|old| shown(&path, &old, now_ns));
        self.flat.insert(path, new);
        let (action, refresh) = (write.action, write.refresh);
        Ok(Event { action, node, prev, index: self.index, refresh })
    }

    fn write(&mut self, write: Write<'_>, now_ns: i64) -> Event {
        self.index += 1;
        let index = self.index;
        let flat = self.flat.get_mut(&write.path).unwrap();
        let prev = Some(shown(&write.path, flat, now_ns));
        flat.expires_ns = write.expires_ns;
        if flat.value.is_some() {
            flat.modified = index;
            if !write.refresh {
                flat.value = write.value.cloned();
            }
        }
        let node = Node { modified: index, ..shown(&write.path, flat, now_ns) };
        Event {
            action: write.action,
            node,
            prev,
            index,
            refresh: write.refresh,
        }
    }

    fn remove(&mut self, action: Action, path: &str, now_ns: i64) -> Event {
        self.index += 1;
        let old = self.flat.remove(path).unwrap();
        let below = format!("{path}/");
        self.flat.retain(|other, _| !other.starts_with(&below));
        let prev = shown(path, &old, now_ns);
        let node = Node {
            path: prev.path.clone(),
            dir: prev.dir,
            modified: self.index,
            created: old.created,
            ..Node::default()
        };
        Event {
            action,
            node,
            prev: Some(prev),
            index: self.index,
            refresh: false,
        }
    }

    fn expire(&mut self, now_ns: i64) -> usize {
        let mut count = 0;
        loop {
            let due = self
                .flat
                .iter()
                .filter_map(|(path, flat)| Some((flat.expires_ns?, path)));
            let Some((_, path)) = due.min().filter(|(expires_ns, _)| *expires_ns <= now_ns) else {
                return count;
            };
            let path = path.clone();
            self.remove(Action::Expire, &path, now_ns);
            count += 1;
        }
    }
}
