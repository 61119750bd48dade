//! `/v1/keys`, mapped to the v2 tree. v1 can neither write nor remove directories, and usually treats them as missing.

use actix_web::HttpRequest;
use bytes::Bytes;
use witan_api::v1::error::ErrorCode;
use witan_dialect::{
    Context,
    basic_auth::KeyAccess,
    rendering::{self, ReadRefused},
    reply::FramedBody,
};
use witan_gocompat::text::Sink;
use witan_node::{Node, ProposeError};
use witan_tree::{
    Cause, CompareAndSwap, Comparison, Delete, Event, TreeErrorKind, TreeOperation, WriteMethod,
};

use super::{error::V1Error, render, request::V1Put};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Reads a file or lists a directory from this member's state. Counts the lookup. Fails with `KeyNotFound` if the lookup fails.
/// Returns `None` if the caller has lost access since the first check.
pub(super) async fn get(
    ctx: &Context,
    request: &HttpRequest,
    key: Bytes,
    mut access: KeyAccess,
) -> Result<Option<FramedBody>, V1Error> {
    let Some(view) = access.view(ctx).await? else {
        return Ok(None);
    };
    let now_ns = witan_node::now_ns();
    let write = move |out: &mut dyn Sink, event: &Event| render::read(out, event, now_ns);
    let node = (key.clone(), false);
    let found = rendering::read(ctx, request, view, node, &mut access, write).await;
    match found {
        Ok((body, _)) => {
            ctx.v2_metrics.count_lookup(true);
            Ok(Some(body))
        }
        Err(ReadRefused::Tree(_)) => {
            ctx.v2_metrics.count_lookup(false);
            Err(V1Error::new(ErrorCode::KeyNotFound, key))
        }
        Err(ReadRefused::Fault(fault)) => Err(fault.into()),
        Err(ReadRefused::Unauthorized) => Ok(None),
    }
}

/// Removes a file, without checking the client's access, and returns the event. Treats a directory as missing (`KeyNotFound`).
pub(super) async fn delete(node: &Node, key: Bytes) -> Result<Event, V1Error> {
    let removal = Delete { path: key.clone(), dir: false, recursive: false };
    match node.propose(TreeOperation::Delete(removal)).await {
        Ok(done) => Ok(done.output),
        Err(ProposeError::Fault(fault)) => Err(fault.into()),
        Err(ProposeError::Refused(error)) => {
            Err(map_tree_error(&error, key, ErrorCode::KeyNotFound))
        }
    }
}

/// Writes a file, without checking the client's access, and returns the event. With `prev_value`, fails with `TestFailed`
/// unless the file has this value. An empty `prev_value` creates the file and fails with `TestFailed` if the file exists. In
/// all other cases, a TTL of 0 or less removes the file. If the key is a directory, fails with `KeyNotFound` for a nonempty
/// `prev_value`, and otherwise with `NotFile`.
pub(super) async fn put(node: &Node, put: V1Put) -> Result<Event, V1Error> {
    let key = put.key.clone();
    let wanted = put.prev_value.clone();
    let error = match node.propose(mutation(put, witan_node::now_ns())).await {
        Ok(done) => return Ok(done.output),
        Err(ProposeError::Fault(fault)) => return Err(fault.into()),
        Err(ProposeError::Refused(error)) => error,
    };
    Err(match (error.kind, wanted) {
        (TreeErrorKind::CompareFailed, Some(wanted)) => {
            let actual = match &error.cause {
                Cause::Compared(Comparison { value: Some((_, actual)), .. }) => actual.clone(),
                Cause::Compared(Comparison { value: None, .. }) | Cause::Text(_) => Bytes::new(),
            };
            test_failed(actual, wanted)
        }
        (TreeErrorKind::NodeExists, Some(wanted)) => {
            let present = node.view().await?;
            let tree = &present.machine.tree;
            // A read would list the directory, which may have millions of nodes.
            if tree.lists_more_than(&key, false, 0) {
                return Err(V1Error::new(ErrorCode::NotFile, key));
            }
            match tree.get(&key, false, 0) {
                Ok(event) if event.node.dir => V1Error::new(ErrorCode::NotFile, key),
                Ok(event) => test_failed(event.node.value.unwrap_or_default(), wanted),
                // Another request has removed the file.
                Err(_) => test_failed(Bytes::new(), wanted),
            }
        }
        (_, Some(wanted)) if !wanted.is_empty() => {
            map_tree_error(&error, key, ErrorCode::KeyNotFound)
        }
        (_, _) => map_tree_error(&error, key, ErrorCode::NotFile),
    })
}

/// Builds the tree operation for a write at `now_ns`. An empty previous value creates the key and fails if the key exists. In
/// all other cases, a TTL of 0 or less removes the key.
fn mutation(put: V1Put, now_ns: i64) -> TreeOperation {
    let V1Put { key: path, value, ttl, prev_value } = put;
    let creates = prev_value.as_ref().is_some_and(Bytes::is_empty);
    let method = match ttl {
        Some(..=0) if !creates => WriteMethod::Delete,
        Some(_) | None => WriteMethod::Put,
    };
    let expires_ns = ttl.map(|ttl| now_ns.saturating_add(ttl.saturating_mul(NANOS_PER_SECOND)));
    let (refresh, prev_index) = (false, None);
    let swap = CompareAndSwap { path, value, expires_ns, refresh, prev_value, prev_index };
    TreeOperation::choose(method, creates.then_some(false), (false, false), swap)
}

/// Maps a tree error to v1. `directory` is the error code if a directory is at the key.
fn map_tree_error(error: &witan_tree::TreeError, key: Bytes, directory: ErrorCode) -> V1Error {
    let code = match error.kind {
        TreeErrorKind::KeyNotFound => ErrorCode::KeyNotFound,
        TreeErrorKind::NotFile
        | TreeErrorKind::NotDir
        | TreeErrorKind::RootReadOnly
        | TreeErrorKind::DirNotEmpty => directory,
        TreeErrorKind::CompareFailed | TreeErrorKind::NodeExists => ErrorCode::TestFailed,
        TreeErrorKind::HistoryCleared => ErrorCode::WatcherCleared,
    };
    V1Error::new(code, key)
}

/// Returns the error `TestFailed`, whose cause contains the actual and the expected value.
fn test_failed(actual: Bytes, wanted: Bytes) -> V1Error {
    let (begin, between) = (
        Bytes::from_static(b"TestAndSet: "),
        Bytes::from_static(b"!="),
    );
    V1Error {
        code: ErrorCode::TestFailed,
        cause: vec![begin, actual, between, wanted],
    }
}
