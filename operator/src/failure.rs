//! Failures of the API server, as every loop over resources reports them.

use std::fmt::Display;

use kube::{
    Resource, ResourceExt as _,
    runtime::{controller, watcher},
};

/// A request that the API server refused or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}")]
pub(crate) struct ApiFailure {
    what: &'static str,
    source: Box<kube::Error>,
}

/// For `map_err`: makes a failure to do `what`.
pub(crate) fn cannot(what: &'static str) -> impl FnOnce(kube::Error) -> ApiFailure {
    move |source| ApiFailure { what, source: Box::new(source) }
}

/// Logs that a pass over a resource failed.
pub(crate) fn log_pass<K: Resource<DynamicType = ()>>(of: &K, error: &impl Display) {
    let (namespace, name) = (of.namespace().unwrap_or_default(), of.name_any());
    tracing::warn!(namespace, name, kind = %K::kind(&()), %error, "pass failed; it is repeated");
}

/// Logs a watch that failed, for example without the right to list a kind; it is restarted after a pause.
pub(crate) fn log_watch<T, E>(outcome: Result<T, controller::Error<E, watcher::Error>>)
where
    E: std::error::Error + 'static,
{
    match outcome {
        Ok(_)
        | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
        Err(error) => tracing::warn!(%error, "a watch failed; it is restarted"),
    }
}
