//! The peer port, which accepts streams from other members and answers HTTP requests.
//!
//! Before its handshake, a connection uses at most 128 KiB (actix's limit on the head of a request) and has a time limit.
//! Beyond [`GREETINGS_MAX`] such connections, the oldest one is closed.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
    task::{AbortHandle, spawn_local, yield_now},
    time::{sleep, timeout},
};
use witan_base::sync::Mutex;
use witan_config::Url;
use witan_logging::LogLimit;
use witan_machine::member::MemberId;
use witan_replica::replica::PeerEvent;
use witan_transport::{
    AcceptedStream, GREETINGS_MAX, MemberCertificate, PeerHttp, PeerListener, PeerTls,
};

use super::{
    Shared, deliver,
    frame::{self, FrameKind},
    handshake::{
        HANDSHAKE_BYTES_MAX, Handshake, MAGIC, PROTOCOL, Refusal, StreamKind, encode_answer,
    },
    hosts,
    inbound::InboundStream,
};

/// Time limit for a connection until its handshake or HTTP request is answered.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Delay after a failed accept, for example because no file descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Interval at which open streams are checked again, for example for the removal of their members.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(1);

/// The listeners on this member's peer URLs.
#[derive(Debug)]
pub(super) struct Listener {
    shared: Arc<Shared>,
    greetings: Mutex<Greetings>,
    streams: Mutex<OpenStreams>,
    /// Limits log lines about refusals, because any client can cause them.
    refusals: LogLimit,
}

/// The newest stream of each kind from each member. Some of the streams may have ended.
type OpenStreams = HashMap<(MemberId, StreamKind), OpenStream>;

#[derive(Debug)]
struct OpenStream {
    task: AbortHandle,
    certificate: Option<MemberCertificate>,
    /// The store id in the opener's handshake.
    store_id: u64,
}

/// A stream accepted from a member, its handshake, and the certificate if it identifies the member.
type Greeted = (
    Box<dyn AcceptedStream>,
    Handshake,
    Option<MemberCertificate>,
);

/// Connections before their handshake, oldest first. The tasks of some may have ended.
type Greetings = VecDeque<AbortHandle>;

/// Adds a connection before its handshake. If there are too many, aborts the oldest one and returns `true`.
fn add_greeting(greetings: &mut Greetings, task: AbortHandle) -> bool {
    greetings.retain(|task| !task.is_finished());
    greetings.push_back(task);
    let is_full = greetings.len() > GREETINGS_MAX;
    if is_full && let Some(oldest) = greetings.pop_front() {
        oldest.abort();
    }
    is_full
}

