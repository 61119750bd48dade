//! The network between members, which carries raft messages. The replica interprets the messages and reacts to lost
//! connections.
//!
//! A member opens two streams to each other member and sends messages only on these streams. The control stream carries
//! heartbeats, votes and other urgent messages, and the bulk stream carries entries. One thread opens all streams and writes to
//! them. The replica's thread writes short messages to idle streams itself (`queue`) and reads the streams from other members
//! (`inbound`).
//!
//! Reading order: this file ([`Peers`], [`PeerPost`]), `handshake` and `frame`. `link` maintains a stream to another member:
//! `dial` opens the stream, and messages wait in `queue`. `listener` and `inbound` accept and read streams from other members,
//! and `http` answers requests (`hash`: hashes of states; `page`: a response). `query` sends such requests. `lanes` detects
//! that a process has ended. `remotes` connects to members that this member does not know yet. `deliver` and `snapshot` carry
//! snapshots. `monitor` observes versions and clocks and raises the feature level. `levels` is the handle to `monitor`.
//! `metrics` counts messages.

mod deliver;
mod dial;
mod frame;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod handshake;
mod hash;
mod http;
mod inbound;
mod lanes;
mod levels;
mod link;
mod listener;
mod metrics;
mod monitor;
mod page;
pub mod query;
mod queue;
mod remotes;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io, sync::Arc, thread::JoinHandle, time::Duration};

use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    task::{AbortHandle, LocalSet, spawn_local},
    time::Instant,
};
use witan_base::{panics, sync::Mutex};
use witan_config::{Address, PeerSettings, Url};
use witan_machine::member::{Member, MemberId, MemberRegistry};
use witan_node::{Node, Post, Waker};
use witan_replica::{
    host::{Envelope, Lane},
    replica::PeerEvent,
};
use witan_storage::SnapshotReceiver;
use witan_transport::BoundPeer;

use handshake::StreamKind;
use inbound::{Arrivals, Inbound};
use link::{Link, Peer};
use listener::Listener;
use monitor::Monitor;
use queue::PushOutcome;

pub use dial::PeerDialer;
pub use levels::{FeatureLevels, LevelReport, MemberRelease, RaiseError};
pub use metrics::PeerMetrics;

/// Time limit for sending the last messages to a removed member, or to all members when the process stops. A stopping process
/// then waits at most as long for its blocking threads.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Shared {
    node: Node,
    members: Mutex<Arc<MemberRegistry>>,
    peers: Mutex<BTreeMap<MemberId, Arc<Peer>>>,
    remotes: Mutex<BTreeMap<MemberId, LinkTasks>>,
    arrivals: Arrivals,
    started: Instant,
    metrics: PeerMetrics,
    settings: PeerSettings,
    receiver: SnapshotReceiver,
    dialer: PeerDialer,
}

impl Shared {
    fn own_id(&self) -> MemberId {
        self.node.identity().member_id
    }

    /// Returns the members after the last applied membership change.
    fn members(&self) -> Arc<MemberRegistry> {
        self.members.lock().clone()
    }

    /// Returns the hosts in the peer URLs of all members.
    fn hosts(&self) -> Vec<String> {
        self.members().by_id.values().flat_map(hosts).collect()
    }

    /// Returns another member of the cluster, or `None` if this member does not know the id.
    fn peer(&self, id: MemberId) -> Option<Arc<Peer>> {
        self.peers.lock().get(&id).cloned()
    }

    /// Writes or queues a message in its lane. If the message is dropped, reports the member as unreachable and, for the bulk
    /// lane, the entries as lost.
    fn send(&self, peer: &Peer, envelope: Envelope) {
        let lane = envelope.lane;
        match peer.queue(lane).push(envelope.message) {
            PushOutcome::Queued => {}
            PushOutcome::Written(bytes) => self.on_written(peer, lane, 1, bytes),
            PushOutcome::Dropped => {
                peer.series.sent_failures.inc();
                if lane == Lane::Bulk {
                    self.node.entries_lost(envelope.to);
                }
                self.node.peer_event(envelope.to, PeerEvent::Unreachable);
            }
        }
    }

    /// Counts messages that were written to a lane's stream, and their size in bytes with headers.
    fn on_written(&self, peer: &Peer, lane: Lane, messages: u64, bytes: u64) {
        peer.series.sent_bytes.inc_by(bytes);
        if lane == Lane::Bulk && messages > 0 {
            self.node.entries_sent(peer.id, messages, bytes);
        }
    }

