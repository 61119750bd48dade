//! Runs one watch stream, which processes requests and responses in sequence. Cancels watchers whose changes were compacted.

use std::sync::Arc;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::runtime::Handle;
use tonic::Status;
use witan_api::v3::etcdserverpb::{
    WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion,
};
use witan_base::{account::Resource, panics};
use witan_dialect::Context;
use witan_node::{Node, PendingChanges, StreamChanges, WatchStream, WatcherGroupId};

use super::{
    answer::WatchAnswer,
    delivery::ResponseQueue,
    history_reader::{Compacted, HistoryStates, RangeToRead, ResumePoint, UnreadLocations},
    permission::{PermissionState, status_text},
    progress::{NO_WATCHER, ProgressNotifier},
    unread::{UnreadChanges, UnreadGroups},
    unsynced::UnsyncedWatchers,
    watchers::{CreatedWatcher, StreamWatchers},
    worker_turn::WorkerTurn,
};
use crate::{RpcResult, error::RpcError, header, stream_end::StreamEnd};
use witan_machine::revision::Revision;

/// Number of watchers to cancel before the task yields. When a stream with more watchers ends, another thread unregisters them.
const WATCHERS_ENDED_AT_ONCE: usize = 256;

/// Number of steps without a response before the task yields, because many requests can arrive together.
const STEPS_PER_YIELD: usize = 64;

/// A watch stream with all its watchers.
pub(crate) struct Session<R> {
    ctx: Context,
    /// The client's requests; `None` after the client has closed its side.
    requests: Option<R>,
    /// The stream's registration, shared with the task that unregisters the watchers at the end.
    reader: Arc<WatchStream>,
    watchers: StreamWatchers,
    out: ResponseQueue,
    permission_state: PermissionState,
    unread: UnreadGroups,
    unsynced: UnsyncedWatchers,
    turn: WorkerTurn,
    /// The revision up to which the stream has taken all changes.
    notified_revision: Revision,
    progress: ProgressNotifier,
    stream_end: StreamEnd,
    pending: i64,
}

impl<R> Session<R> {
    /// Creates a session without watchers. With `needs_leader`, the session fails if this member knows no leader for too long.
    /// Counts the stream in the metrics.
    pub(crate) fn new(ctx: &Context, requests: R, needs_leader: bool) -> Self {
        ctx.v3_metrics.watch_streams.inc();
        let memory = ctx.account().hold_later(Resource::Watchers);
        Self {
            requests: Some(requests),
            reader: ctx.node.watch_stream().into(),
            watchers: StreamWatchers::new(memory),
            out: ResponseQueue::default(),
            permission_state: PermissionState::new(ctx),
            unread: UnreadGroups::default(),
            unsynced: UnsyncedWatchers::default(),
            turn: WorkerTurn::default(),
            notified_revision: Revision::NONE,
            progress: ProgressNotifier::default(),
            stream_end: StreamEnd::new(ctx, needs_leader),
            ctx: ctx.clone(),
            pending: 0,
        }
    }

    /// Creates a watcher and queues the response, which contains the reason if creation is refused. An error ends the stream.
    async fn create(&mut self, request: &WatchCreateRequest) -> Result<(), Status> {
        let refusal = self.permission_state.refusal(&self.ctx, request).await?;
        if let Some(refusal) = refusal {
            let answer = self.refused(status_text(refusal));
            self.out.push_response(answer);
            return Ok(());
        }
        let answer = match self.watchers.create(&self.reader, request) {
            Ok(CreatedWatcher { id, published, unsynced }) => {
                self.ctx.v3_metrics.watchers.inc();
                if unsynced {
                    self.ctx.v3_metrics.slow_watchers.inc();
                    let from = ResumePoint::at_revision(Revision(request.start_revision), None);
                    self.unsynced.add(id, from, published);
                }
                WatchResponse {
                    header: header::at(&self.ctx.node, published),
                    watch_id: id,
                    created: true,
                    ..WatchResponse::default()
                }
            }
            Err(refusal) => self.refused(refusal.to_string()),
        };
        self.out.push_response(answer);
        Ok(())
    }

