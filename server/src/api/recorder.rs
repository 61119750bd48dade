//! `/debug/flight-recorder`: this member's flight recording, as one stream that `witan replay` reads.

use std::path::PathBuf;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use witan_base::account::{JobKind, Permit};
use witan_dialect::{Context, blocking, reply};
use witan_recorder::Download;

const NOTHING: &str = "there is no recording to serve: nothing is recorded yet, the recorder has failed (see the \
    log of this member), or its files have plaintext values (--flight-recorder-values), which are not served (copy \
    DATA_DIR/recorder)";

/// Answers an authorized GET with the recorded files as one stream. Answers 404 if nothing is recorded or the files have
/// plaintext values, and 429 while too many snapshots or recordings are being sent. Answers 500 if the files cannot be read,
/// and 503 if this member is stopping.
pub(super) async fn handle(
    ctx: &Context,
    folder: Option<PathBuf>,
    request: &HttpRequest,
) -> HttpResponse {
    if !reply::allows(request, "GET") {
        return reply::method_not_allowed(Some("GET"));
    }
    let Some(folder) = folder else {
        let text = "this member records nothing; see --flight-recorder-megabytes";
        return reply::text(StatusCode::NOT_FOUND, text);
    };
    let Some(permit) = ctx.account().try_permit(JobKind::Snapshot) else {
        let text =
            "this member is already sending several snapshots or recordings; try again later";
        return reply::text(StatusCode::TOO_MANY_REQUESTS, text);
    };
    let opened = blocking::run(ctx.account(), move || {
        let mut files = Download::open(&folder)?;
        Ok::<_, std::io::Error>((files.next_chunk()?, files))
    });
    let (first, files) = match opened.await {
        Ok(Ok((Some(first), files))) => (first, files),
        Ok(Ok((None, _))) => return reply::text(StatusCode::NOT_FOUND, NOTHING),
        Ok(Err(error)) => {
            let text = format!("the flight recorder's files cannot be read: {error}");
            return reply::text(StatusCode::INTERNAL_SERVER_ERROR, &text);
        }
        Err(error) => return reply::text(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    let mut response = HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .streaming(body(ctx.clone(), first, files, permit));
    reply::end_with_connection(request, &mut response);
    response
}

/// Streams the bytes of all files at the client's pace. A read error or the end of the process truncates the body.
fn body(
    ctx: Context,
    first: Bytes,
    files: Download,
    permit: Permit,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    let rest = stream::try_unfold((ctx, files, permit), async |(ctx, mut files, permit)| {
        let read = blocking::run(ctx.account(), move || (files.next_chunk(), files)).await;
        // The process is stopping.
        let Ok((chunk, files)) = read else {
            return Ok(None);
        };
        Ok(chunk?.map(|chunk| (chunk, (ctx, files, permit))))
    });
    stream::iter([Ok(first)]).chain(rest)
}
