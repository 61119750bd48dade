//! Decides which backups in a location to keep.

use std::time::Duration;

use jiff::Timestamp;
use witan_api::backup::{BackupRecord, RetentionFacts, apply_retention};

use crate::{
    changes::segments::SegmentStore,
    command::Retention,
    inventory,
    name::{DATA, RECORD},
    reason::BackupError,
    store::Store,
};

impl Retention {
    /// Returns the backups to remove, oldest first. `complete` is sorted from the newest to the oldest and includes the new
    /// backup `saved`. Always keeps `saved` and the newest confirmed backup. Also keeps the backups of other clusters, because
    /// a new cluster can have the name of a lost cluster.
    ///
    /// Backups that begin a generation of changes (`begins_changes`) do not count toward `keep_last`. Such a backup is removed
    /// once it is older than `keep_within` and `keep_last` confirmed backups are kept. At least one of these must show its
    /// history, and the oldest one that does must be newer than the removed backup.
    ///
    /// If `has_changes`, also keeps the newest backup that shows its history, if possible a confirmed one. Without this backup,
    /// no stored change could be restored.
    ///
    /// Unverified backups may be damaged. They are counted separately and never remove a verified backup. If `saved` is
    /// unverified, the result therefore contains only unverified backups in excess of `keep_last`. If `saved` is verified, an
    /// unverified backup is also removed once it is older than all kept confirmed backups.
    fn excess<'a>(
        self,
        complete: &'a [BackupRecord],
        saved: &BackupRecord,
        now: Timestamp,
        has_changes: bool,
    ) -> Vec<&'a BackupRecord> {
        let of_cluster = |record: &&BackupRecord| record.cluster_id == saved.cluster_id;
        let own = complete.iter().filter(of_cluster);
        let last = self.keep_last.map_or(0, |count| count as usize);
        let verified = own.clone().filter(|record| !record.unverified);
        let bases = verified.filter(|record| has_changes && record.shows_history());
        let base = bases.min_by_key(|record| record.unconfirmed);
        let is_kept = |backup: &BackupRecord| {
            let always = [Some(&saved.name), base.map(|base| &base.name)];
            always.contains(&Some(&backup.name)) || self.is_young(backup, now)
        };
        if saved.unverified {
            // If every verification fails, unverified backups must not fill the store.
            let unverified = own.filter(|record| record.unverified && !record.begins_changes);
            let older = unverified.skip(last.max(1));
            let mut excess: Vec<_> = older.filter(|record| !is_kept(record)).collect();
            excess.reverse();
            return excess;
        }
        let (beginnings, others): (Vec<_>, Vec<_>) =
            own.partition(|record| record.begins_changes && record.name != saved.name);
        let (unverified, counted): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|record| record.unverified);
        let facts = counted.into_iter().map(|backup| RetentionFacts {
            backup,
            at: backup.started_at,
            unconfirmed: backup.unconfirmed,
            kept: is_kept(backup),
        });
        let (kept, mut excess) = apply_retention(facts.collect(), last);
        let is_older = |record: &BackupRecord, than: Option<&&BackupRecord>| {
            than.is_some_and(|kept| record.started_at < kept.started_at)
        };
        let oldest_base = kept.iter().rev().find(|record| record.shows_history());
        // If fewer backups than `keep_last` are kept, none is in excess.
        let is_full = kept.len() >= last;
        let old_beginnings = beginnings
            .into_iter()
            .filter(|record| is_full && !is_kept(record) && is_older(record, oldest_base));
        excess.extend(old_beginnings);
        let old_unverified = unverified.into_iter().enumerate().filter(|(at, record)| {
            !is_kept(record) && (*at >= last || is_older(record, kept.last()))
        });
        excess.extend(old_unverified.map(|(_, record)| record));
        excess.sort_by(|a, b| (a.started_at, &a.name).cmp(&(b.started_at, &b.name)));
        excess
    }

    /// Returns whether a backup is not older than `keep_within`; `false` if that limit is not set.
    fn is_young(self, backup: &BackupRecord, now: Timestamp) -> bool {
        // An age is negative if the clock was set back.
        let age = Duration::try_from(now.duration_since(backup.started_at)).unwrap_or_default();
        self.keep_within.is_some_and(|within| age <= within)
    }
}