    /// Builds the response to a refused creation. As in etcd, the response reports the watcher as created and canceled.
    fn refused(&self, cancel_reason: String) -> WatchResponse {
        WatchResponse {
            header: header::at(&self.ctx.node, self.reader.published()),
            watch_id: NO_WATCHER,
            created: true,
            canceled: true,
            cancel_reason,
            ..WatchResponse::default()
        }
    }

    /// Cancels a watcher and queues the response. As in etcd, ignores an unknown ID.
    fn cancel(&mut self, id: i64) {
        if self.end(id) {
            let answer = WatchResponse { watch_id: id, ..self.canceled() };
            self.out.push_response(answer);
        }
    }

    /// Builds the response to the cancellation of a watcher, without the watcher's ID.
    fn canceled(&self) -> WatchResponse {
        WatchResponse {
            header: header::at(&self.ctx.node, self.reader.published()),
            canceled: true,
            ..WatchResponse::default()
        }
    }

    /// Removes a watcher and returns whether it existed. Updates the metrics.
    fn end(&mut self, id: i64) -> bool {
        let Some((watcher, group_id)) = self.watchers.cancel(&self.reader, id) else {
            return false;
        };
        self.ctx.v3_metrics.watchers.dec();
        if watcher.flags.unsynced {
            self.ctx.v3_metrics.slow_watchers.dec();
            self.unsynced.resume.remove(&id);
        }
        // Drop the unread changes, because the group's ID can be reused.
        if let Some(group_id) = group_id {
            self.unread.remove(group_id);
        }
        true
    }

    /// Cancels the watchers that may no longer read their range, and queues responses with the reason.
    async fn recheck_permissions(&mut self) -> Result<(), Status> {
        let denied = self
            .permission_state
            .denied(&self.ctx, &self.watchers)
            .await?;
        for (refusal, ids) in denied {
            self.cancel_for(refusal, ids).await;
        }
        Ok(())
    }

    /// Cancels watchers, drops their queued events, and queues responses with the reason.
    async fn cancel_for(&mut self, reason: RpcError, ids: Vec<i64>) {
        for (at, id) in ids.iter().enumerate() {
            if (at + 1) % WATCHERS_ENDED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            self.end(*id);
        }
        self.out.forget_removed(&self.watchers);
        let answer = WatchResponse { cancel_reason: status_text(reason), ..self.canceled() };
        self.out.push_repeated(answer, ids, 0);
    }

