//! Tests which backups the changes need, and that a failed backup is retried.

use std::time::Duration;

use witan_api::changes::{Segment, SegmentId, encode};

use super::*;
use crate::{
    changes::feed::tests::serve,
    command::ClientFlags,
    source::Report,
    testing::{self, changes::segment, memory_store, put_backup, record, s3},
};

fn members(endpoint: &str) -> Members {
    Members::new(&[endpoint.to_owned()], &ClientFlags::default()).unwrap()
}

/// Each attempt reads an entire snapshot, so an attempt at every tick of 5 s would be too expensive.
#[tokio::test]
async fn a_failed_backup_waits_for_its_retry_and_stays_in_the_status() {
    let store = memory_store();
    let (_asked, stop) = Stop::by_test();
    let (tell, status) = watch::channel(ChangesStatus::default());
    let mut archiver = Archiver::new(members("http://127.0.0.1:1"), &store, &stop, tell);
    // The cluster has a backup, but the changes do not follow it.
    let unfit = BackupRecord { cluster_id: "7".to_owned(), ..record("a", 20) };
    put_backup(&store, &unfit).await;
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
    // A saved backup that the changes do not follow is a failure.
    archiver
        .handle(Event::Saved(Ok(unfit.clone())))
        .await
        .unwrap();
    archiver.report_success();
    assert!(status.borrow().needs_backup);
    let error = status.borrow().error.clone().unwrap();
    assert!(error.contains("a.db"), "{error}");
    let fit = BackupRecord {
        name: "b".to_owned(),
        revision_digest: Some("ab".to_owned()),
        ..unfit
    };
    put_backup(&store, &fit).await;
    archiver.handle(Event::Saved(Ok(fit))).await.unwrap();
    archiver.report_success();
    assert_eq!(*status.borrow(), ChangesStatus::default());
}

/// The schedule may be new, or a cluster that was restored in place or created again may have another id. The next scheduled
/// backup may be days away.
#[tokio::test]
async fn changes_that_follow_no_backup_of_their_cluster_need_one() {
    let (endpoint, _) = serve().await;
    let member = Report { cluster_id: 7, ..testing::report(&endpoint) };
    let (_asked, stop) = Stop::by_test();
    for others in [false, true] {
        let store = memory_store();
        if others {
            let ended = BackupRecord { revision_digest: Some("ab".to_owned()), ..record("a", 20) };
            put_backup(&store, &ended).await;
        }
        let (tell, status) = watch::channel(ChangesStatus::default());
        let archiver = Archiver::new(members(&endpoint), &store, &stop, tell);
        let mut archive = ClusterArchive::of(&store, 7).await.unwrap();
        archiver.open_watch(&mut archive, &member).await.unwrap();
        assert!(archive.needs_backup, "others: {others}");
        // The process restarts before the backup is saved.
        assert!(archiver.needs_backup(&archive).await.unwrap());
        assert_eq!(status.borrow().gap, None, "there were no earlier changes");
    }
}

#[tokio::test]
async fn a_new_generation_reports_which_points_in_time_are_missing() {
    let (endpoint, _) = serve().await;
    let member = Report { cluster_id: 7, ..testing::report(&endpoint) };
    let (_asked, stop) = Stop::by_test();
    let store = memory_store();
    let (tell, status) = watch::channel(ChangesStatus::default());
    let archiver = Archiver::new(members(&endpoint), &store, &stop, tell);
    let mut archive = ClusterArchive::of(&store, 7).await.unwrap();
    let first = SegmentId { generation: 1_000, first: 5, number: 0 };
    let stored = encode(&segment(7, &[(2_000, &[5])]));
    archive.segments.append(first, stored.into()).await.unwrap();
    archive = ClusterArchive::of(&store, 7).await.unwrap();
    // The end of the stored changes does not match the member's history.
    archive.tail = None;
    for _ in 0..2 {
        archiver.open_watch(&mut archive, &member).await.unwrap();
        let status = status.borrow().clone();
        let gap = status.gap.unwrap();
        assert_eq!(gap.after, Some(Timestamp::from_second(2).unwrap()));
        assert!(gap.until > Timestamp::from_second(2).unwrap());
        assert_eq!(status.gaps, 1, "nothing was stored in between");
    }
}

/// A watch starts again after each election, and the store may be down at that time.
#[tokio::test]
async fn no_generation_begins_while_the_store_cannot_be_read() {
    let (endpoint, _) = serve().await;
    let member = Report { cluster_id: 7, ..testing::report(&endpoint) };
    let (_asked, stop) = Stop::by_test();
    let (unreadable, _) = s3::start(None).await;
    let (tell, status) = watch::channel(ChangesStatus::default());
    let archiver = Archiver::new(members(&endpoint), &unreadable, &stop, tell);
    let store = memory_store();
    let mut archive = ClusterArchive::of(&store, 7).await.unwrap();
    let first = SegmentId { generation: 1_000, first: 2, number: 0 };
    let quiet = Segment { covered_ms: 2_000, ..segment(7, &[]) };
    archive
        .segments
        .append(first, encode(&quiet).into())
        .await
        .unwrap();
    archive = ClusterArchive::of(&store, 7).await.unwrap();
    for _ in 0..2 {
        archiver
            .open_watch(&mut archive, &member)
            .await
            .unwrap_err();
        assert_eq!(archive.tail.as_ref().unwrap().at.generation, 1_000);
    }
    assert_eq!(status.borrow().gaps, 0);
}
