//! Imports the versions of another store from its snapshot, which the caller parses.

use super::{Compact, IndexEntry, KeyChange, Kv, Version};
use crate::{
    counters::check_import,
    lease::{Lease, LeaseId},
    record::CorruptRecord,
    revision::Revision,
};

/// One version of another store.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportedVersion<'a> {
    /// Revision of the change.
    pub main: Revision,
    /// Index of the change within its revision.
    pub sub: u64,
    /// Whether the change deleted the key. For a deletion, the fields after `key` are ignored.
    pub deletes: bool,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Revision of the put that created the key.
    pub create_revision: Revision,
    /// Number of puts since the key was created.
    pub version: i64,
    /// Attached lease; [`LeaseId::NONE`] for no lease.
    pub lease: LeaseId,
}

impl Kv {
    /// Imports the next version. The caller passes versions in revision order, starting with an empty store.
    /// [`Self::finish_import`] attaches the lease. Fails if a checkpoint could not contain the version.
    pub fn import_version(&mut self, foreign: &ImportedVersion<'_>) -> Result<(), CorruptRecord> {
        self.check_foreign(foreign)?;
        let past = self.previous_version(foreign.key);
        let tombstone = foreign.deletes;
        let value = if tombstone { &[] } else { foreign.value };
        let version = Version {
            main: foreign.main,
            sub: foreign.sub,
            tombstone,
            create: if tombstone {
                foreign.main
            } else {
                foreign.create_revision
            },
            version: if tombstone { 0 } else { foreign.version },
            lease: if tombstone {
                LeaseId::NONE
            } else {
                foreign.lease
            },
            links: past.as_ref().map(|past| past.links).unwrap_or_default(),
            key: foreign.key,
            value_len: value.len(),
            value_at: 0,
            size: 0,
        };
        let (location, size) = self.history.push(&version, value, self.pacing.block_bytes);
        let life = past.filter(|past| !past.tombstone);
        self.live_bytes -= life.map_or(0, |past| past.size);
        self.live_bytes += if tombstone { 0 } else { size as u64 };
        self.index
            .put(foreign.key, IndexEntry { location, tombstone });
        self.revision = foreign.main;
        Ok(())
    }

    /// Imports a version that another key space retains, like [`Self::import_version`]. If the value is only on disk, waits
    /// until it has been read.
    pub fn import_change(&mut self, change: &KeyChange<'_>) -> Result<(), CorruptRecord> {
        let pair = change.pair();
        self.import_version(&ImportedVersion {
            main: change.revision(),
            sub: change.sub(),
            deletes: change.deletes(),
            key: change.key(),
            value: &pair.value,
            create_revision: pair.create_revision,
            version: pair.version,
            lease: pair.lease,
        })
    }

    /// Completes an import after the last [`Kv::import_version`]. Adopts the other store's compacted revision, which may raise
    /// the current revision. Completely executes that store's scheduled compaction `asked` (0 for no compaction), and attaches
    /// keys to leases. A missing lease of a key is created with the maximum TTL. Fails if `asked` is above the current
    /// revision, or if `compacted` or `asked` is too large.
    pub fn finish_import(
        &mut self,
        compacted: Revision,
        asked: Revision,
    ) -> Result<(), CorruptRecord> {
        check_import(
            "compacted revision",
            compacted.max(asked).0.max(0).cast_unsigned(),
        )?;
        if compacted > Revision::NONE {
            self.compacted = compacted;
            self.revision = self.revision.max(compacted);
        }
        if asked > self.compacted.max(Revision::NONE) {
            let compact = Compact { revision: asked.0 };
            self.compact(&compact)
                .map_err(|error| CorruptRecord::new(format!("a compaction: {error}")))?;
            self.clear_states_before_compaction();
        }
        while self.sweeping {
            self.continue_sweep();
        }
        if !self.attach_leased_keys() {
            // The other store never removes keys whose lease is missing.
            self.leases.create_missing();
        }
        Ok(())
    }

    /// Imports a lease before [`Kv::finish_import`] is called. Fails if the lease has the id 0 or invalid TTLs.
    pub fn import_lease(&mut self, id: LeaseId, lease: Lease) -> Result<(), CorruptRecord> {
        if id == LeaseId::NONE || !lease.is_sound() {
            return Err(CorruptRecord::new(format!("lease {id}: {lease:?}")));
        }
        self.leases.insert(id, lease);
        Ok(())
    }

    /// Fails unless a checkpoint can contain the version. The revision must not be below earlier revisions, and the counters
    /// must not exceed `COUNT_IMPORT_MAX`. A put's create revision must be between 0 and the revision.
    fn check_foreign(&self, foreign: &ImportedVersion<'_>) -> Result<(), CorruptRecord> {
        let ImportedVersion { main, sub, create_revision, version, .. } = *foreign;
        let key = foreign.key.escape_ascii();
        let counts = [
            main.0.max(0).cast_unsigned(),
            sub,
            version.max(0).cast_unsigned(),
        ];
        for count in counts {
            check_import(
                format_args!("count of version {main}.{sub} of key \"{key}\""),
                count,
            )?;
        }
        let lives = (Revision::NONE..=main).contains(&create_revision) && version >= 0;
        if main >= self.revision && (foreign.deletes || lives) {
            return Ok(());
        }
        Err(CorruptRecord::new(format!(
            "version {main}.{sub} of key \"{key}\" is inconsistent"
        )))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        counters::COUNT_IMPORT_MAX,
        kv::{
            DeleteRange, KvOperation, Put,
            test_helpers::{all, apply, compact},
        },
        lease::TTL_MAX_S,
    };

