//! Applies the source's revisions to the keys of the cluster that follows, with the same revision numbers.

use std::collections::BTreeMap;

use super::{Compact, Kv, KvError, ReadBudget, ReadResults};
use crate::{
    follow::{FollowError, FollowLeases, FollowedRevision, FollowedWrite},
    lease::{Lease, LeaseId, TTL_MAX_S},
    revision::Revision,
};

impl Kv {
    /// Writes all of the source's next revision or, on failure, nothing. Skips a revision that already exists. Fails with `Gap`
    /// if the revision is not the next one. Also continues an unfinished sweep.
    pub(crate) fn follow(&mut self, revision: &FollowedRevision) -> Result<(), FollowError> {
        let main = Revision(revision.revision);
        if main <= self.revision {
            return Ok(());
        }
        let reads = ReadBudget::of_command(self.pacing, false, ReadResults::Discard);
        let mut batch = self.begin_write(reads);
        if main != batch.main {
            return Err(FollowError::Gap { revision: self.revision });
        }
        self.check_followed(main, &revision.writes)?;
        self.continue_sweep();
        for write in &revision.writes {
            let written = (!write.deletes()).then_some((&write.value[..], write.lease_id()));
            self.write(&mut batch, &write.key, written);
        }
        self.revision = self.revision_within(&batch);
        Ok(())
    }

    /// Fails unless each write creates the same version of its key as in the source, and the lease of each write exists. One
    /// transaction can write a key more than once, for example, delete a range and then put a key in the range.
    fn check_followed(
        &self,
        revision: Revision,
        writes: &[FollowedWrite],
    ) -> Result<(), FollowError> {
        // The version of each key after the writes that are already checked; 0 if the key is deleted.
        let mut versions = BTreeMap::new();
        for write in writes {
            let version = versions.entry(&write.key).or_insert_with(|| {
                let before = self.previous_version(&write.key);
                before.map_or(
                    0,
                    |before| if before.tombstone { 0 } else { before.version },
                )
            });
            let fits = match write.deletes() {
                true => *version != 0,
                false => write.version == *version + 1,
            };
            if !fits {
                return Err(FollowError::Differs { revision });
            }
            *version = write.version;
            let lease = write.lease_id();
            if lease != LeaseId::NONE && self.leases.get(lease).is_none() {
                return Err(FollowError::LeaseNotFound { lease });
            }
        }
        Ok(())
    }

    /// Repeats a compaction of the source. Does nothing if this key space is already compacted to that revision. Fails for a
    /// revision above the current revision.
    pub(crate) fn follow_compaction(&mut self, compact: &Compact) -> Result<(), KvError> {
        if Revision(compact.revision) <= self.compacted {
            return Ok(());
        }
        self.compact(compact)
    }

    /// Adds the granted leases that do not exist, with a TTL of at least 1 second and at most [`TTL_MAX_S`]. Ignores the id
    /// [`LeaseId::NONE`]. Removes the leases that have ended and have no keys.
    pub(crate) fn follow_leases(&mut self, leases: &FollowLeases) {
        for grant in &leases.granted {
            let id = grant.lease_id();
            if id != LeaseId::NONE && self.leases.get(id).is_none() {
                let ttl_s = grant.ttl_s.clamp(1, TTL_MAX_S);
                self.leases.insert(id, Lease { ttl_s, remaining_ttl_s: 0 });
            }
        }
        for id in leases.ended.iter().copied().map(LeaseId) {
            if self.leases.keys(id).next().is_none() {
                self.leases.remove(id);
            }
        }
    }

    /// Gives all leases their full TTL, because clients could not renew the leases here.
    pub(crate) fn reset_remaining_ttls(&mut self) {
        self.leases.clear_checkpoints();
    }

