//! Classifies store errors and explains them to users.

use std::{error::Error, io, iter::successors};

use object_store::client::{HttpError, HttpErrorKind};

use crate::reason::{BackupError, Reason};

/// Returns whether the error means that an object does not exist even though its bucket does.
pub(crate) fn is_missing_object(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. })
        && element(&error.to_string(), "Code") != Some("NoSuchBucket")
}

/// Returns whether the error means that the store does not support a conditional write.
pub(crate) fn is_unsupported(error: &object_store::Error) -> bool {
    element(&error.to_string(), "Code") == Some("NotImplemented")
}

/// Converts a store error to an error that says what to check. `doing` is the failed action, such as "read s3://…".
pub(crate) fn explain(doing: &str, error: &object_store::Error) -> BackupError {
    let text = error.to_string();
    if let Some(code) = element(&text, "Code") {
        let message = element(&text, "Message").unwrap_or_default();
        return of_s3(doing, code, message, is_refused(error, &text));
    }
    // Without credentials, object_store queries the metadata service of the node.
    if text.contains("169.254.169.254") {
        let hint = "there are no credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a workload identity), and \
                    the metadata service of the node does not provide any";
        return failed(doing, Reason::WrongCredentials, hint);
    }
    if let Some(error) = cause::<HttpError>(error) {
        return of_http(doing, error);
    }
    if let Some(error) = cause::<io::Error>(error) {
        return of_disk(doing, error);
    }
    if matches!(error, object_store::Error::NotFound { .. }) {
        return failed(doing, Reason::NotFound, "it does not exist");
    }
    if is_refused(error, &text) {
        let hint = "the store denies access; check the credentials and their permissions";
        return failed(doing, Reason::WrongCredentials, hint);
    }
    // The HTTP connector turns 507 into 413.
    if text.contains("413 Payload Too Large") {
        return failed(doing, Reason::StoreFull, "the store has no space left");
    }
    if text.contains("without LOCATION") {
        let hint = "the bucket is in another region; set --s3-region";
        return failed(doing, Reason::StoreUnreachable, hint);
    }
    failed(doing, Reason::StoreUnreachable, &innermost(error))
}

/// Returns whether the store refused the credentials. `text` is the formatted error.
fn is_refused(error: &object_store::Error, text: &str) -> bool {
    // A listing error contains the status only as text.
    let refusals = ["status code: 401 ", "status code: 403 "];
    matches!(
        error,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    ) || refusals.iter().any(|status| text.contains(status))
}

/// Converts an I/O error of a file system that is used as a store.
pub(crate) fn of_disk(doing: &str, error: &io::Error) -> BackupError {
    if FULL.contains(&error.kind()) {
        let why = format!("{error}; remove backups or enlarge the volume");
        return failed(doing, Reason::StoreFull, &why);
    }
    if error.kind() == io::ErrorKind::NotFound {
        return failed(doing, Reason::NotFound, "it does not exist");
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        let user = rustix::process::getuid().as_raw();
        let why = format!("{error}: user {user} needs access to the directory");
        return failed(doing, Reason::WrongCredentials, &why);
    }
    failed(doing, Reason::StoreUnreachable, &error.to_string())
}

const FULL: [io::ErrorKind; 3] = [
    io::ErrorKind::StorageFull,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::FileTooLarge,
];

/// Creates the error of the failed action `doing`. `why` is the end of the message.
fn failed(doing: &str, reason: Reason, why: &str) -> BackupError {
    BackupError::new(reason, format!("{doing}: {why}"))
}

/// Converts an S3 error code and its message. `doing` names the failed action, such as `read URL`. `is_refused` says whether
/// the store refused the credentials. This flag is used only if neither the code nor the message shows the reason.
fn of_s3(doing: &str, code: &str, message: &str, is_refused: bool) -> BackupError {
    let (reason, hint) = match code {
        "InvalidAccessKeyId" | "XAdminUserNotFound" => {
            (Reason::WrongCredentials, "check AWS_ACCESS_KEY_ID")
        }
        "SignatureDoesNotMatch" => (Reason::WrongCredentials, "check AWS_SECRET_ACCESS_KEY"),
        "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "ExpiredTokenException"
        | "InvalidIdentityToken" => (Reason::WrongCredentials, "get a new token"),
        "RequestTimeTooSkewed" => (
            Reason::WrongCredentials,
            "this machine's clock differs from the store's; correct this machine's clock",
        ),
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "NotSignedUp"
        | "InvalidPayer" => (
            Reason::WrongCredentials,
            "the credentials need s3:ListBucket on the bucket and s3:GetObject, s3:PutObject, s3:DeleteObject and \
             s3:AbortMultipartUpload on its objects (and the use of the key for aws:kms)",
        ),
        "NoSuchBucket" => (
            Reason::NoSuchBucket,
            "create the bucket, or check its name and region",
        ),
        "NoSuchKey" => (Reason::NotFound, "check the name"),
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "IllegalLocationConstraintException" => (
            Reason::StoreUnreachable,
            "the bucket is in another region; set --s3-region",
        ),
        "EntityTooLarge"
        | "QuotaExceeded"
        | "XMinioStorageFull"
        | "XMinioAdminBucketQuotaExceeded"
        | "InsufficientStorage" => (Reason::StoreFull, "remove backups or enlarge the store"),
        _ if is_full(message) => (Reason::StoreFull, "remove backups or enlarge the store"),
        _ if is_refused => (
            Reason::WrongCredentials,
            "check the credentials and their permissions",
        ),
        _ => (
            Reason::StoreUnreachable,
            "the store refused the request for an unknown reason; see the documentation and the log of the store",
        ),
    };
    let message = message.trim().trim_end_matches('.');
    let stated = if message.is_empty() {
        code.to_owned()
    } else {
        format!("{code}: {message}")
    };
    failed(doing, reason, &format!("{hint} ({stated})"))
}

/// Returns whether a store's error message says that the store or a quota is full.
fn is_full(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "no space left",
        "quota exceeded",
        "disk full",
        "storage full",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// Converts a failed HTTP request to an error that says what to check. The reason is always `StoreUnreachable`.
fn of_http(doing: &str, error: &HttpError) -> BackupError {
    let cause = innermost(error);
    let why = if cause.contains("invalid peer certificate") {
        format!("the certificate of the store is not trusted ({cause}); set --s3-cacert")
    } else if cause.contains("corrupt message") {
        format!("the store does not use TLS ({cause}); check --s3-endpoint")
    } else if error.kind() == HttpErrorKind::Connect {
        format!(
            "the store cannot be reached ({cause}); check --s3-endpoint, DNS and network policies"
        )
    } else if error.kind() == HttpErrorKind::Timeout {
        format!("the store does not answer ({cause})")
    } else {
        format!("the connection to the store failed ({cause})")
    };
    failed(doing, Reason::StoreUnreachable, &why)
}

/// Returns the text of the first XML element with this name and without attributes, or `None` if there is no such element.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, from) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = from.split_once(&format!("</{name}>"))?;
    Some(value)
}

/// Returns the first of the error and its causes that has the type `E`, or `None` if none has it.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref())
}

/// Returns the text of the last cause of an error, or of the error itself if it has no cause.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let last = successors(Some(error), |error| (*error).source()).last();
    last.unwrap_or(error).to_string()
}