/// Removes the backups that the retention policy does not keep, and the changes that no kept backup needs. Keeps all changes if
/// no kept backup shows its history. `saved` is the name of the new backup. If it is not verified yet, removes only unverified
/// backups. Adds the names of the removed backups to `removed`. Does nothing if there is no limit or `saved` is not complete.
pub(crate) async fn apply(
    store: &Store,
    retention: Retention,
    saved: &str,
    removed: &mut Vec<String>,
) -> Result<(), BackupError> {
    if retention == Retention::default() {
        return Ok(());
    }
    let entries = inventory::entries(store).await?;
    // If the pod's clock is ahead, too many backups would seem old. The store has just written a file at its own time.
    let written_at = entries.iter().map(|entry| entry.written_at).max();
    let now = Timestamp::now().min(written_at.unwrap_or(Timestamp::MIN));
    let complete = inventory::complete_records(entries);
    let Some(saved) = complete.iter().find(|record| record.name == saved) else {
        return Ok(());
    };
    let segments = SegmentStore::of(store, &saved.cluster_id)?;
    let has_changes = !segments.ids().await?.is_empty();
    for record in retention.excess(&complete, saved, now, has_changes) {
        let name = &record.name;
        remove(store, name).await?;
        tracing::info!(
            name,
            "removed a backup that the retention policy does not keep"
        );
        removed.push(name.clone());
    }
    if saved.unverified {
        return Ok(());
    }
    let own = complete
        .iter()
        .filter(|record| record.cluster_id == saved.cluster_id);
    let left = own.filter(|record| !removed.contains(&record.name));
    let bases = left.filter(|record| record.shows_history());
    let bases = bases.map(|record| (record.started_at.as_millisecond(), record.revision));
    let bases: Vec<_> = bases.collect();
    match bases.is_empty() {
        true => Ok(()),
        false => segments.prune(&bases).await,
    }
}

