//! Checks the permissions of watchers: of a watcher when it is created, and of all watchers when users or roles change. etcd
//! checks only at creation. In Witan, a watcher that loses its permission is canceled before its next event.

use std::collections::HashMap;

use tonic::Status;
use witan_api::v3::etcdserverpb::WatchCreateRequest;
use witan_dialect::Context;
use witan_machine::{StateMachine, auth::Caller};
use witan_node::{AuthState, RangeEnd, WatchRange};

use super::{
    watcher_group::WatcherGroup,
    watchers::{StreamWatchers, first_key},
};
use crate::{authorize, error::RpcError};

/// Number of ranges to check before the task yields.
const RANGES_PER_YIELD: usize = 1024;

/// The user of a stream and the auth state at the last check.
#[derive(Debug, Default)]
pub(super) struct PermissionState {
    seen: AuthState,
    /// The last user who created a watcher while authentication was enabled. The user's token can expire before the stream
    /// ends.
    user: Option<String>,
}

impl PermissionState {
    pub(super) fn new(ctx: &Context) -> Self {
        Self { seen: ctx.node.auth(), user: None }
    }

    /// Returns the error that prevents creating a watcher, or `None`. Fails if no state is available. Stores the caller as the
    /// stream's user if the check succeeds. Skips the check while authentication is disabled, and for a negative revision,
    /// whose error takes precedence.
    pub(super) async fn refusal(
        &mut self,
        ctx: &Context,
        request: &WatchCreateRequest,
    ) -> Result<Option<RpcError>, Status> {
        if !ctx.node.auth_enabled() || request.start_revision < 0 {
            return Ok(None);
        }
        let view = ctx.node.view().await.map_err(RpcError::from)?;
        let checked = authorize::check_on(ctx, &view.machine, |caller| {
            caller.read(first_key(request), &request.range_end)
        });
        match checked {
            Ok(caller) => {
                self.user = caller.map(|caller| caller.user);
                Ok(None)
            }
            Err(refusal) => Ok(Some(refusal)),
        }
    }

    /// If users or roles have changed since the last call, returns the watchers that may no longer read their ranges, grouped
    /// by error. Returns no watchers while authentication is disabled.
    pub(super) async fn denied(
        &mut self,
        ctx: &Context,
        watchers: &StreamWatchers,
    ) -> Result<HashMap<RpcError, Vec<i64>>, Status> {
        let now = ctx.node.auth();
        if now == self.seen {
            return Ok(HashMap::new());
        }
        self.seen = now;
        if !now.enabled || watchers.by_id.is_empty() {
            return Ok(HashMap::new());
        }
        let mut denied = HashMap::new();
        let mut groups = watchers.groups.values().peekable();
        while groups.peek().is_some() {
            {
                let view = ctx.node.view().await.map_err(RpcError::from)?;
                let some = groups.by_ref().take(RANGES_PER_YIELD);
                self.check(ctx, &view.machine, some, &mut denied);
            }
            tokio::task::yield_now().await;
        }
        Ok(denied)
    }

    /// Adds to `denied` the watchers of `groups` that are not allowed to read their range in the state `machine`.
    fn check<'a>(
        &self,
        ctx: &Context,
        machine: &StateMachine,
        groups: impl Iterator<Item = &'a WatcherGroup>,
        denied: &mut HashMap<RpcError, Vec<i64>>,
    ) {
        let revision = machine.auth.revision();
        let caller = match &self.user {
            Some(user) => Some(Caller { user: user.clone(), revision }),
            None => authorize::caller(ctx).ok().flatten(),
        };
        let check = machine.check(caller.as_ref());
        for group in groups {
            let span = &group.span;
            if let Err(refusal) = check.read(&span.key, range_end(span)) {
                group.add_to(denied.entry(refusal.into()).or_default());
            }
        }
    }
}

/// Returns a range's end as requests encode it: empty for a single key, and a zero byte for a range without an end.
fn range_end(span: &WatchRange) -> &[u8] {
    match &span.end {
        RangeEnd::One => b"",
        RangeEnd::At(end) => end,
        RangeEnd::Never => b"\0",
    }
}

/// Formats an error as Go prints a status, which etcd reports as the cancel reason.
pub(super) fn status_text(error: RpcError) -> String {
    format!("rpc error: code = {:?} desc = {error}", error.code())
}