    /// Returns the leases without keys that exist here but not in `there`, the sorted ids of the source's leases.
    pub fn ended_leases(&self, there: &[LeaseId]) -> Vec<LeaseId> {
        let ended = |id: &LeaseId| there.binary_search(id).is_err();
        let without_keys = |id: &LeaseId| self.leases.keys(*id).next().is_none();
        let here = self.leases.iter().map(|(id, _)| id);
        here.filter(ended).filter(without_keys).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::LeaseGrant;

    fn put(key: &'static str, version: i64, lease: i64) -> FollowedWrite {
        FollowedWrite { key: key.into(), value: "v".into(), version, lease }
    }

    fn delete(key: &'static str) -> FollowedWrite {
        FollowedWrite { key: key.into(), ..FollowedWrite::default() }
    }

    fn write(kv: &mut Kv, revision: i64, writes: Vec<FollowedWrite>) -> Result<(), FollowError> {
        kv.follow(&FollowedRevision { revision, writes })
    }

    #[test]
    fn a_revision_is_written_once_and_only_after_the_previous_one() {
        let mut kv = Kv::default();
        write(&mut kv, 2, vec![put("a", 1, 0), put("b", 1, 0)]).unwrap();
        write(&mut kv, 3, vec![delete("a"), put("b", 2, 0)]).unwrap();
        // After a restart, the source repeats revisions.
        write(&mut kv, 2, vec![put("a", 1, 0), put("b", 1, 0)]).unwrap();
        assert_eq!(
            write(&mut kv, 5, vec![delete("b")]),
            Err(FollowError::Gap { revision: Revision(3) })
        );
        let b = kv.newest(b"b").expect("the key exists");
        assert_eq!(
            (b.create_revision.0, b.mod_revision.0, b.version),
            (2, 3, 2)
        );
        assert_eq!((kv.newest(b"a"), kv.revision().0), (None, 3));
    }

    #[test]
    fn a_revision_that_does_not_match_writes_nothing() {
        let mut kv = Kv::default();
        write(&mut kv, 2, vec![put("a", 1, 0)]).unwrap();
        let differs = Err(FollowError::Differs { revision: Revision(3) });
        for wrong in [put("a", 1, 0), put("a", 3, 0), put("c", 2, 0), delete("c")] {
            assert_eq!(write(&mut kv, 3, vec![put("b", 1, 0), wrong]), differs);
        }
        assert_eq!((kv.newest(b"b"), kv.revision().0), (None, 2));
    }

    #[test]
    fn a_revision_can_write_a_key_more_than_once() {
        let mut kv = Kv::default();
        write(
            &mut kv,
            2,
            vec![put("a", 1, 0), put("b", 1, 0), put("b", 2, 0)],
        )
        .unwrap();
        write(&mut kv, 3, vec![delete("a"), delete("b"), put("a", 1, 0)]).unwrap();
        write(&mut kv, 4, vec![put("c", 1, 0), delete("c")]).unwrap();
        let a = kv.newest(b"a").expect("the key exists");
        assert_eq!((a.create_revision.0, a.version), (3, 1));
        assert_eq!((kv.len(), kv.revision().0), (1, 4));
        let differs = Err(FollowError::Differs { revision: Revision(5) });
        for wrong in [
            vec![put("a", 2, 0), put("a", 2, 0)],
            vec![delete("a"), put("a", 2, 0)],
            vec![delete("a"), delete("a")],
            vec![put("d", 1, 0), delete("d"), put("d", 2, 0)],
        ] {
            assert_eq!(write(&mut kv, 5, wrong), differs);
        }
        assert_eq!((kv.len(), kv.revision().0), (1, 4));
    }

    #[test]
    fn a_lease_comes_before_its_keys_and_ends_after_them() {
        let mut kv = Kv::default();
        let missing = Err(FollowError::LeaseNotFound { lease: LeaseId(7) });
        assert_eq!(write(&mut kv, 2, vec![put("a", 1, 7)]), missing);
        let grant = LeaseGrant { id: 7, ttl_s: 5 };
        kv.follow_leases(&FollowLeases { granted: vec![grant, grant], ended: Vec::new() });
        write(&mut kv, 2, vec![put("a", 1, 7)]).unwrap();
        let end = FollowLeases { granted: Vec::new(), ended: vec![7, 8] };
        assert_eq!(kv.ended_leases(&[]), []);
        kv.follow_leases(&end);
        assert_eq!(
            kv.leases().len(),
            1,
            "the revision that deletes the key has not been applied"
        );
        write(&mut kv, 3, vec![delete("a")]).unwrap();
        assert_eq!(kv.ended_leases(&[LeaseId(7)]), []);
        assert_eq!(kv.ended_leases(&[LeaseId(6)]), [LeaseId(7)]);
        kv.follow_leases(&end);
        assert!(kv.leases().is_empty());
    }
}