impl Listener {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            greetings: Mutex::default(),
            streams: Mutex::default(),
            refusals: LogLimit::new(),
        }
    }

    /// Accepts connections at `url` until the process stops. `http` answers requests and stays on its thread.
    pub(super) async fn accept(self: Arc<Self>, url: Url, socket: PeerListener, http: PeerHttp) {
        let address = url.to_string();
        let tls = self.shared.dialer.tls.clone().filter(|_| url.is_tls());
        if tls.is_some() {
            tracing::info!(address, "serving peer traffic securely");
        } else {
            tracing::info!(address, "serving peer traffic insecurely");
        }
        loop {
            let (stream, remote) = match socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, address, "failed to accept a connection from a peer");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let (listener, tls, http) = (self.clone(), tls.clone(), http.clone());
            let task = spawn_local(async move {
                let name = remote.map_or_else(String::new, |remote| remote.to_string());
                let greeting = listener.greet((stream, remote), tls.as_ref(), &http, &name);
                match timeout(GREETING_TIMEOUT, greeting).await {
                    Ok(Ok(Some(greeted))) => listener.admit(greeted),
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => {
                        listener.shared.metrics.refused("connection");
                        tracing::debug!(remote = name, %error, "a connection to the peer port ended");
                    }
                    Err(_) => listener.shared.metrics.refused("timeout"),
                }
            });
            if add_greeting(&mut self.greetings.lock(), task.abort_handle()) {
                self.shared.metrics.refused("too_many");
            }
            // Let each connection run before the next one is accepted.
            yield_now().await;
        }
    }

    /// Performs the TLS handshake if TLS is configured. Then reads the first bytes. Returns a member's stream, or `None` after
    /// answering an HTTP request or refusing the connection.
    async fn greet(
        &self,
        (stream, address): (Box<dyn AcceptedStream>, Option<SocketAddr>),
        tls: Option<&PeerTls>,
        http: &PeerHttp,
        remote: &str,
    ) -> io::Result<Option<Greeted>> {
        let secured = match tls {
            Some(tls) => tls.accept(stream, address, &self.shared.hosts()).await,
            None => Some((stream, None)),
        };
        let Some((mut stream, certificate)) = secured else {
            self.shared.metrics.refused("tls");
            return Ok(None);
        };
        let mut first = [0; MAGIC.len() + 1];
        stream.read_exact(&mut first).await?;
        let [.., protocol] = first;
        if !first.starts_with(&MAGIC) {
            http.answer(stream, &first).await?;
            return Ok(None);
        }
        let checked = match protocol {
            PROTOCOL => {
                let hello = self.read_handshake(&mut stream).await;
                hello.and_then(|hello| {
                    self.check_certificate(hello.from, certificate.as_ref())?;
                    self.check_copy(&hello)?;
                    Ok(hello)
                })
            }
            _ => Err(Refusal::Protocol(PROTOCOL)),
        };
        let answer = encode_answer(checked.as_ref().map(|_| ()).map_err(|refusal| *refusal));
        let answer = frame::encode(FrameKind::Answer, &answer);
        stream.write_all(&answer).await?;
        stream.flush().await?;
        match checked {
            Ok(hello) => Ok(Some((stream, hello, certificate))),
            Err(refusal) => {
                self.shared.metrics.refused(refusal.label());
                if let Some(left_out) = self.refusals.admit() {
                    tracing::warn!(
                        remote,
                        reason = refusal.label(),
                        left_out,
                        "rejected a stream from a remote peer"
                    );
                }
                // Shut the stream down, because unread data could otherwise reset the connection before the peer reads the
                // response.
                stream.shutdown().await?;
                Ok(None)
            }
        }
    }

    /// Reads and checks a member's handshake. Fails with the refusal that the caller must send: `Malformed` if no valid
    /// handshake arrives.
    async fn read_handshake(
        &self,
        stream: &mut Box<dyn AcceptedStream>,
    ) -> Result<Handshake, Refusal> {
        // The caller limits the duration of the greeting.
        let frame = frame::read(stream, HANDSHAKE_BYTES_MAX, Duration::MAX).await;
        let frame = frame
            .ok()
            .filter(|frame| frame.kind == FrameKind::Handshake);
        let hello = frame.and_then(|frame| Handshake::decode(&frame.contents));
        let hello = hello.ok_or(Refusal::Malformed)?;
        self.shared.check(&hello)?;
        Ok(hello)
    }

    /// Refuses a stream whose certificate is not valid for its member's peer URLs if another open stream of the member has a
    /// valid certificate. Without such a stream, the mismatch proves nothing. The member may use another client certificate,
    /// connect through a proxy, or have moved to URLs that this member does not know yet.
    fn check_certificate(
        &self,
        from: MemberId,
        certificate: Option<&MemberCertificate>,
    ) -> Result<(), Refusal> {
        let members = self.shared.members();
        let member = members.by_id.get(&from);
        let hosts: Vec<String> = member.into_iter().flat_map(hosts).collect();
        let is_valid = |certificate: &MemberCertificate| certificate.is_for(&hosts);
        let has_valid = |stream: &OpenStream| stream.certificate.as_ref().is_some_and(is_valid);
        match certificate.is_none_or(is_valid) || !self.has_stream(from, has_valid) {
            true => Ok(()),
            false => Err(Refusal::Certificate),
        }
    }

    /// Refuses a stream from a copy of the member's registered data directory while a stream of that member with another store
    /// id is open.
    fn check_copy(&self, hello: &Handshake) -> Result<(), Refusal> {
        let is_original = |stream: &OpenStream| stream.store_id != hello.store.id;
        let is_copy = hello.is_copy(&self.shared.members());
        match is_copy && self.has_stream(hello.from, is_original) {
            true => Err(Refusal::Copy),
            false => Ok(()),
        }
    }

    /// Returns whether `property` holds for an open stream of the member.
    fn has_stream(&self, from: MemberId, property: impl Fn(&OpenStream) -> bool) -> bool {
        let streams = self.streams.lock();
        let mut of_member = streams.iter().filter(|((of, _), _)| *of == from);
        of_member.any(|(_, stream)| !stream.task.is_finished() && property(stream))
    }

    /// Starts to serve a stream that has passed all checks, in place of the member's previous stream of the same kind. Opens
    /// streams to a member whose addition is not applied here. Makes the links to any other member of the cluster retry
    /// immediately. If the member's process was believed to have ended, reports that it is back.
    fn admit(self: &Arc<Self>, (stream, hello, certificate): Greeted) {
        let (key, store_id) = ((hello.from, hello.kind), hello.store.id);
        self.shared.connect_remote(&hello);
        if let Some(peer) = self.shared.peer(hello.from) {
            peer.retry_now();
            if peer.is_gone() {
                let node = &self.shared.node;
                node.peer_event(hello.from, PeerEvent::ProcessBack);
            }
        }
        let (kind, remote_peer_id) = (hello.kind.label(), hello.from.to_string());
        let release = hello.release.clone();
        tracing::info!(
            kind,
            remote_peer_id,
            release,
            "accepted a stream from a peer"
        );
        let listener = self.clone();
        // A stop ends local tasks before it waits for blocking threads. The thread that writes a received snapshot ends only
        // after this task.
        let serving = spawn_local(async move {
            let serving = async {
                match hello.kind {
                    StreamKind::Control | StreamKind::Bulk => listener.serve(stream, &hello).await,
                    StreamKind::Snapshot => {
                        deliver::receive_snapshot(&listener.shared, stream, &hello).await
                    }
                }
            };
            let end = tokio::select! {
                end = serving => end,
                refused = listener.until_refused(&hello) => Err(refused),
            };
            if let Err(error) = end {
                if let Some(peer) = listener.shared.peer(hello.from) {
                    peer.series.received_failures.inc();
                }
                tracing::warn!(kind, remote_peer_id, %error, "lost the stream from a peer");
            }
            listener.on_ended(key);
        });
        let task = serving.abort_handle();
        let stream = OpenStream { task, certificate, store_id };
        add_stream(&mut self.streams.lock(), key, stream);
    }

    /// Handles the end of a stream. If it was the last stream of a member whose addition is not applied here, forgets that
    /// member.
    fn on_ended(&self, (from, kind): (MemberId, StreamKind)) {
        let streams = self.streams.lock();
        let mut others = streams
            .iter()
            .filter(|((of, other), _)| *of == from && *other != kind);
        if others.all(|(_, stream)| stream.task.is_finished()) {
            self.shared.forget_remote(from);
        }
    }

    /// Completes when a new stream with this handshake would be refused. Returns the error that ends the stream.
    async fn until_refused(&self, hello: &Handshake) -> io::Error {
        while self.shared.check(hello).is_ok() {
            sleep(REMOVAL_INTERVAL).await;
        }
        // The refusal of the next stream contains the reason.
        let what = "the member was removed from the cluster, or runs with another data directory or a release below the \
                    feature level of the cluster";
        io::Error::new(io::ErrorKind::PermissionDenied, what)
    }

    /// Hands a member's stream to the replica's thread and waits until the stream ends.
    async fn serve(&self, stream: Box<dyn AcceptedStream>, hello: &Handshake) -> io::Result<()> {
        let (ended, end) = oneshot::channel();
        let stream = stream.into_polled()?;
        self.shared.arrivals.add(InboundStream {
            // The TLS record with the handshake may contain more bytes.
            more: stream.keeps_bytes(),
            stream,
            from: hello.from,
            to: hello.to,
            peer: self.shared.peer(hello.from),
            lane: hello.kind.lane(),
            series: self.shared.metrics.of(self.shared.own_id(), hello.from),
            ended,
            buffer: BytesMut::new(),
            received: Instant::now(),
        });
        self.shared.node.wake();
        // An error means that the replica's thread has ended.
        end.await.unwrap_or(Ok(()))
    }
}

