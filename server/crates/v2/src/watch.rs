//! Long polls and streams on `/v2/keys`. A watch is a cursor into the tree's history, so events need no queue. When the client
//! has received an event, the watch reads the next one. Without a matching event, the watch sleeps until the node wakes it.
//!
//! A watch without `stream` ends with its first event. Any watch ends if the process stops, the client disconnects, the caller
//! loses access, or the history no longer contains the next event.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use bytes::Bytes;
use futures_util::stream;
use witan_base::account::Charge;
use witan_dialect::{
    Context,
    basic_auth::KeyAccess,
    client_connection::Disconnect,
    rendering::{self, ReadRefused},
    reply::{self, ResponseRefused},
};
use witan_gocompat::text::Sink;
use witan_logging::LogLimit;
use witan_node::TreeWatcher;
use witan_tree::{Event, Tree, TreeError, Watch};

use super::{error::V2Error, headers, parse::Params, render};

/// Limits the log lines of many watches that end at the same time.
static LOST_EVENTS: LogLimit = LogLimit::new();

/// Registers a watch on `key` and sends the response headers immediately. Fails if the caller has no access, the history no
/// longer contains `wait_index`, there are too many watchers, or no state is available.
pub async fn open(
    ctx: &Context,
    request: &HttpRequest,
    key: Bytes,
    mut access: KeyAccess,
    params: &Params,
) -> Result<HttpResponse, V2Error> {
    let mut watch = Watch { path: key, recursive: params.recursive, registered: 0 };
    // Take the view after registering, so that no event is missed.
    let node = &ctx.node;
    let waiter = node.watch(watch.clone())?;
    let Some(view) = access.view(ctx).await? else {
        return Err(ReadRefused::Unauthorized.into());
    };
    let index = view.machine.tree.index();
    watch.registered = index;
    let mut cursor = WatchCursor {
        watch,
        from: params.wait_index.unwrap_or(index + 1),
        idle: false,
    };
    let first = cursor.next(&view.machine.tree)?;
    drop(view); // holding the view would force the next writes to copy data
    let body = WatchBody {
        ctx: ctx.clone(),
        access,
        waiter,
        cursor,
        ready: first,
        client: Disconnect::of(request),
        stream: params.stream,
        ended: false,
        charge: None,
    };
    let lines = stream::unfold(body, |mut body| async move {
        let line = body.next_line().await?;
        Some((line, body))
    });
    let mut response = headers::success(node, StatusCode::OK, index).streaming(lines);
    reply::end_with_connection(request, &mut response);
    Ok(response)
}

/// The range of a watch and its position in the history.
#[derive(Debug)]
struct WatchCursor {
    watch: Watch,
    /// The index of the next change to examine.
    from: u64,
    /// Whether the last read found no matching event.
    idle: bool,
}

impl WatchCursor {
    /// Skips the changes before `index`. The caller must know that none of these changes matches the watch.
    fn skip_to(&mut self, index: u64) {
        self.from = self.from.max(index);
    }

    /// Returns the next matching event, or `None` if no such event exists yet. Advances past all events that were examined.
    /// Fails if the history no longer contains the next event.
    fn next(&mut self, tree: &Tree) -> Result<Option<Event>, TreeError> {
        let found = tree.next_event(&self.watch, self.from)?;
        match &found {
            Some(event) => self.from = event.index + 1,
            None => self.from = self.from.max(tree.index() + 1),
        }
        self.idle = found.is_none();
        Ok(found)
    }
}

#[derive(Debug)]
struct WatchBody {
    ctx: Context,
    access: KeyAccess,
    waiter: TreeWatcher,
    cursor: WatchCursor,
    ready: Option<Event>,
    client: Disconnect,
    stream: bool,
    ended: bool,
    /// The memory charge for the previous line, released when the next line is requested.
    charge: Option<Charge>,
}

impl WatchBody {
    /// Waits for the next event and renders its line. Returns `None` at the end of the watch. If the line's memory charge is
    /// refused, fails and ends the watch.
    async fn next_line(&mut self) -> Option<Result<Bytes, ResponseRefused>> {
        self.charge = None;
        if self.ended {
            return None;
        }
        let event = match self.ready.take() {
            Some(event) => event,
            None => self.next_event().await?,
        };
        self.ended = !self.stream;
        let least_bytes = rendering::least_bytes(&event);
        let write = move |out: &mut dyn Sink| render::event(out, &event);
        let line = rendering::render(self.ctx.account(), least_bytes, write).await;
        self.ended |= line.is_err();
        Some(line.map(|line| {
            self.charge = line.charge;
            line.bytes.into()
        }))
    }

    /// Waits for the next matching event. Returns `None` if the process stops, the client disconnects, the caller has no
    /// access, no state is available, or the history lacks the event.
    async fn next_event(&mut self) -> Option<Event> {
        loop {
            if self.cursor.idle {
                tokio::select! {
                    () = self.ctx.node.stopping() => return None,
                    () = self.client.disconnected() => return None,
                    first = self.waiter.woken() => self.cursor.skip_to(first),
                }
            }
            let Some(view) = self.access.view(&self.ctx).await.ok()? else {
                tracing::info!("ending a watch whose caller may no longer read the key");
                return None;
            };
            match self.cursor.next(&view.machine.tree) {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(lost) => {
                    if let Some(left_out) = LOST_EVENTS.admit() {
                        tracing::info!(
                            left_out,
                            %lost,
                            "ending a watch that has fallen behind the event history"
                        );
                    }
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use witan_tree::{Set, TreeCommand, TreeOperation, limits::TREE_HISTORY_EVENTS};

    use super::*;

    fn set(tree: &mut Tree, path: &'static str) {
        let set = Set { path: path.into(), ..Set::default() };
        let command = TreeCommand { operation: Some(TreeOperation::Set(set)) };
        tree.apply(&command, 0).expect("a file can be replaced");
    }

    /// The history no longer contains the changes between the last read and the wake-up.
    #[test]
    fn a_watch_skips_lost_changes_only_if_none_can_match() {
        let mut tree = Tree::default();
        let watch = Watch { path: "/k".into(), recursive: false, registered: 0 };
        let idle = || WatchCursor { watch: watch.clone(), from: 1, idle: true };
        let (mut woken_early, mut woken_late) = (idle(), idle());
        set(&mut tree, "/k");
        for _ in 0..TREE_HISTORY_EVENTS {
            set(&mut tree, "/noise");
        }
        set(&mut tree, "/k");
        woken_early.skip_to(1);
        assert!(woken_early.next(&tree).is_err());
        woken_late.skip_to(tree.index());
        let found = woken_late.next(&tree).expect("the event is kept");
        assert_eq!(found.map(|event| event.index), Some(tree.index()));
    }
}
