//! Fingerprint of the whole visible state: equal states have equal fingerprints, on every member
//! and in every build.

use super::{
    Event, Node, Tree,
    inode::{NodeBody, visit},
};

/// FNV-1a, 64 bits: chosen because it is fixed for ever and fits into a few lines.
struct Fnv1a(u64);

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Fnv1a {
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    fn number(&mut self, number: u64) {
        self.raw(&number.to_le_bytes());
    }

    fn time(&mut self, expires_ns: Option<i64>) {
        self.raw(&[u8::from(expires_ns.is_some())]);
        self.raw(&expires_ns.unwrap_or(0).to_le_bytes());
    }

    fn raw(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }

    fn event(&mut self, event: &Event) {
        self.number(event.index);
        self.raw(&[event.action as u8, u8::from(event.prev.is_some())]);
        self.node(&event.node);
        if let Some(prev) = &event.prev {
            self.node(prev);
        }
    }

    fn node(&mut self, node: &Node) {
        self.bytes(&node.path);
        self.raw(&[u8::from(node.dir), u8::from(node.value.is_some())]);
        self.bytes(node.value.as_deref().unwrap_or_default());
        self.time(node.expires_ns);
        self.raw(&node.ttl.to_le_bytes());
        self.number(node.modified);
        self.number(node.created);
    }
}

impl Tree {
    /// A hash of the whole visible state and history: equal states hash equal.
    pub fn fingerprint(&self) -> u64 {
        let mut digest = Fnv1a(OFFSET);
        digest.number(self.index);
        visit(&mut Vec::new(), &self.root, &mut |path, inode| {
            digest.bytes(path);
            digest.number(inode.created);
            digest.number(inode.modified);
            digest.time(inode.expires_ns);
            match &inode.body {
                NodeBody::File(value) => digest.bytes(value),
                NodeBody::Dir(children) => digest.number(children.len() as u64),
            }
        });
        for kept in self.history.events.values() {
            digest.event(&kept.event);
        }
        digest.0
    }
}