/// Adds a stream and ends the member's previous stream of the same kind. Forgets all streams that have ended, so that members
/// that left the cluster take no memory.
fn add_stream(streams: &mut OpenStreams, key: (MemberId, StreamKind), stream: OpenStream) {
    streams.retain(|_, stream| !stream.task.is_finished());
    if let Some(before) = streams.insert(key, stream) {
        before.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_that_have_ended_are_forgotten() {
        let mut streams = OpenStreams::new();
        for id in 1..10 {
            let serving = tokio::spawn(async {});
            let task = serving.abort_handle();
            serving.await.unwrap();
            let stream = OpenStream { task, certificate: None, store_id: 0 };
            add_stream(&mut streams, (MemberId(id), StreamKind::Bulk), stream);
        }
        assert_eq!(streams.len(), 1, "the streams of earlier members remain");
    }

    #[tokio::test]
    async fn the_oldest_of_too_many_greetings_is_aborted() {
        let mut greetings = Greetings::new();
        let ended = tokio::spawn(async {});
        add_greeting(&mut greetings, ended.abort_handle());
        ended.await.unwrap();
        let tasks: Vec<_> = (0..=GREETINGS_MAX)
            .map(|_| tokio::spawn(std::future::pending::<()>()))
            .collect();
        for (at, task) in tasks.iter().enumerate() {
            let is_full = add_greeting(&mut greetings, task.abort_handle());
            assert_eq!(is_full, at == GREETINGS_MAX);
        }
        let newest = tasks[1..].iter().map(|task| task.id());
        assert!(greetings.iter().map(AbortHandle::id).eq(newest));
    }
}
