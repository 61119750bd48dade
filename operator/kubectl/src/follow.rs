//! How an object goes on until it has ended: each change of its progress is a line on stderr.

use std::fmt::Debug;

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Resource,
    runtime::{WatchStreamExt as _, watcher},
};
use serde::de::DeserializeOwned;

use super::{
    PluginError,
    output::{print, tell},
    target::Target,
};

/// How far an object is, for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not ended.
    Runs(String),
    /// It has ended as it should.
    Succeeded(String),
    /// It has failed.
    Failed(String),
}

/// Shows how an object goes on until it has succeeded; an error if it fails.
pub(super) async fn follow<K>(
    target: &Target,
    (kind, name): (&str, &str),
    stage: impl Fn(K) -> Stage,
) -> Result<(), PluginError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = watcher(target.api::<K>(), only).applied_objects().boxed();
    let mut said = String::new();
    loop {
        let next = changes.try_next().await.map_err(|error| {
            let why = super::chain(&error);
            PluginError::Words(format!("cannot watch {kind} {name}: {why}"))
        })?;
        let Some(object) = next else {
            let text = format!("the watch of {kind} {name} ended");
            return Err(PluginError::Words(text));
        };
        match stage(object) {
            Stage::Succeeded(text) => return print(&format!("succeeded: {text}\n")),
            Stage::Failed(why) => {
                return Err(PluginError::Words(format!("{kind} {name} failed: {why}")));
            }
            Stage::Runs(text) if text != said => {
                tell(text.trim_end());
                said = text;
            }
            Stage::Runs(_) => {}
        }
    }
}
