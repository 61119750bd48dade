//! Tests that `save` reports a failure and cleans up if a store refuses a request or a signal arrives.

use super::*;
use crate::testing::s3::{self, Refusal, Requests};

/// Saves a snapshot of three parts to a store that refuses a request.
async fn save_refused(refusal: Refusal) -> (Result<BackupRecord, BackupError>, Requests) {
    let (store, requests) = s3::start(Some(refusal)).await;
    let source = TestSource::new([Sent::file(&snapshot(LARGE))]);
    (save_as(&store, &source, "a").await, requests)
}

#[tokio::test]
async fn a_store_that_fails_at_a_part_gets_an_abort_and_no_record() {
    let refusals = [
        (
            ("PUT", "partNumber=2"),
            403,
            "AccessDenied",
            Reason::WrongCredentials,
        ),
        (
            ("PUT", "partNumber=3"),
            400,
            "EntityTooLarge",
            Reason::StoreFull,
        ),
        (
            ("POST", "uploadId=7"),
            400,
            "QuotaExceeded",
            Reason::StoreFull,
        ),
        (
            ("PUT", "partNumber=1"),
            400,
            "Unheard",
            Reason::StoreUnreachable,
        ),
    ];
    for (request, status, code, reason) in refusals {
        let (saved, requests) = save_refused(Refusal { request, status, code }).await;
        assert_eq!(saved.unwrap_err().reason, reason, "{code}");
        let requests = requests.lock().unwrap();
        let abort = "DELETE /bucket/of/test/a.db?uploadId=7";
        assert_eq!(requests.last().map(String::as_str), Some(abort), "{code}");
        assert!(
            !requests
                .iter()
                .any(|request| request.starts_with("PUT /bucket/of/test/a.json"))
        );
    }
    // Without a refusal, the same store accepts the backup. The record is written last, and the snapshot is not replaced.
    let (store, requests) = s3::start(None).await;
    save_as(
        &store,
        &TestSource::new([Sent::file(&snapshot(LARGE))]),
        "a",
    )
    .await
    .unwrap();
    let requests = requests.lock().unwrap();
    assert_eq!(
        requests[requests.len() - 2..],
        [
            "PUT /bucket/of/test/a.json if-none-match",
            "HEAD /bucket/of/test/a.db"
        ]
    );
    assert_eq!(
        requests
            .iter()
            .filter(|request| request.contains("partNumber="))
            .count(),
        3
    );
}

#[tokio::test]
async fn a_store_without_conditional_writes_gets_a_record() {
    let request = ("PUT", "a.json if-none-match");
    let (saved, requests) =
        save_refused(Refusal { request, status: 501, code: "NotImplemented" }).await;
    assert!(saved.is_ok(), "{saved:?}");
    let requests = requests.lock().unwrap();
    let of_record: Vec<_> = requests
        .iter()
        .filter(|each| each.contains("a.json"))
        .collect();
    assert_eq!(
        of_record[of_record.len() - 3..],
        [
            "PUT /bucket/of/test/a.json if-none-match",
            "GET /bucket/of/test/a.json",
            "PUT /bucket/of/test/a.json"
        ]
    );
}

#[tokio::test]
async fn a_refusal_of_the_first_request_contains_the_reason() {
    let refusals = [
        (
            403,
            "InvalidAccessKeyId",
            Reason::WrongCredentials,
            "AWS_ACCESS_KEY_ID",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            Reason::WrongCredentials,
            "AWS_SECRET_ACCESS_KEY",
        ),
        (403, "Unheard", Reason::WrongCredentials, "permissions"),
        (
            404,
            "NoSuchBucket",
            Reason::NoSuchBucket,
            "create the bucket",
        ),
        (
            400,
            "AuthorizationHeaderMalformed",
            Reason::StoreUnreachable,
            "--s3-region",
        ),
    ];
    for (status, code, reason, hint) in refusals {
        let (saved, requests) =
            save_refused(Refusal { request: ("GET", "a.json"), status, code }).await;
        let error = saved.unwrap_err();
        assert_eq!(error.reason, reason, "{error}");
        assert!(
            error.message.contains(hint) && error.message.contains("In words"),
            "{error}"
        );
        assert_eq!(requests.lock().unwrap().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_signal_aborts_the_upload() {
    let (store, requests) = s3::start(None).await;
    let (asked, stop) = Stop::by_test();
    let mut sent = Sent::file(&snapshot(LARGE));
    sent.stays_open = true;
    let source = TestSource::new([sent]);
    let saving = save(&store, &source, named("a"), &stop);
    let signal = async {
        while !requests
            .lock()
            .unwrap()
            .iter()
            .any(|request| request.contains("partNumber=2"))
        {
            tokio::task::yield_now().await;
        }
        asked.send_replace(Some("SIGTERM"));
    };
    let (saved, ()) = tokio::join!(saving, signal);
    let error = saved.unwrap_err();
    assert_eq!(error.reason, Reason::Internal);
    assert!(error.message.contains("SIGTERM"), "{error}");
    let requests = requests.lock().unwrap();
    assert!(
        requests
            .last()
            .is_some_and(|request| request.starts_with("DELETE")),
        "{requests:?}"
    );
}
