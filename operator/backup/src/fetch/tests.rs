//! Tests that `fetch` downloads the newest backup or the backup with the given name, and that a damaged backup leaves no file.

use std::sync::Arc;

use object_store::{ObjectStoreExt as _, memory::InMemory, path::Path as Key};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::testing::{TestFolder, hex, record, snapshot};

/// Returns a store with two backups, `old` and `new`, and a plain snapshot, `plain.db`.
async fn store() -> (Arc<InMemory>, Store) {
    let objects = Arc::new(InMemory::new());
    let store = Store::of_test(objects.clone());
    for (name, second, bytes) in [("new", 20, 2000), ("old", 10, 1000)] {
        let file = snapshot(bytes);
        let mut record = record(name, second);
        (record.bytes, record.sha256) = (file.len() as u64, hex(&file));
        put(&objects, &format!("{name}.db"), file).await;
        store.put_record(&record).await.unwrap();
    }
    put(&objects, "plain.db", snapshot(3000)).await;
    (objects, store)
}

async fn put(objects: &InMemory, name: &str, file: Vec<u8>) {
    objects
        .put(&Key::from(format!("of/test/{name}")), file.into())
        .await
        .unwrap();
}

/// Fetches into a directory. Returns the bytes of the file.
async fn fetched(store: &Store, name: Option<&str>) -> Result<Vec<u8>, BackupError> {
    let folder = TestFolder::new("fetch");
    let to = folder.path().join("snapshot.db");
    let done = fetch(store, name, None, &to).await;
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    match done {
        Ok(_) => {
            assert_eq!(names, ["snapshot.db"]);
            Ok(fs::read(to).unwrap())
        }
        Err(error) => {
            assert!(names.is_empty(), "{error} leaves {names:?}");
            Err(error)
        }
    }
}

#[tokio::test]
async fn a_broken_file_leaves_nothing() {
    let (objects, store) = store().await;
    for file in ["new.db", "plain.db"] {
        let sound = objects
            .get(&Key::from(format!("of/test/{file}")))
            .await
            .unwrap();
        let sound = sound.bytes().await.unwrap().to_vec();
        let mut flipped = sound.clone();
        flipped[100] ^= 0x10;
        for broken in [flipped, sound[..sound.len() - 1].to_vec(), Vec::new()] {
            put(&objects, file, broken).await;
            let error = fetched(&store, Some(file)).await.unwrap_err();
            assert_eq!(error.reason, Reason::BackupBroken, "{error}");
        }
    }
    // The file matches its own digest and has the size in the record, but not the digest in the record.
    let mut other = vec![7; 2000];
    other.extend_from_slice(&Sha256::digest(&other));
    put(&objects, "new.db", other).await;
    assert_eq!(
        fetched(&store, Some("new")).await.unwrap_err().reason,
        Reason::BackupBroken
    );
    // The file has another size, so it is not the newest complete backup.
    put(&objects, "new.db", snapshot(2001)).await;
    assert!(fetched(&store, None).await.unwrap() == snapshot(1000));
}

#[tokio::test]
async fn a_file_replaces_another_one_only_when_it_is_complete() {
    let (objects, store) = store().await;
    let folder = TestFolder::new("fetch-again");
    let to = folder.path().join("snapshot.db");
    fs::write(&to, "before").unwrap();
    put(&objects, "new.db", b"broken".to_vec()).await;
    assert!(fetch(&store, Some("new"), None, &to).await.is_err());
    assert_eq!(fs::read(&to).unwrap(), b"before");
    fetch(&store, Some("old"), None, &to).await.unwrap();
    assert!(fs::read(&to).unwrap() == snapshot(1000));
    let nowhere = folder.path().join("missing/snapshot.db");
    let error = fetch(&store, Some("old"), None, &nowhere)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::LocalDisk);
}

/// The verification of the newest backup has failed, or is still running.
#[tokio::test]
async fn a_backup_that_is_not_verified_is_fetched_only_by_its_name() {
    let (_, store) = store().await;
    let set = async |name: &str| {
        let mut record = store.record(name).await.unwrap().unwrap();
        record.unverified = true;
        store.put_record(&record).await.unwrap();
    };
    set("new").await;
    assert!(fetched(&store, None).await.unwrap() == snapshot(1000));
    assert!(fetched(&store, Some("new")).await.unwrap() == snapshot(2000));
    set("old").await;
    let error = fetched(&store, None).await.unwrap_err();
    assert_eq!(error.reason, Reason::NotFound);
    assert!(error.message.contains("--name new"), "{error}");
}

/// A restore to a time has no target revision, so later members need the revision that the first restore reached.
#[tokio::test]
async fn the_result_has_the_revision_of_the_changes() {
    let (_, store) = store().await;
    let folder = TestFolder::new("fetch-changes");
    let to = folder.path().join("snapshot.db");
    let changes = folder.path().join("changes");
    let revision = record("old", 10).revision;
    for (changes, expected) in [
        (None, None),
        (Some((&*changes, Until::Revision(revision))), Some(revision)),
    ] {
        let done = fetch(&store, Some("old"), changes, &to).await.unwrap();
        let json = serde_json::to_value(done).unwrap();
        assert_eq!(json["toRevision"].as_i64(), expected, "{json}");
        assert_eq!(json["name"], "old");
    }
}

/// A backup of a member without a quorum may lack writes that an earlier backup contains.
#[test]
fn an_unconfirmed_backup_is_fetched_with_a_warning() {
    assert_eq!(doubt(&record("a", 1)), None);
    let unconfirmed = BackupRecord { unconfirmed: true, ..record("a", 1) };
    let text = doubt(&unconfirmed).unwrap();
    assert!(text.ends_with("lack acknowledged writes"), "{text}");
    let warning = Some("the CORRUPT alarm is raised".to_owned());
    let text = doubt(&BackupRecord { warning, ..unconfirmed }).unwrap();
    assert!(text.ends_with("the CORRUPT alarm is raised"), "{text}");
}
