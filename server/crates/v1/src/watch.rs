//! `/v1/watch` waits for one change at or below a key. Sends nothing before the change, not even headers.

use bytes::Bytes;
use witan_api::v1::error::ErrorCode;
use witan_dialect::{Context, basic_auth::KeyAccess, client_connection::Disconnect};
use witan_tree::{Event, Watch, limits::TREE_HISTORY_EVENTS};

use super::error::V1Error;

/// Waits for the first change at or below `key` with index `from` or later; `None` waits for the next change. As in etcd 0.1,
/// starts with the oldest event if the history no longer contains `from`. Returns `None` if the caller has no access or loses
/// it. Fails with `RaftInternal` if there are too many watchers. Fails with `WatcherCleared` if, during the wait, the process
/// stops, the client disconnects, or the history loses the change.
pub(super) async fn next(
    ctx: &Context,
    client: &Disconnect,
    mut access: KeyAccess,
    key: Bytes,
    from: Option<u64>,
) -> Result<Option<Event>, V1Error> {
    let cleared = || V1Error::new(ErrorCode::WatcherCleared, key.clone());
    let mut watch = Watch { path: key.clone(), recursive: true, registered: 0 };
    // Read the index after registering, so that no event is missed.
    let mut waiter = ctx.node.watch(watch.clone())?;
    watch.registered = match access.view(ctx).await? {
        Some(view) => view.machine.tree.index(),
        None => return Ok(None),
    };
    let mut from = from.unwrap_or(watch.registered + 1);
    let mut has_waited = false;
    loop {
        {
            let Some(view) = access.view(ctx).await? else {
                return Ok(None);
            };
            let tree = &view.machine.tree;
            if !has_waited {
                let oldest = tree.index().saturating_sub(TREE_HISTORY_EVENTS as u64) + 1;
                from = from.max(oldest);
            }
            if let Some(event) = tree.next_event(&watch, from).map_err(|_| cleared())? {
                return Ok(Some(event));
            }
            from = from.max(tree.index() + 1);
        }
        tokio::select! {
            () = ctx.node.stopping() => return Err(cleared()),
            () = client.disconnected() => return Err(cleared()),
            first = waiter.woken() => from = from.max(first),
        }
        has_waited = true;
    }
}
