//! Who may watch: looked at when a watcher is created, and again for all of a stream whenever users
//! or roles have changed. etcd looks at creation alone; here a watcher that may not read its span any
//! more is cancelled before it gets another event.

use tonic::Status;
use witan_api::v3::{
    error::Error,
    etcdserverpb::{WatchCreateRequest, WatchResponse},
};
use witan_replica::{
    machine::auth::Caller,
    watch::span::{End, Span},
};

use super::session::Session;
use crate::api::{
    Context,
    v3::{Answer, fault::Refusal as _, permit},
};

/// What a stream was last judged by.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Whether auth was on, and its revision.
    seen: (bool, u64),
    /// Whose the stream is, once it has created a watcher with auth on. Its token may end before
    /// the stream does.
    user: Option<String>,
}

impl Standing {
    pub(super) fn new(ctx: &Context) -> Self {
        Self {
            seen: ctx.node.auth(),
            user: None,
        }
    }
}

impl<R> Session<R> {
    /// Why a watcher may not be created.
    pub(super) async fn refusal(
        &mut self,
        request: &WatchCreateRequest,
    ) -> Result<Option<Error>, Status> {
        // what is wrong with the revision is told first
        if !self.ctx.node.auth_enabled() || request.start_revision < 0 {
            return Ok(None);
        }
        let view = self.ctx.node.view().await.map_err(Error::from)?;
        // an empty key means the smallest one
        let key = if request.key.is_empty() {
            b"\0"
        } else {
            &request.key[..]
        };
        let judge = || -> Answer<Option<Caller>> {
            let caller = permit::who(&self.ctx)?;
            let check = view.machine.check(caller.as_ref());
            let permitted = check.read(key, &request.range_end);
            permitted.map_err(|error| error.in_v3())?;
            Ok(caller)
        };
        Ok(match judge() {
            Ok(caller) => {
                self.standing.user = caller.map(|caller| caller.user);
                None
            }
            Err(refusal) => Some(refusal),
        })
    }

    /// Cancels those that may not read their span any more, if users or roles have changed.
    pub(super) async fn look_again(&mut self) -> Result<(), Status> {
        let now = self.ctx.node.auth();
        if now == self.standing.seen {
            return Ok(());
        }
        self.standing.seen = now;
        if !now.0 || self.watchers.len() == 0 {
            return Ok(());
        }
        let view = self.ctx.node.view().await.map_err(Error::from)?;
        let auth = &view.machine.auth;
        let caller = match &self.standing.user {
            Some(user) => Some(Caller {
                user: user.clone(),
                revision: auth.revision(),
            }),
            None => permit::who(&self.ctx).ok().flatten(),
        };
        let check = view.machine.check(caller.as_ref());
        let denied = self.watchers.spans().filter_map(|(id, span)| {
            let refusal = check.read(&span.key, range_end(span)).err()?;
            Some((id, refusal.in_v3()))
        });
        for (id, refusal) in denied.collect::<Vec<_>>() {
            self.out.forget(id);
            if let Some(canceled) = self.end(id) {
                self.out.answer(WatchResponse {
                    cancel_reason: in_words(refusal),
                    ..canceled
                });
            }
        }
        Ok(())
    }
}

/// As a request has it.
fn range_end(span: &Span) -> &[u8] {
    match &span.end {
        End::One => b"",
        End::At(end) => end,
        End::Never => b"\0",
    }
}

/// As Go prints a status, which is what etcd gives as the reason.
pub(super) fn in_words(error: Error) -> String {
    // Go names codes as they are named here
    format!("rpc error: code = {:?} desc = {error}", error.code())
}