/// Deletes the snapshot of a backup and then its record. A record without a snapshot is not a backup.
async fn remove(store: &Store, name: &str) -> Result<(), BackupError> {
    store.delete(&format!("{name}{DATA}")).await?;
    store.delete(&format!("{name}{RECORD}")).await
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        time::SystemTime,
    };

    use super::*;
    use crate::{
        command::S3Flags,
        location::Location,
        testing::{TestFolder, put_backup, record},
    };

    /// Returns the names of the backups that a policy removes at second 60.
    fn removed(kept: Retention, all: &[BackupRecord], saved: &str, has_changes: bool) -> String {
        let mut complete = all.to_vec();
        complete.sort_by_key(|record| std::cmp::Reverse(record.started_at));
        let saved = all.iter().find(|record| record.name == saved).unwrap();
        let now = Timestamp::from_second(60).unwrap();
        let excess = kept.excess(&complete, saved, now, has_changes);
        excess.iter().map(|record| record.name.as_str()).collect()
    }

    /// Returns the names of the backups that the limits remove if changes are stored.
    fn excess(
        all: &[BackupRecord],
        keep_last: Option<u32>,
        keep_within: Option<u64>,
        saved: &str,
    ) -> String {
        let kept = Retention { keep_last, keep_within: keep_within.map(Duration::from_secs) };
        removed(kept, all, saved, true)
    }

    /// Asserts the names of the removed backups for each row: both limits, the saved backup, and the names.
    #[track_caller]
    fn removes(all: &[BackupRecord], table: &[(Option<u32>, Option<u64>, &str, &str)]) {
        for (last, within, saved, removed) in table {
            let found = excess(all, *last, *within, saved);
            assert_eq!(found, *removed, "{last:?} {within:?} {saved}");
        }
    }

    #[test]
    fn a_backup_stays_while_a_limit_keeps_it() {
        let names = [("a", 10), ("b", 20), ("c", 30), ("d", 40), ("e", 50)];
        let all = names.map(|(name, at)| record(name, at));
        let table = [
            (Some(2), None, "e", "abc"),
            (Some(5), None, "e", ""),
            (Some(9), None, "e", ""),
            (None, Some(30), "e", "ab"),
            (None, Some(100), "e", ""),
            // The newest backup is kept.
            (None, Some(1), "e", "abcd"),
            // A backup is kept if either limit keeps it.
            (Some(1), Some(30), "e", "ab"),
            (Some(4), Some(1), "e", "a"),
            // The saved backup is kept, even if the clock was set back.
            (Some(1), None, "b", "acd"),
            (None, Some(1), "b", "acd"),
        ];
        removes(&all, &table);
    }

    /// Someone recreates a lost cluster, and its schedule continues.
    #[test]
    fn a_new_cluster_removes_nothing_of_a_lost_one() {
        let of = |name, at, cluster: &str| {
            let cluster_id = cluster.to_owned();
            BackupRecord { cluster_id, ..record(name, at) }
        };
        let all = [
            of("a", 10, "1"),
            of("b", 20, "1"),
            of("c", 30, "2"),
            of("d", 40, "2"),
        ];
        assert_eq!(excess(&all, Some(1), None, "d"), "c");
    }

    /// If such backups counted, a cluster that compacts too fast would replace all other backups with them.
    #[test]
    fn a_backup_that_starts_changes_does_not_count_for_retention() {
        let ordinary =
            |name, at| BackupRecord { revision_digest: Some("ab".to_owned()), ..record(name, at) };
        let begins = |name, at| BackupRecord { begins_changes: true, ..ordinary(name, at) };
        let all = [
            ordinary("a", 10),
            begins("b", 20),
            ordinary("c", 30),
            begins("d", 40),
            begins("e", 50),
        ];
        assert_eq!(excess(&all, Some(1), None, "c"), "ab");
        assert_eq!(excess(&all, Some(1), Some(45), "c"), "a");
        assert_eq!(excess(&all[1..], Some(2), None, "c"), "");
        // No changes follow the kept backup.
        let mut all = all;
        all[2].revision_digest = None;
        assert_eq!(excess(&all, Some(1), None, "c"), "a");
    }

    /// The members compact too fast, so new backups do not show their history.
    #[test]
    fn the_newest_backup_to_which_changes_can_be_applied_stays() {
        let base =
            |name, at| BackupRecord { revision_digest: Some("ab".to_owned()), ..record(name, at) };
        let unconfirmed = BackupRecord { unconfirmed: true, ..base("c", 30) };
        let rejected = BackupRecord { unverified: true, ..base("d", 40) };
        let all = [
            base("a", 10),
            base("b", 20),
            unconfirmed,
            rejected,
            record("e", 50),
        ];
        for (has_changes, expected) in [(true, "a"), (false, "abcd")] {
            let kept = Retention { keep_last: Some(1), keep_within: None };
            assert_eq!(removed(kept, &all, "e", has_changes), expected);
        }
        // If only an unconfirmed backup shows its history, this backup stays.
        assert_eq!(excess(&all[2..], Some(1), None, "e"), "d");
    }

    /// The schedule continues at a member that is cut off, while the other members have newer data.
    #[test]
    fn an_unconfirmed_backup_removes_no_confirmed_backup() {
        let whole = |name, at| record(name, at);
        let cut_off = |name, at| BackupRecord { unconfirmed: true, ..record(name, at) };
        let all = [
            cut_off("a", 10),
            whole("b", 20),
            whole("c", 30),
            cut_off("d", 40),
            cut_off("e", 50),
        ];
        let table = [
            // `a` is older than all kept confirmed backups.
            (Some(2), None, "e", "a"),
            (Some(1), None, "e", "abd"),
            (Some(3), None, "e", "a"),
            // The newest confirmed backup is kept, however old it is.
            (None, Some(1), "e", "abd"),
            (None, Some(25), "e", "ab"),
            (Some(1), Some(100), "e", ""),
        ];
        removes(&all, &table);
        // If there is no confirmed backup, the newest backups stay.
        let all = [cut_off("a", 10), cut_off("b", 20), cut_off("c", 30)];
        assert_eq!(excess(&all, Some(2), None, "c"), "a");
    }

    /// A verification fails after the backup has been stored.
    #[test]
    fn an_unverified_backup_removes_no_verified_one() {
        let rejected = |name, at| BackupRecord { unverified: true, ..record(name, at) };
        let all = [
            rejected("a", 10),
            record("b", 20),
            record("c", 25),
            rejected("d", 30),
            rejected("e", 40),
            rejected("f", 45),
            record("g", 50),
        ];
        let table = [
            (Some(3), None, "g", "a"),
            (Some(2), None, "g", "abd"),
            (Some(1), None, "g", "abcdef"),
            (None, Some(1), "g", "abcdef"),
            (None, Some(25), "g", "abcd"),
        ];
        removes(&all, &table);
        // Rejected backups do not displace a backup that a member without a quorum saved.
        let cut_off = BackupRecord { unconfirmed: true, ..record("a", 10) };
        let all = [
            cut_off,
            rejected("b", 20),
            rejected("c", 30),
            record("d", 5),
        ];
        assert_eq!(excess(&all, Some(1), None, "d"), "b");
    }

    /// Each verification fails, for example because the pod has too little memory.
    #[test]
    fn an_unverified_backup_removes_only_unverified_ones() {
        let rejected = |name, at| BackupRecord { unverified: true, ..record(name, at) };
        let begins = BackupRecord { begins_changes: true, ..rejected("d", 25) };
        let all = [
            record("a", 5),
            rejected("b", 10),
            record("c", 20),
            begins,
            rejected("e", 30),
            rejected("f", 40),
            rejected("g", 50),
        ];
        let table = [
            (Some(4), None, "g", ""),
            (Some(2), None, "g", "be"),
            (Some(1), None, "g", "bef"),
            // Without `keep_last`, the newest unverified backup stays.
            (None, Some(1), "g", "bef"),
            // A backup is kept if either limit keeps it.
            (Some(1), Some(30), "g", "b"),
            // The saved backup is kept, even if the clock was set back.
            (Some(1), None, "b", "ef"),
        ];
        removes(&all, &table);
    }

    #[test]
    fn a_backup_from_the_future_is_young() {
        let all = [record("a", 100), record("b", 200)];
        assert_eq!(excess(&all, None, Some(5), "b"), "");
    }

    /// The times of the files show that the clock of the pod is ahead.
    #[tokio::test]
    async fn a_clock_that_is_ahead_ages_no_backup() {
        let folder = TestFolder::new("retention");
        let at = Location::Folder(folder.path().to_owned());
        let store = Store::create(&at, &S3Flags::default()).unwrap();
        for (name, second) in [("a", 10), ("b", 40), ("c", 50)] {
            put_backup(&store, &record(name, second)).await;
        }
        let written_at = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
        for file in fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(written_at).unwrap();
        }
        let within = Some(Duration::from_secs(30));
        let kept = Retention { keep_last: None, keep_within: within };
        let mut removed = Vec::new();
        apply(&store, kept, "c", &mut removed).await.unwrap();
        assert_eq!(removed, ["a"]);
    }

    /// An interrupted removal leaves only a small file.
    #[tokio::test]
    async fn a_snapshot_is_deleted_before_its_record() {
        let (store, requests) = crate::testing::s3::start(None).await;
        remove(&store, "a").await.unwrap();
        let requests = requests.lock().unwrap().join(" ");
        let at = |part| requests.find(part).unwrap();
        assert!(at("a.db") < at("a.json"), "{requests}");
    }
}
