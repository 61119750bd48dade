//! Tests which files `save` leaves in a store when it succeeds and when it fails.

mod refused;

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};

use super::*;
use crate::{
    testing::{Sent, TestSource, hex, snapshot},
    upload::PART_BYTES,
};

/// Size of a snapshot of two and a half parts.
const LARGE: usize = PART_BYTES / 2 * 5;

fn memory() -> (Arc<InMemory>, Store) {
    let objects = Arc::new(InMemory::new());
    (objects.clone(), Store::of_test(objects))
}

/// Returns the names of the stored files.
async fn names(objects: &InMemory) -> Vec<String> {
    let listed = objects
        .list_with_delimiter(Some(&Path::from("of/test")))
        .await
        .unwrap();
    let name = |object: object_store::ObjectMeta| object.location.filename().unwrap().to_owned();
    listed.objects.into_iter().map(name).collect()
}

fn named(name: &str) -> NewBackup<'_> {
    NewBackup { name, ..NewBackup::default() }
}

async fn save_as(
    store: &Store,
    source: &TestSource,
    name: &str,
) -> Result<BackupRecord, BackupError> {
    let (_asked, stop) = Stop::by_test();
    save(store, source, named(name), &stop).await
}

#[tokio::test]
async fn a_backup_is_the_file_and_its_record() {
    let (objects, store) = memory();
    let file = snapshot(LARGE);
    let saved = save_as(&store, &TestSource::new([Sent::file(&file)]), "a")
        .await
        .unwrap();
    assert_eq!(names(&objects).await, ["a.db", "a.json"]);
    let stored = objects.get(&Path::from("of/test/a.db")).await.unwrap();
    assert!(
        stored.bytes().await.unwrap() == file,
        "the store has the member's bytes"
    );
    assert_eq!(
        (saved.bytes, saved.sha256.as_str()),
        (file.len() as u64, hex(&file).as_str())
    );
    assert_eq!((saved.revision, saved.cluster_id.as_str()), (12, "cafe"));
    // The level is the level of the cluster, not the highest level of the release.
    assert_eq!(
        (saved.release.as_deref(), saved.level),
        (Some("0.3.0"), Some(2))
    );
    assert_eq!(store.record("a").await.unwrap(), Some(saved));
}

#[tokio::test]
async fn a_snapshot_that_does_not_match_its_digest_is_not_stored() {
    let (objects, store) = memory();
    let sound = snapshot(100_000);
    let mut flipped = sound.clone();
    flipped[5] ^= 1;
    let cut = Sent { total: sound.len() as u64, ..Sent::file(&sound[..60_000]) };
    // The digest matches, but the member announced more bytes.
    let short = Sent { total: 200_000, ..Sent::file(&sound) };
    let gone = BackupError::new(Reason::SnapshotBroken, "the member is gone");
    let mut lost = Sent::file(&sound);
    lost.pieces.truncate(2);
    lost.pieces.push(Err(gone));
    for sent in [Sent::file(&flipped), cut, short, lost] {
        let error = save_as(&store, &TestSource::new([sent]), "a")
            .await
            .unwrap_err();
        assert_eq!(error.reason, Reason::SnapshotBroken, "{error}");
        assert_eq!(names(&objects).await, [] as [&str; 0], "{error}");
    }
}

#[tokio::test]
async fn the_next_member_is_tried_once_if_a_stream_breaks() {
    let (_, store) = memory();
    let sound = snapshot(100_000);
    let broken = || Sent::file(&sound[..60_000]);
    let source = TestSource::new([broken(), Sent::file(&sound), broken()]);
    let saved = save_as(&store, &source, "a").await.unwrap();
    assert_eq!((saved.sha256, source.left()), (hex(&sound), 1));
    let source = TestSource::new([broken(), broken()]);
    assert!(save_as(&store, &source, "b").await.is_err());
    assert_eq!(source.left(), 0);
}