    /// Returns a store after `commands` puts and deletions of a few keys, the same in every run.
    fn filled(commands: usize) -> Kv {
        let mut kv = Kv::default();
        for at in 0..commands {
            let key = Bytes::from(format!("k{}", at * 7 % 11));
            let value = vec![b'v'; at * 31 % 200].into();
            apply(
                &mut kv,
                match at % 5 {
                    3 => KvOperation::Delete(DeleteRange { key, ..DeleteRange::default() }),
                    _ => KvOperation::Put(Put { key, value, lease: 0, ..Put::default() }),
                },
            );
        }
        kv
    }

    /// Imports the retained versions of a store into a new one, as from a snapshot.
    fn carried(kv: &Kv, compacted: i64, asked: i64) -> Kv {
        let mut taken = Kv::default();
        for written in kv.retained_versions() {
            taken.import_change(&written).unwrap();
        }
        taken
            .finish_import(Revision(compacted), Revision(asked))
            .unwrap();
        taken
    }

    #[test]
    fn imported_versions_equal_the_original() {
        let mut kv = filled(400);
        compact(&mut kv, 150);
        let mut taken = carried(&kv, 150, 150);
        assert_eq!(
            (taken.revision(), taken.compacted()),
            (kv.revision(), Revision(150))
        );
        assert_eq!(taken.len(), kv.len());
        for revision in [150, 200, 301, kv.revision().0] {
            assert_eq!(all(&taken, revision), all(&kv, revision), "{revision}");
        }
        for kv in [&mut kv, &mut taken] {
            compact(kv, 300);
            let key = Bytes::from_static(b"k1");
            apply(kv, KvOperation::Put(Put { key, ..Put::default() }));
        }
        assert_eq!(all(&taken, 0), all(&kv, 0));
        assert_eq!(
            taken.retained_versions().count(),
            kv.retained_versions().count()
        );
        // The locations differ, and so do the encoded lengths of links.
        assert_eq!(taken.live_bytes, taken.history.index(usize::MAX).1);
    }

    #[test]
    fn a_scheduled_compaction_is_executed() {
        let mut kv = filled(100);
        let taken = carried(&kv, 0, 80);
        apply(&mut kv, KvOperation::Compact(Compact { revision: 80 }));
        assert_eq!(taken.compacted(), Revision(80));
        assert_eq!(
            taken.retained_versions().count(),
            kv.retained_versions().count()
        );
        assert!(taken.compacted_states().is_empty());
    }

    #[test]
    fn imported_keys_are_attached_to_their_leases() {
        let mut kv = Kv::default();
        for (at, lease) in [7, 9, 0].map(LeaseId).into_iter().enumerate() {
            let key = format!("k{at}");
            let foreign = ImportedVersion {
                main: Revision(2 + at as i64),
                key: key.as_bytes(),
                create_revision: Revision(2 + at as i64),
                version: 1,
                lease,
                ..ImportedVersion::default()
            };
            kv.import_version(&foreign).unwrap();
        }
        let lease = Lease { ttl_s: 60, remaining_ttl_s: 5 };
        kv.import_lease(LeaseId(7), lease).unwrap();
        kv.finish_import(Revision::NONE, Revision::NONE).unwrap();
        assert_eq!(kv.leases().get(LeaseId(7)), Some(&lease));
        assert_eq!(kv.leases().keys(LeaseId(7)).count(), 1);
        // The lease is unknown, but the key is kept.
        let missing = kv.leases().get(LeaseId(9)).map(|lease| lease.ttl_s);
        assert_eq!(missing, Some(TTL_MAX_S));
        let unsound = Lease { ttl_s: i64::MAX, ..lease };
        assert!(kv.import_lease(LeaseId(8), unsound).is_err());
        assert!(kv.import_lease(LeaseId::NONE, lease).is_err());
    }

    #[test]
    fn inconsistent_versions_are_refused() {
        let sound = ImportedVersion {
            main: Revision(5),
            key: b"k",
            create_revision: Revision(5),
            version: 1,
            ..ImportedVersion::default()
        };
        assert!(Kv::default().import_version(&sound).is_ok());
        for wrong in [
            ImportedVersion { main: Revision(0), ..sound },
            ImportedVersion { main: Revision(-5), ..sound },
            ImportedVersion { main: Revision(i64::MAX), ..sound },
            ImportedVersion { create_revision: Revision(6), ..sound },
            ImportedVersion { version: -1, ..sound },
            ImportedVersion { version: i64::MAX, ..sound },
            ImportedVersion { main: Revision(COUNT_IMPORT_MAX as i64 + 1), ..sound },
            ImportedVersion { version: COUNT_IMPORT_MAX as i64 + 1, ..sound },
            ImportedVersion { sub: u64::MAX, ..sound },
        ] {
            let error = Kv::default().import_version(&wrong).unwrap_err();
            assert!(error.to_string().contains("of key \"k\""), "{error}");
        }
        let mut kv = Kv::default();
        kv.import_version(&sound).unwrap();
        let earlier = ImportedVersion { main: Revision(4), create_revision: Revision(4), ..sound };
        assert!(kv.import_version(&earlier).is_err());
        assert!(
            kv.clone()
                .finish_import(Revision::NONE, Revision(9))
                .is_err()
        );
        for too_far in [i64::MAX, COUNT_IMPORT_MAX as i64 + 1] {
            assert!(
                kv.clone()
                    .finish_import(Revision(too_far), Revision::NONE)
                    .is_err()
            );
        }
    }
}
