//! `/v1/watch`: waits for one change at or below a key. Sends nothing before the change, not even headers.

use bytes::Bytes;
use witan_api::v1::error::ErrorCode;
use witan_dialect::client::Disconnect;
use witan_node::Node;
use witan_tree::{Event, Watch, limits::TREE_HISTORY_EVENTS};

use super::error::V1Error;

/// Waits for the first change at or below `key` since index `from`; `None` waits for the next change. As in etcd 0.1, skips
/// events that the history no longer contains. Fails with `WatcherCleared` if the process stops or the client disconnects.
pub(super) async fn next(
    node: &Node,
    client: &Disconnect,
    key: Bytes,
    from: Option<u64>,
) -> Result<Event, V1Error> {
    let cleared = || V1Error::new(ErrorCode::WatcherCleared, key.clone());
    let mut watch = Watch { path: key.clone(), recursive: true, registered: 0 };
    // Read the index after registering, so that no event is missed.
    let mut waiter = node.watch(watch.clone())?;
    watch.registered = node.view().await?.machine.tree.index();
    let mut from = from.unwrap_or(watch.registered + 1);
    loop {
        {
            let view = node.view().await?;
            let tree = &view.machine.tree;
            let oldest = tree.index().saturating_sub(TREE_HISTORY_EVENTS as u64) + 1;
            from = from.max(oldest);
            if let Some(event) = tree.next_event(&watch, from).map_err(|_| cleared())? {
                return Ok(event);
            }
            from = from.max(tree.index() + 1);
        }
        tokio::select! {
            () = node.stopping() => return Err(cleared()),
            () = client.disconnected() => return Err(cleared()),
            () = waiter.woken() => {}
        }
    }
}
