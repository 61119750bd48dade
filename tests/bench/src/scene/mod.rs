//! Loads of several kinds of requests: watchers, lease keep-alives, a backup, pauses, TLS. Each scene runs on one server and
//! returns the cells of its row.

mod backup;
mod keepalive;
mod pauses;
mod tls;
mod watch;

use std::time::Duration;

use witan_e2e::Launch;

use crate::subject::Subject;

/// One scene.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Scene {
    /// One writer of one key with 10,000 watchers.
    WatchOne,
    /// 64 writers of 10,000 keys with one watcher each.
    WatchMany,
    /// 1,000 leases on 10 streams. Each lease is renewed again as soon as its last renewal is answered.
    KeepAlive,
    /// A backup of a million keys.
    Backup,
    /// One writer while a member with 2 GiB is compacted, defragmented, backed up and hashed.
    Pauses,
    /// 64 writers with TLS and without, then clients that reconnect for each request.
    Tls,
}

impl Scene {
    /// Returns the heading of the scene's table.
    pub fn label(self) -> &'static str {
        match self {
            Scene::WatchOne => "one key, 10,000 watchers",
            Scene::WatchMany => "10,000 keys with a watcher each, 64 writers",
            Scene::KeepAlive => "1,000 leases kept alive on 10 streams",
            Scene::Backup => "a snapshot of a million keys",
            Scene::Pauses => "one writer, while a member with 2 GiB performs periodic work",
            Scene::Tls => "64 writers, and clients that reconnect, by TLS",
        }
    }

    /// Returns the head of the scene's table in Markdown.
    pub fn head(self) -> &'static str {
        match self {
            Scene::WatchOne | Scene::WatchMany => {
                "| server | events/s | delay p50 ms | p99 ms | server us an event |\n|---|--:|--:|--:|--:|"
            }
            Scene::KeepAlive => {
                "| server | keep-alives/s | p50 ms | p99 ms | server us each |\n|---|--:|--:|--:|--:|"
            }
            Scene::Backup => "| server | MiB | MiB/s | server CPU s |\n|---|--:|--:|--:|",
            Scene::Pauses => {
                "| server | quiet: p99, longest ms | compaction | defragmentation | snapshot | hash |\n|---|--:|--:|--:|--:|--:|"
            }
            Scene::Tls => {
                "| server | puts/s in plaintext | server us | puts/s inside TLS | server us | times | connections/s | server us each |\n|---|--:|--:|--:|--:|--:|--:|--:|"
            }
        }
    }

    /// Runs the scene on a new server and returns the cells of its row. Must run in a `LocalSet`. Panics if the server refuses
    /// a request.
    pub async fn play(self, launch: Launch, length: Duration) -> String {
        match self {
            Scene::WatchOne => {
                let server = launch.start();
                watch::one(&Subject::one(&server), length).await
            }
            Scene::WatchMany => {
                let server = launch.start();
                watch::many(&Subject::one(&server), length).await
            }
            Scene::KeepAlive => keepalive::play(&launch.start(), length).await,
            Scene::Backup => backup::play(&launch.start()).await,
            Scene::Pauses => pauses::play(&launch.start()).await,
            Scene::Tls => tls::play(launch, length).await,
        }
    }
}
