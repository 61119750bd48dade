//! Estimates how many nodes a tree command affects, without executing it.

use super::{
    Tree, TreeCommand, TreeOperation,
    inode::{NodeRef, clean, find},
};

impl Tree {
    /// Counts the nodes that a recursive deletion or an expiration removes, up to `max`. A node that expires and whose
    /// directory also expires is counted twice. Returns 0 for other commands.
    pub fn work(&self, command: &TreeCommand, now_ns: i64, max: u64) -> u64 {
        let mut left = max;
        match &command.operation {
            Some(TreeOperation::Delete(delete)) if delete.recursive => {
                self.count_subtree(&clean(&delete.path), &mut left);
            }
            Some(TreeOperation::Expire(_)) => {
                for (_, path) in self.deadlines.until(now_ns) {
                    self.count_subtree(path, &mut left);
                    if left == 0 {
                        break;
                    }
                }
            }
            Some(
                TreeOperation::Set(_)
                | TreeOperation::Create(_)
                | TreeOperation::Update(_)
                | TreeOperation::CompareAndSwap(_)
                | TreeOperation::CompareAndDelete(_)
                | TreeOperation::Delete(_),
            )
            | None => {}
        }
        max - left
    }

    /// Subtracts the number of nodes in the subtree at `path` from `left`, down to 0. Ignores a missing path.
    fn count_subtree(&self, path: &[u8], left: &mut u64) {
        if let Ok(link) = find(&self.root, path) {
            count(link, left);
        }
    }
}

/// Subtracts the number of nodes in a subtree from `left`, down to 0.
fn count(link: &NodeRef, left: &mut u64) {
    *left = left.saturating_sub(1);
    let mut children = link.children().into_iter().flatten();
    while *left > 0
        && let Some((_, child)) = children.next()
    {
        count(child, left);
    }
}