    /// Removes the metrics and statistics of a member that left the cluster.
    fn forget(&self, id: MemberId) {
        self.metrics.remove(self.own_id(), id);
        self.node.forget_peer(id);
    }
}

/// A handle to the thread that runs all streams.
#[derive(Debug)]
pub struct Peers {
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Passes the replica's messages to the streams and other members' messages to the replica.
#[derive(Debug)]
pub struct PeerPost {
    shared: Arc<Shared>,
    links: BTreeMap<MemberId, LinkTasks>,
    inbound: Inbound,
    runtime: Handle,
}

/// The tasks of the streams and of the snapshot transfer to another member. Dropping the value aborts them.
#[derive(Debug)]
struct LinkTasks {
    peer: Arc<Peer>,
    tasks: [AbortHandle; 2],
    /// The current or last snapshot transfer.
    snapshot: Option<AbortHandle>,
}

impl Drop for LinkTasks {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.snapshot.iter().for_each(AbortHandle::abort);
    }
}

/// Starts the peer network: accepts connections on `sockets` and opens streams to all other members in `members`. Returns the
/// handle that monitors and stops the network, and the [`PeerPost`] for the replica's thread.
pub fn start(
    node: Node,
    sockets: Vec<BoundPeer>,
    members: &MemberRegistry,
    (settings, dialer, metrics): (PeerSettings, PeerDialer, PeerMetrics),
    receiver: SnapshotReceiver,
) -> io::Result<(Peers, PeerPost)> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    let shared = Arc::new(Shared {
        node,
        members: Mutex::default(),
        peers: Mutex::default(),
        remotes: Mutex::default(),
        arrivals: Arrivals::default(),
        started: Instant::now(),
        metrics,
        settings,
        receiver,
        dialer,
    });
    let mut post = PeerPost {
        shared: shared.clone(),
        links: BTreeMap::new(),
        inbound: Inbound::new(),
        runtime: handle.clone(),
    };
    post.update_members(members);
    let context = handle.enter();
    let sockets = sockets
        .into_iter()
        .map(|bound| Ok((bound.url.clone(), bound.into_tokio()?)));
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    drop(context);
    let listener = Arc::new(Listener::new(shared.clone()));
    let (stop, stopped) = oneshot::channel();
    let http_shared = shared.clone();
    let thread = panics::start_thread("peers", move || {
        // actix's service cannot move to another thread.
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            let http = http::service(http_shared).await;
            for (url, socket) in sockets {
                spawn_local(listener.clone().accept(url, socket, http.clone()));
            }
            // An error means that the sender was dropped, because the process stops.
            let _ = stopped.await;
        });
        drop(local);
        // Without name servers, the lookup of a host name occupies a thread for up to minutes.
        runtime.shutdown_timeout(FLUSH_TIMEOUT);
    })?;
    let peers = Peers { shared, stop, thread };
    Ok((peers, post))
}

impl Peers {
    /// Returns the handle that reports and raises the feature level, and the future that serves it. Until the process stops,
    /// the future monitors the versions and clocks of the other members. Run it on a worker, because it proposes commands.
    pub fn monitor(&self) -> (FeatureLevels, impl Future<Output = ()> + use<>) {
        let (monitor, levels) = Monitor::new(self.shared.clone());
        (levels, monitor.run())
    }

    /// Waits up to `FLUSH_TIMEOUT` until queued messages are written, then ends all streams and waits for their thread.
    pub async fn stop(self) {
        let peers: Vec<Arc<Peer>> = self.shared.peers.lock().values().cloned().collect();
        let flushed = async {
            for peer in peers {
                peer.flushed().await;
            }
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, flushed).await.is_err() {
            tracing::debug!("failed to send all queued messages to other members");
        }
        // An error means that the thread has ended.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the peers' thread panicked");
        }
    }
}

