//! Follows an object until it succeeds or fails.

use std::pin::pin;

use futures_util::{Stream, StreamExt as _};
use kube::runtime::{
    WatchStreamExt as _,
    watcher::{self, Event, watcher},
};
use witan_crd::Object;
use witan_members::page::chain;

use super::{
    error::PluginError,
    output::{print, tell},
    target::Target,
};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Runs(String),
    Succeeded(String),
    Failed(String),
}

/// Follows an object until it succeeds. Prints its progress to stderr and its result to stdout. Fails if the object fails or is
/// deleted, or if the API server refuses the watch.
pub(super) async fn follow<K: Object>(
    target: &Target,
    name: &str,
    stage: impl Fn(K) -> Stage,
) -> Result<(), PluginError> {
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let changes = watcher(target.api::<K>(), only).default_backoff();
    follow_events(pin!(changes), (&K::kind(&()), name), stage).await
}

/// Follows the events of one object until it ends, like [`follow`]. `kind` and `name` identify the object in messages.
async fn follow_events<K>(
    mut changes: impl Stream<Item = Result<Event<K>, watcher::Error>> + Unpin,
    (kind, name): (&str, &str),
    stage: impl Fn(K) -> Stage,
) -> Result<(), PluginError> {
    let mut said = String::new();
    let mut is_listed = false;
    while let Some(event) = changes.next().await {
        let object = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => object,
            Ok(Event::Init) => {
                is_listed = false;
                continue;
            }
            Ok(Event::InitDone) if is_listed => continue,
            Ok(Event::InitDone | Event::Delete(_)) => {
                return Err(words!("{kind} {name} was deleted before it ended"));
            }
            Err(error) => {
                let why = chain(&error);
                let text = format!("cannot watch {kind} {name}: {why}");
                if is_refused(&error) {
                    return Err(PluginError(text));
                }
                tell(&format!("{text}; trying again"));
                continue;
            }
        };
        is_listed = true;
        match stage(object) {
            Stage::Succeeded(text) => return print(&format!("succeeded: {text}\n")),
            Stage::Failed(why) => {
                return Err(words!("{kind} {name} failed: {why}"));
            }
            Stage::Runs(text) if text != said => {
                tell(text.trim_end());
                said = text;
            }
            Stage::Runs(_) => {}
        }
    }
    Err(words!("the watch of {kind} {name} ended"))
}

/// Returns whether the API server refuses the watch, which a retry cannot fix.
fn is_refused(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(refusal))
            | watcher::Error::WatchStartFailed(kube::Error::Api(refusal))
            if [401, 403, 404].contains(&refusal.code)
    )
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, stream};

    use super::*;

    type Events = Vec<Result<Event<&'static str>, watcher::Error>>;

    /// Follows an object that succeeds once an event shows it as `done`.
    fn followed(events: Events) -> Result<(), String> {
        let stage = |text: &str| match text {
            "done" => Stage::Succeeded(text.to_owned()),
            _ => Stage::Runs(text.to_owned()),
        };
        let named = ("EtcdBackup", "now");
        let followed = follow_events(stream::iter(events), named, stage).now_or_never();
        followed
            .expect("all events are there")
            .map_err(|error| error.to_string())
    }

    fn listed(object: &'static str) -> Events {
        vec![
            Ok(Event::Init),
            Ok(Event::InitApply(object)),
            Ok(Event::InitDone),
        ]
    }

    #[test]
    fn a_broken_watch_is_resumed() {
        let mut events = listed("runs");
        events.push(Err(watcher::Error::NoResourceVersion));
        events.extend(listed("runs"));
        events.push(Ok(Event::Apply("done")));
        assert_eq!(followed(events), Ok(()));
    }

    #[test]
    fn following_a_deleted_object_fails() {
        let mut while_watched = listed("runs");
        while_watched.push(Ok(Event::Delete("runs")));
        let mut between = listed("runs");
        between.extend([Ok(Event::Init), Ok(Event::InitDone)]);
        for events in [while_watched, between] {
            let said = followed(events).unwrap_err();
            assert!(said.contains("was deleted"), "{said}");
        }
    }
}