#[tokio::test]
async fn a_backup_that_exists_is_the_result() {
    let (objects, store) = memory();
    let saved = save_as(&store, &TestSource::new([Sent::file(&snapshot(500))]), "a")
        .await
        .unwrap();
    let other = TestSource::new([Sent::file(&snapshot(900))]);
    assert_eq!(save_as(&store, &other, "a").await.unwrap(), saved);
    assert_eq!(other.left(), 1, "no member is queried");
    // A record without its snapshot is not a backup.
    store.delete("a.db").await.unwrap();
    assert_eq!(save_as(&store, &other, "a").await.unwrap().bytes, 932);
    let foreign = Path::from("of/test/b.json");
    objects.put(&foreign, "{\"mine\":1}".into()).await.unwrap();
    let refused = save_as(&store, &TestSource::new([]), "b")
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::AlreadyExists);
}

/// Restored keys are compared with the hash. If keys were compacted in between, the hashes would differ without a fault.
#[tokio::test]
async fn a_record_has_the_hash_of_the_keys_unless_they_were_compacted() {
    let (_asked, stop) = Stop::by_test();
    let at = |compact_revision| KeysHash { hash: 7, compact_revision };
    let new = |hash_keys| NewBackup { hash_keys, ..named("a") };
    for (hashes, expected, says) in [
        (vec![at(3), at(3)], Some(at(3)), None),
        (vec![at(3), at(4)], None, Some("compacted")),
        (vec![at(3)], None, Some("no answer")),
        (vec![], None, Some("no answer")),
    ] {
        let (_, store) = memory();
        let mut source = TestSource::new([Sent::file(&snapshot(500))]);
        source.hashes = std::sync::Mutex::new(hashes.into());
        let saved = save(&store, &source, new(true), &stop).await.unwrap();
        assert_eq!(saved.keys_hash, expected);
        let warning = saved.warning.clone().unwrap_or_default();
        assert_eq!(saved.warning.is_some(), says.is_some(), "{warning}");
        assert!(warning.contains(says.unwrap_or_default()), "{warning}");
    }
    let (_, store) = memory();
    let mut source = TestSource::new([Sent::file(&snapshot(500))]);
    source.hashes = std::sync::Mutex::new([at(3), at(3)].into());
    let saved = save(&store, &source, new(false), &stop).await.unwrap();
    assert_eq!(saved.keys_hash, None, "the flags request no hash");
}

/// A member that is cut off, or has the CORRUPT alarm, still has data, but perhaps not all acknowledged writes.
#[tokio::test]
async fn a_backup_of_a_member_without_a_quorum_is_marked() {
    let (_, store) = memory();
    let mut source = TestSource::new([Sent::file(&snapshot(500))]);
    source.cut_off = true;
    let saved = save_as(&store, &source, "b").await.unwrap();
    assert!(saved.unconfirmed);
    let warning = saved.warning.clone().unwrap_or_default();
    assert_eq!(warning, "no leader");
    assert_eq!(store.record("b").await.unwrap(), Some(saved));
    let source = TestSource::new([Sent::file(&snapshot(500))]);
    let whole = save_as(&store, &source, "d").await.unwrap();
    assert_eq!((whole.unconfirmed, &whole.warning), (false, &None));
}

/// Without a warning, users would expect that stored changes can be applied to such a backup.
#[tokio::test]
async fn a_backup_to_which_no_changes_can_be_applied_is_reported() {
    let (_asked, stop) = Stop::by_test();
    let failed = BackupError::new(Reason::SourceUnreachable, "no answer");
    for (digest, says) in [
        (Ok(None), "revision 12 was compacted"),
        (Err(failed), "no answer"),
    ] {
        let (_, store) = memory();
        let mut source = TestSource::new([Sent::file(&snapshot(500))]);
        source.revision_digest = digest;
        let begins = NewBackup { begins_changes: true, ..named("a") };
        assert!(save(&store, &source, begins, &stop).await.is_err());
        let saved = save_as(&store, &source, "a").await.unwrap();
        assert_eq!(saved.revision_digest, None);
        let warning = saved.warning.unwrap_or_default();
        assert!(warning.contains(says), "{warning}");
    }
}