    /// Handles one request. Ignores an empty request.
    async fn serve(&mut self, request: WatchRequest) -> Result<(), Status> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(&request).await?,
            Some(RequestUnion::CancelRequest(request)) => self.cancel(request.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => {
                self.progress.count(&self.watchers, self.reader.published());
            }
            None => {}
        }
        Ok(())
    }

    /// Queues the progress notifications that are due, once the stream has read up to the revision published when they became
    /// due. Periodic notifications go to idle synced watchers. Answers to progress requests wait until no watcher is unsynced.
    fn send_progress(&mut self) {
        let caught_up = self.unsynced.resume.is_empty();
        let (watchers, requests) =
            self.progress
                .take_recipients(&mut self.watchers, self.notified_revision, caught_up);
        if watchers.is_empty() && requests == 0 {
            return;
        }
        let answer = WatchResponse {
            header: header::at(&self.ctx.node, self.notified_revision),
            ..WatchResponse::default()
        };
        self.out.push_repeated(answer, watchers, requests);
    }

    /// Marks watchers as compacted and queues their cancellation, with the revision 0 in the header. As in etcd, the watchers
    /// keep their IDs.
    fn cancel_compacted(&mut self, ids: Vec<i64>, Compacted(compacted): Compacted) {
        for id in &ids {
            let watcher = self.watchers.by_id.get(id);
            if watcher.is_some_and(|watcher| watcher.flags.unsynced) {
                self.ctx.v3_metrics.slow_watchers.dec();
            }
            self.watchers.mark_compacted(*id);
        }
        let answer = WatchResponse {
            header: header::at(&self.ctx.node, Revision::NONE),
            canceled: true,
            compact_revision: compacted.0,
            ..WatchResponse::default()
        };
        self.out.push_repeated(answer, ids, 0);
    }

    /// Reads changes into `out`: of synced groups or, if they have no unread changes, of one unsynced watcher. Takes new
    /// changes first if all earlier changes have been read. Returns `false` if there was nothing to read.
    async fn read(&mut self) -> Result<bool, Status> {
        if self.unread.is_empty() {
            let StreamChanges { notified_revision, published, touched } = self
                .reader
                .take(self.progress.wanted.max(self.unsynced.wanted()));
            self.notified_revision = notified_revision;
            self.unsynced.lower_created(published);
            self.unread.extend(touched);
        }
        if !self.unread.is_empty() {
            self.read_groups().await?;
        } else if self.unsynced.is_ready(self.notified_revision) {
            self.read_unsynced().await?;
        } else {
            return Ok(false);
        }
        if self.out.is_empty() {
            // The step scanned a large part of the history without finding an event.
            self.turn.end().await;
        }
        Ok(true)
    }

    /// Reads the unread changes of one group after another, until a response is queued or enough changes have been scanned.
    async fn read_groups(&mut self) -> Result<(), Status> {
        let mut shared = None;
        while let Some((group_id, unread)) = self.unread.take_next(&self.out, &self.turn) {
            match unread {
                UnreadChanges::Locations(touched) => {
                    let states = match shared.take() {
                        Some(states) => states,
                        None => {
                            let (reader, node) = (self.reader.clone(), self.ctx.node.clone());
                            history_states(reader, node, self.notified_revision).await?
                        }
                    };
                    self.read_recorded(&states, group_id, &touched);
                    shared = Some(states);
                }
                UnreadChanges::FromRevision(from) => {
                    // Reading can yield, and a state held across a yield keeps its memory.
                    shared = None;
                    self.read_from(group_id, from).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads a batch of a group's pending changes at their recorded locations and queues it for the group's synced watchers.
    /// Puts the remaining changes back into `unread`. Puts the group back to be read by revision if the history layout has
    /// changed, a value is only on disk, or a revision exceeds a batch. If changes were compacted, cancels the watchers that
    /// need them.
    fn read_recorded(
        &mut self,
        states: &HistoryStates,
        group_id: WatcherGroupId,
        touched: &PendingChanges,
    ) {
        self.turn.count(1);
        if !states.has_layout_of(touched) {
            let from = ResumePoint::at_revision(touched.revision, None);
            return self.unread.put_back(group_id, from);
        }
        let Some(group) = self.watchers.groups.get(&group_id) else {
            return;
        };
        let Some(first) = group.after(None) else {
            return;
        };
        match states.at_locations(touched, group.prev_kv_count > 0) {
            Ok((batch, rest)) => {
                self.turn.count(batch.events.len());
                if let Some(rest) = rest {
                    self.unread.put_back(group_id, rest);
                }
                self.out.push_synced((group_id, first), batch);
            }
            Err(UnreadLocations::ByRevision(from)) => self.unread.put_back(group_id, from),
            Err(UnreadLocations::Compacted(lost)) => self.cancel_lost(group_id, lost),
        }
    }

    /// Reads one batch of a group's changes, starting at `from`, and puts the remaining changes back into `unread`. If changes
    /// were compacted or a revision does not fit in memory, cancels the synced watchers that need them.
    async fn read_from(
        &mut self,
        group_id: WatcherGroupId,
        from: ResumePoint,
    ) -> Result<(), Status> {
        let Some(group) = self.watchers.groups.get(&group_id) else {
            return Ok(());
        };
        let Some(first) = group.after(None) else {
            return Ok(());
        };
        let range = RangeToRead {
            span: &group.span,
            until: self.notified_revision,
            prev_kv: group.prev_kv_count > 0,
            synced: true,
        };
        let (reader, node) = (self.reader.clone(), self.ctx.node.clone());
        let states = move || history_states(reader.clone(), node.clone(), range.until);
        let (mut from, turn) = (Some(from), &mut self.turn);
        let read = range.next_batch(&mut from, turn, self.ctx.account(), states);
        match (read.await, from) {
            (Ok(Ok(batch)), from) => {
                if let Some(from) = from {
                    self.unread.put_back(group_id, from);
                }
                self.out.push_synced((group_id, first), batch);
            }
            (Ok(Err(lost)), _) => self.cancel_lost(group_id, lost),
            (Err(too_large @ RpcError::ResponseTooLarge), Some(from)) => {
                let canceled = self.leave_behind(group_id, from.revision.next());
                self.cancel_for(too_large, canceled).await;
            }
            (Err(error), _) => return Err(error.into()),
        }
        Ok(())
    }

    /// Cancels the synced watchers of a group that need changes from before the compacted revision.
    fn cancel_lost(&mut self, group_id: WatcherGroupId, lost: Compacted) {
        let canceled = self.leave_behind(group_id, lost.0);
        self.cancel_compacted(canceled, lost);
    }

    /// Returns the synced watchers of a group that need changes from before `revision`, which the caller must cancel. The
    /// group's other watchers start at this revision or later and continue there.
    fn leave_behind(&mut self, group_id: WatcherGroupId, revision: Revision) -> Vec<i64> {
        let synced = self.synced_watchers(group_id).into_iter();
        let (behind, others): (Vec<i64>, Vec<i64>) = synced.partition(|id| {
            let watcher = self.watchers.by_id.get(id);
            watcher.is_some_and(|watcher| watcher.next < revision)
        });
        if !others.is_empty() {
            let from = ResumePoint::at_revision(revision, None);
            self.unread.put_back(group_id, from);
        }
        behind
    }

    /// Returns the IDs of a group's synced watchers that need the changes up to `notified_revision`.
    fn synced_watchers(&self, group_id: WatcherGroupId) -> Vec<i64> {
        let Some(group) = self.watchers.groups.get(&group_id) else {
            return Vec::new();
        };
        std::iter::successors(group.after(None), |id| group.after(Some(*id)))
            .filter(|id| {
                let watcher = self.watchers.by_id.get(id);
                watcher.is_some_and(|w| w.is_synced() && w.next <= self.notified_revision)
            })
            .collect()
    }

    /// Reads one batch for the next unsynced watcher. At the end of the history, the watcher becomes synced. If its changes
    /// were compacted or a revision does not fit in memory, the watcher is canceled.
    async fn read_unsynced(&mut self) -> Result<(), Status> {
        let Some((id, from)) = self.unsynced.next_in_turn() else {
            return Ok(());
        };
        let watcher = self.watchers.by_id.get(&id).copied();
        let group = watcher.and_then(|watcher| self.watchers.groups.get(&watcher.group_id));
        let (Some(watcher), Some(group)) = (watcher, group) else {
            self.unsynced.resume.remove(&id);
            return Ok(());
        };
        let range = RangeToRead {
            span: &group.span,
            until: self.notified_revision,
            prev_kv: watcher.flags.prev_kv,
            synced: false,
        };
        let (reader, node) = (self.reader.clone(), self.ctx.node.clone());
        let states = move || history_states(reader.clone(), node.clone(), range.until);
        let (mut from, turn) = (Some(from), &mut self.turn);
        let read = range.next_batch(&mut from, turn, self.ctx.account(), states);
        match read.await {
            Ok(Ok(batch)) => {
                self.out.push_unsynced(id, batch, self.notified_revision);
                match from {
                    Some(from) => {
                        self.unsynced.resume.insert(id, from);
                    }
                    None => self.become_synced(id),
                }
            }
            Ok(Err(lost)) => {
                self.unsynced.resume.remove(&id);
                self.cancel_compacted(vec![id], lost);
            }
            Err(too_large @ RpcError::ResponseTooLarge) => {
                self.cancel_for(too_large, vec![id]).await;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Marks an unsynced watcher as synced, because it has read all changes up to `notified_revision`.
    fn become_synced(&mut self, id: i64) {
        self.unsynced.resume.remove(&id);
        if let Some(watcher) = self.watchers.by_id.get_mut(&id) {
            watcher.flags.unsynced = false;
            self.ctx.v3_metrics.slow_watchers.dec();
        }
    }

    /// Updates the metric of events that were read but not sent.
    fn count_pending(&mut self) {
        let pending = i64::try_from(self.out.pending()).unwrap_or(i64::MAX);
        if pending != self.pending {
            self.ctx
                .v3_metrics
                .pending_events
                .add(pending - self.pending);
            self.pending = pending;
        }
    }
}

impl<R> Session<R>
where
    R: Stream<Item = Result<WatchRequest, Status>> + Unpin,
{
    /// Waits for the next response. An error ends the stream.
    pub(crate) async fn next(&mut self) -> Result<WatchAnswer, Status> {
        let mut steps = 0;
        loop {
            steps += 1;
            if steps % STEPS_PER_YIELD == 0 {
                tokio::task::yield_now().await;
            }
            self.recheck_permissions().await?;
            let fragment_bytes = self.ctx.settings.max_message_bytes();
            let header_at = |revision| header::at(&self.ctx.node, revision);
            let (watchers, turn) = (&mut self.watchers, &mut self.turn);
            let answer = self.out.next(watchers, turn, fragment_bytes, header_at);
            self.count_pending();
            if let Some(answer) = answer {
                self.ctx
                    .v3_metrics
                    .events
                    .inc_by(answer.events.len() as u64);
                return Ok(answer);
            }
            if self.turn.is_over() {
                self.turn.end().await;
                continue;
            }
            self.step().await?;
        }
    }

    /// Runs one step: serves a request, reads changes, queues progress notifications, or waits for the next event and handles
    /// it. Each action runs only if the previous actions had nothing to do.
    async fn step(&mut self) -> Result<(), Status> {
        let request = self
            .requests
            .as_mut()
            .and_then(|requests| requests.next().now_or_never());
        if let Some(request) = request {
            return self.on_request(request).await;
        }
        if self.read().await? {
            return Ok(());
        }
        self.send_progress();
        if !self.out.is_empty() {
            return Ok(());
        }
        let interval = self.ctx.settings.watch_progress_interval;
        let wanted = !self.watchers.notify.is_empty();
        self.progress.keep_timer(wanted, interval);
        let request = async {
            match &mut self.requests {
                Some(requests) => requests.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            request = request => return self.on_request(request).await,
            () = self.reader.woken() => {}
            () = self.progress.due() => self.progress.mark_due(self.reader.published()),
            error = self.stream_end.wait() => return Err(error.into()),
        }
        Ok(())
    }

    /// Serves an item of the request stream; `None` means that the client sends no more requests. An error ends the session.
    async fn on_request(&mut self, request: Option<R::Item>) -> Result<(), Status> {
        match request {
            Some(Ok(request)) => self.serve(request).await?,
            Some(Err(status)) => return Err(status),
            // The client has closed its side but still receives events.
            None => self.requests = None,
        }
        Ok(())
    }
}

/// Returns a state that contains all changes up to `notified_revision`, and the states from before the last compactions.
/// Owns its arguments, so that it can run in another task.
async fn history_states(
    reader: Arc<WatchStream>,
    node: Node,
    notified_revision: Revision,
) -> RpcResult<HistoryStates> {
    // Do not keep older states during the wait below, because they would stay in memory and would not include the state before
    // a new compaction.
    if let (Some(current), older) = reader.states(notified_revision) {
        return Ok(HistoryStates { current, older });
    }
    let current = node.view().await?.machine.kv.clone().into();
    let (_, older) = reader.states(notified_revision);
    Ok(HistoryStates { current, older })
}

impl<R> Drop for Session<R> {
    /// Removes the stream from the metrics and unregisters its watchers, on another thread if there are many.
    fn drop(&mut self) {
        let metrics = &self.ctx.v3_metrics;
        metrics.watch_streams.dec();
        metrics.pending_events.sub(self.pending);
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.watchers.sub(count(self.watchers.by_id.len()));
        metrics.slow_watchers.sub(count(self.unsynced.resume.len()));
        let none = StreamWatchers::new(self.ctx.account().hold_later(Resource::Watchers));
        let watchers = std::mem::replace(&mut self.watchers, none);
        let reader = self.reader.clone();
        if watchers.by_id.len() > WATCHERS_ENDED_AT_ONCE && Handle::try_current().is_ok() {
            // Unregistering here would block the worker's other clients. `spawn` reports a panic.
            drop(panics::spawn(move || watchers.unregister(&reader)));
        } else {
            watchers.unregister(&reader);
        }
    }
}
