//! Retries of a failed backup, without members.

use std::{sync::Arc, time::Duration};

use object_store::memory::InMemory;

use super::*;
use crate::{command::ClientFlags, testing::record};

/// Each attempt reads an entire snapshot, so an attempt at every tick of 5 s would be too expensive.
#[tokio::test]
async fn a_failed_backup_waits_for_its_next_try_and_stays_in_the_status() {
    let store = Store::of_test(Arc::new(InMemory::new()));
    let (_asked, stop) = Stop::by_test();
    let (tell, status) = watch::channel(ChangesStatus::default());
    let endpoints = ["http://127.0.0.1:1".to_owned()];
    let members = Members::new(&endpoints, &ClientFlags::default()).unwrap();
    let mut archiver = Archiver::new(members, &store, &stop, tell);
    // The cluster has a backup, but the changes do not follow it.
    let of_cluster = BackupRecord { cluster_id: "7".to_owned(), ..record("a", 20) };
    store.put("a.db", vec![0; 1032].into()).await.unwrap();
    store.put_record(&of_cluster).await.unwrap();
    let mut archive = ClusterArchive::of(&store, 7).await.unwrap();
    archive.resume_at(Tail::begin(1_000, 4));
    archive.needs_backup = true;
    archiver.archive = Some(archive);
    archiver.save_if_due(Instant::now()).await.unwrap();
    assert!(archiver.saving.take().is_some());
    archiver.report_success();
    assert_eq!(
        (status.borrow().needs_backup, status.borrow().error.as_ref()),
        (true, None)
    );
    let full = BackupError::new(Reason::StoreFull, "no space");
    archiver.handle(Event::Saved(Err(full))).await.unwrap();
    archiver.save_if_due(Instant::now()).await.unwrap();
    assert!(archiver.saving.is_none(), "it waits");
    archiver.report_success();
    let error = status.borrow().error.clone().unwrap();
    assert!(error.contains("no space"), "{error}");
    let later = Instant::now() + Duration::from_secs(30);
    archiver.save_if_due(later).await.unwrap();
    assert!(archiver.saving.take().is_some());
    archiver.handle(Event::Saved(Ok(of_cluster))).await.unwrap();
    archiver.report_success();
    assert_eq!(*status.borrow(), ChangesStatus::default());
}
