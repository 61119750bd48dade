//! Fingerprint of the whole visible state: equal states have equal fingerprints, on every member
//! and in every build.

use super::{
    super::fingerprint::FingerprintHasher,
    Event, Node, Tree,
    inode::{NodeBody, visit},
};

impl Tree {
    /// A hash of the whole visible state and history: equal states hash equal.
    pub fn fingerprint(&self) -> u64 {
        let mut fold = FingerprintHasher::new();
        fold.word(self.index);
        visit(&mut Vec::new(), &self.root, &mut |path, inode| {
            fold.bytes(path);
            fold.word(inode.created);
            fold.word(inode.modified);
            fold.time(inode.expires_ns);
            match &inode.body {
                NodeBody::File(value) => fold.bytes(value),
                NodeBody::Dir(children) => fold.word(children.len() as u64),
            }
        });
        for kept in self.history.events.values() {
            fold.event(&kept.event);
        }
        fold.finish()
    }
}

impl FingerprintHasher {
    fn time(&mut self, expires_ns: Option<i64>) {
        self.word(u64::from(expires_ns.is_some()));
        self.word(expires_ns.unwrap_or(0) as u64);
    }

    fn event(&mut self, event: &Event) {
        self.word(event.index);
        self.word((event.action as u64) << 1 | u64::from(event.prev.is_some()));
        self.node(&event.node);
        if let Some(prev) = &event.prev {
            self.node(prev);
        }
    }

    fn node(&mut self, node: &Node) {
        self.bytes(&node.path);
        self.word(u64::from(node.dir) << 1 | u64::from(node.value.is_some()));
        self.bytes(node.value.as_deref().unwrap_or_default());
        self.time(node.expires_ns);
        self.word(node.ttl as u64);
        self.word(node.modified);
        self.word(node.created);
    }
}