impl Post for PeerPost {
    /// Sends this member's messages. Drops forwarded messages, messages to members without streams, and snapshots to members
    /// whose addition is not applied yet. A message with a snapshot starts a transfer, unless one to the member is running.
    fn post(&mut self, envelopes: Vec<Envelope>) {
        let own = self.shared.own_id();
        // Drop messages from other members. After a leader change, raft forwards their ReadIndex requests, which the new leader
        // would report as faulty. The members send these requests to the new leader themselves.
        for envelope in envelopes
            .into_iter()
            .filter(|envelope| envelope.from == own)
        {
            let Some(link) = self.links.get_mut(&envelope.to) else {
                // The target was removed, or its addition is not applied yet.
                let remotes = self.shared.remotes.lock();
                if let Some(link) = remotes.get(&envelope.to)
                    && envelope.snapshot.is_none()
                {
                    self.shared.send(&link.peer, envelope);
                }
                continue;
            };
            if let Some(view) = envelope.snapshot {
                // Drop the message if a transfer is running, because the transfer reports its own end.
                if link.snapshot.as_ref().is_none_or(AbortHandle::is_finished) {
                    let (shared, peer) = (self.shared.clone(), link.peer.clone());
                    let sending = deliver::send(shared, peer, *view, envelope.message);
                    let (node, to) = (self.shared.node.clone(), envelope.to);
                    let report = move |event| node.peer_event(to, event);
                    link.snapshot = Some(deliver::start(&self.runtime, sending, report));
                }
                continue;
            }
            self.shared.send(&link.peer, envelope);
        }
    }

    /// Replaces the member list. Opens streams to new members, updates the URLs of all members, and flushes and ends the
    /// streams of removed members.
    fn update_members(&mut self, members: &MemberRegistry) {
        let own = self.shared.own_id();
        let gone = |id: &MemberId, _: &mut LinkTasks| !members.by_id.contains_key(id);
        for (id, link) in self.links.extract_if(.., gone) {
            let shared = self.shared.clone();
            self.runtime.spawn(async move {
                // The last message tells the member that its removal is committed. If the message is lost, the member learns of
                // the removal when its next stream is refused.
                let _ = tokio::time::timeout(FLUSH_TIMEOUT, link.peer.flushed()).await;
                drop(link);
                shared.forget(id);
            });
        }
        let shared = self.shared.clone();
        let mut remotes = shared.remotes.lock();
        for member in members
            .by_id
            .values()
            .filter(|member| member.member_id() != own)
        {
            let id = member.member_id();
            if let Some(link) = remotes.remove(&id) {
                self.links.insert(id, link);
            }
            let urls = urls(member);
            let link = self.links.entry(id);
            let link = link.or_insert_with(|| link_to(&shared, &self.runtime, id, urls.clone()));
            link.peer.set_urls(urls);
        }
        let removed = |id: &MemberId, _: &mut LinkTasks| members.removed_ids.contains(id);
        let removed = remotes.extract_if(.., removed);
        removed.for_each(|(id, _)| shared.forget(id));
        let peers = self.links.iter();
        let peers = peers.map(|(id, link)| (*id, link.peer.clone())).collect();
        *shared.peers.lock() = peers;
        *shared.members.lock() = Arc::new(members.clone());
    }

    fn wait(&mut self, timeout: Duration, waker: &Waker, messages: &mut Vec<Envelope>) {
        self.inbound.wait(&self.shared, timeout, waker, messages);
    }
}

/// Starts the tasks that keep the control and the bulk stream to a member open. Marks the member as disconnected until the
/// control stream opens.
fn link_to(shared: &Arc<Shared>, runtime: &Handle, id: MemberId, urls: Vec<Url>) -> LinkTasks {
    let series = shared.metrics.of(shared.own_id(), id);
    let memory_bytes = shared.node.memory().bytes();
    let peer = Arc::new(Peer::new(id, urls, series, memory_bytes));
    shared.node.peer_link(id, false);
    let tasks = [StreamKind::Control, StreamKind::Bulk].map(|kind| {
        let link = Link::new(shared.clone(), peer.clone(), kind);
        runtime.spawn(link.run()).abort_handle()
    });
    LinkTasks { peer, tasks, snapshot: None }
}

/// Returns the hosts of a member's peer URLs. Skips invalid URLs and Unix sockets.
fn hosts(member: &Member) -> impl Iterator<Item = String> {
    let urls = member.peer_urls.iter();
    urls.filter_map(|url| match url.parse::<Url>().ok()?.address() {
        Address::Tcp(host, _) => Some(host.clone()),
        Address::Unix(_) => None,
    })
}

/// Returns a member's valid peer URLs. Logs invalid URLs.
fn urls(member: &Member) -> Vec<Url> {
    let parsed = member.peer_urls.iter().filter_map(|text| {
        let url = text.parse();
        url.inspect_err(|error| {
            let member = member.member_id().to_string();
            tracing::warn!(%error, member, "ignoring an invalid peer URL of a member");
        })
        .ok()
    });
    parsed.collect()
}
