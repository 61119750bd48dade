//! The versions that etcd's store would contain for the same history. etcd's hash and snapshots cover these versions.
//!
//! Versions that a compaction removed are excluded, even before the sweep. Other crates encode and hash the versions.

use super::{Kv, KvError, events::KeyChange, version::Version};
use crate::{revision::Revision, values::ReadPattern};

impl Kv {
    /// Iterates over all versions that can still be read, in revision order.
    pub fn retained_versions(&self) -> impl Iterator<Item = KeyChange<'_>> {
        self.history
            .from(self.history.seek(Revision::NONE))
            .map(|(_, (block, version))| KeyChange { block, version, pattern: ReadPattern::Scan })
            .filter(|written| !self.sweeping || self.is_retained(&written.version))
    }

    /// Returns the revision for a hash request; 0 means the current revision. Returns a negative revision unchanged. Fails for
    /// a compacted or future revision.
    pub fn hash_revision(&self, revision: Revision) -> Result<Revision, KvError> {
        if revision > Revision::NONE && revision < self.compacted {
            return Err(KvError::Compacted { compacted: self.compacted });
        }
        if revision > self.revision {
            return Err(KvError::FutureRevision { current: self.revision });
        }
        Ok(if revision == Revision::NONE {
            self.revision
        } else {
            revision
        })
    }

    /// Iterates over the versions that etcd's hash at `revision` covers, in order. Of the versions at or below the compacted
    /// revision, the hash covers each key's newest version at `revision`. If no key exists at `revision`, the hash covers all
    /// of these versions. The hash never covers deletions at the compacted revision itself.
    pub fn hashed_versions(&self, revision: Revision) -> impl Iterator<Item = KeyChange<'_>> {
        let one_is_alive = self.is_any_key_alive_at(revision);
        self.retained_versions()
            .take_while(move |written| written.version.main <= revision)
            .filter(move |written| {
                let version = &written.version;
                if version.main > self.compacted {
                    true
                } else if one_is_alive {
                    !version.tombstone && self.is_newest(version, revision)
                } else {
                    !(version.tombstone && version.main == self.compacted)
                }
            })
    }

    /// Returns whether compaction keeps a version. Compaction keeps all versions above the compacted revision. At or below that
    /// revision, compaction keeps each key's newest version, but keeps a deletion only at the compacted revision itself.
    fn is_retained(&self, version: &Version<'_>) -> bool {
        version.main > self.compacted
            || (self.is_newest(version, self.compacted)
                && (!version.tombstone || version.main == self.compacted))
    }

    /// Returns whether the version is its key's newest version at `revision`.
    fn is_newest(&self, version: &Version<'_>, revision: Revision) -> bool {
        let newest = self
            .index
            .get(version.key)
            .and_then(|entry| self.history.at(entry.location, revision));
        newest.is_some_and(|(_, newest)| (newest.main, newest.sub) == (version.main, version.sub))
    }

    /// Returns whether any key exists at `revision`: the key's newest retained version at or below `revision` is not a
    /// tombstone.
    fn is_any_key_alive_at(&self, revision: Revision) -> bool {
        self.retained_versions()
            .map(|written| written.version)
            .take_while(|version| version.main <= revision)
            .any(|version| !version.tombstone && self.is_newest(&version, revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{
        Compact, KvOperation,
        test_helpers::{apply, delete, put},
    };

    fn revisions<'a>(versions: impl Iterator<Item = KeyChange<'a>>) -> Vec<i64> {
        versions.map(|written| written.revision().0).collect()
    }

    /// Returns a store of three keys. `a` is put at revisions 2 and 5. `b` is put at 3 and deleted at 4. `c` is put at 6 and
    /// deleted at 7. Compacts unless `compact` is 0.
    fn sample(compact: i64) -> Kv {
        let mut kv = Kv::default();
        put(&mut kv, "a", 1);
        put(&mut kv, "b", 1);
        delete(&mut kv, "b");
        put(&mut kv, "a", 1);
        put(&mut kv, "c", 1);
        delete(&mut kv, "c");
        if compact > 0 {
            apply(&mut kv, KvOperation::Compact(Compact { revision: compact }));
        }
        kv
    }

    #[test]
    fn at_the_compacted_revision_only_the_newest_versions_are_hashed() {
        let kv = sample(4);
        // The deletion at the compacted revision is kept but not hashed.
        assert_eq!(revisions(kv.retained_versions()), [2, 4, 5, 6, 7]);
        assert_eq!(revisions(kv.hashed_versions(Revision(4))), [2]);
        // At this revision, a newer version has replaced the deletion.
        assert_eq!(revisions(kv.hashed_versions(Revision(5))), [5]);
        assert_eq!(
            kv.hash_revision(Revision(3)),
            Err(KvError::Compacted { compacted: Revision(4) })
        );
    }

    #[test]
    fn without_live_keys_superseded_versions_are_hashed() {
        let mut kv = sample(5);
        delete(&mut kv, "a");
        assert_eq!(revisions(kv.retained_versions()), [5, 6, 7, 8]);
        assert_eq!(revisions(kv.hashed_versions(Revision(8))), [5, 6, 7, 8]);
        assert_eq!(revisions(kv.hashed_versions(Revision(7))), [5, 6, 7]);
    }

    #[test]
    fn an_unfinished_sweep_does_not_change_retained_versions() {
        let mut swept = sample(5);
        let mut unswept = sample(0);
        unswept.compacted = Revision(5);
        unswept.sweeping = true;
        assert_eq!(
            revisions(unswept.retained_versions()),
            revisions(swept.retained_versions())
        );
        assert_eq!(
            revisions(unswept.hashed_versions(Revision(7))),
            revisions(swept.hashed_versions(Revision(7)))
        );
        delete(&mut swept, "a");
        unswept.sweeping = false;
        delete(&mut unswept, "a");
        unswept.sweeping = true;
        assert_eq!(
            revisions(unswept.hashed_versions(Revision(8))),
            revisions(swept.hashed_versions(Revision(8)))
        );
    }
}
