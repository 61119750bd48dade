//! `expire` removes all expired nodes, in order of expiration.

use super::{Action, Tree};

impl Tree {
    /// Removes all nodes that expire at or before `now_ns`, each with a separate event and index. A directory is removed with
    /// its entire subtree. Returns the number of events.
    pub(super) fn expire(&mut self, now_ns: i64) -> usize {
        let mut expired = 0;
        while let Some((expires_ns, path)) = self.deadlines.first()
            && *expires_ns <= now_ns
        {
            let path = path.clone();
            self.remove_subtree(Action::Expire, &path, now_ns);
            self.counts.expire_count += 1;
            expired += 1;
        }
        expired
    }
}
