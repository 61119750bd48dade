//! The peer port: accepts streams of other members, and answers HTTP requests.
//!
//! Until its handshake a connection costs a few hundred bytes and a bounded time, and their number is bounded: the oldest
//! one ends.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
    task::{AbortHandle, yield_now},
    time::{sleep, timeout},
};
use witan_base::sync::Mutex;
use witan_config::Url;
use witan_logging::LogLimit;
use witan_machine::member::MemberId;
use witan_replica::replica::PeerEvent;
use witan_transport::{AcceptedStream, MemberCertificate, PeerListener, PeerTls};

use super::{
    Shared, deliver,
    frame::{self, FrameKind},
    handshake::{
        HANDSHAKE_BYTES_MAX, Handshake, MAGIC, PROTOCOL, Refusal, StreamKind, encode_answer,
    },
    hosts, http,
    inbound::InboundStream,
};

/// How long a connection may take for its handshake, including reading the answer.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections before their handshake; above it, the oldest one ends, because a member completes its own in milliseconds.
const GREETINGS_MAX: usize = 256;

/// Delay after the system refused to accept, for lack of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How soon the stream of a removed member ends, whatever it sends.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(1);

/// All listeners of this member.
#[derive(Debug)]
pub(super) struct Listener {
    shared: Arc<Shared>,
    greetings: Arc<Mutex<Greetings>>,
    streams: Mutex<HashMap<(MemberId, StreamKind), OpenStream>>,
    /// Limits log lines about refusals, which any client can cause.
    refusals: LogLimit,
}

/// A stream of a member.
#[derive(Debug)]
struct OpenStream {
    task: AbortHandle,
    certificate: Option<MemberCertificate>,
    /// The store id of its member.
    store_id: u64,
}

impl OpenStream {
    /// Whether it is open with a certificate that is valid for one of these hosts.
    fn is_open_for(&self, hosts: &[String]) -> bool {
        let certificate = self.certificate.as_ref();
        !self.task.is_finished() && certificate.is_some_and(|it| it.is_for(hosts))
    }
}

/// An accepted stream of a member.
type Greeted = (
    Box<dyn AcceptedStream>,
    Handshake,
    Option<MemberCertificate>,
);

/// Connections before their handshake, oldest first.
#[derive(Debug, Default)]
struct Greetings {
    open: BTreeMap<u64, AbortHandle>,
    last: u64,
}

impl Greetings {
    /// Adds a connection before its handshake. If there are too many, aborts the oldest one; returns whether it did.
    fn add(&mut self, id: u64, task: AbortHandle) -> bool {
        let full = self.open.len() >= GREETINGS_MAX;
        let oldest = full.then(|| self.open.pop_first()).flatten();
        if let Some((_, task)) = &oldest {
            task.abort();
        }
        self.open.insert(id, task);
        oldest.is_some()
    }
}

/// A connection before its handshake, until this is dropped.
#[derive(Debug)]
struct Greeting {
    id: u64,
    all: Arc<Mutex<Greetings>>,
}

impl Greeting {
    /// Gives a new connection its id.
    fn new(all: &Arc<Mutex<Greetings>>) -> Self {
        let mut greetings = all.lock();
        greetings.last += 1;
        Self { id: greetings.last, all: all.clone() }
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        self.all.lock().open.remove(&self.id);
    }
}

impl Listener {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            greetings: Arc::default(),
            streams: Mutex::default(),
            refusals: LogLimit::new(),
        }
    }

    /// Accepts connections for as long as the process runs.
    pub(super) async fn accept(self: Arc<Self>, url: Url, socket: PeerListener) {
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
            let greeting = Greeting::new(&self.greetings);
            let (id, listener, tls) = (greeting.id, self.clone(), tls.clone());
            let task = tokio::spawn(async move {
                let name = remote.map_or_else(String::new, |remote| remote.to_string());
                let greeting_ends = listener.greet((stream, remote), tls.as_ref(), &name);
                let greeted = timeout(GREETING_TIMEOUT, greeting_ends).await;
                drop(greeting);
                match greeted {
                    Ok(Ok(Some(greeted))) => listener.admit(greeted),
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => {
                        listener.shared.metrics.refused("connection");
                        tracing::debug!(remote = name, %error, "a connection to the peer port ended");
                    }
                    Err(_) => listener.shared.metrics.refused("timeout"),
                }
            });
            if self.greetings.lock().add(id, task.abort_handle()) {
                self.shared.metrics.refused("too_many");
            }
            // each connection may speak before the next one is accepted
            yield_now().await;
        }
    }

    /// Does the TLS handshake, if TLS is on, and reads the first bytes: returns the stream of a member, or answers an
    /// HTTP request and returns `None`.
    async fn greet(
        &self,
        (stream, address): (Box<dyn AcceptedStream>, Option<SocketAddr>),
        tls: Option<&PeerTls>,
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
            http::answer(stream, &first, &self.shared).await?;
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
                // the peer reads the answer before unread data resets the connection
                stream.shutdown().await?;
                Ok(None)
            }
        }
    }

    /// Reads the handshake of a member and checks it; the error is the refusal to answer with.
    async fn read_handshake(
        &self,
        stream: &mut Box<dyn AcceptedStream>,
    ) -> Result<Handshake, Refusal> {
        let frame = frame::read_exact(stream, HANDSHAKE_BYTES_MAX).await;
        let frame = frame
            .ok()
            .filter(|frame| frame.kind == FrameKind::Handshake);
        let hello = frame.and_then(|frame| Handshake::decode(&frame.contents));
        let hello = hello.ok_or(Refusal::Malformed)?;
        self.shared.check(&hello)?;
        Ok(hello)
    }

    /// Refuses a stream whose certificate is valid for no host of its member's peer URLs while another one is open
    /// whose certificate is. Without such a stream the mismatch proves nothing: the member may use other certificates
    /// as a client, connect through a proxy, or have moved to URLs that this member does not know yet.
    fn check_certificate(
        &self,
        from: MemberId,
        certificate: Option<&MemberCertificate>,
    ) -> Result<(), Refusal> {
        let members = self.shared.members();
        let hosts: Vec<String> = members
            .by_id
            .get(&from)
            .into_iter()
            .flat_map(hosts)
            .collect();
        if certificate.is_none_or(|it| it.is_for(&hosts)) {
            return Ok(());
        }
        let streams = self.streams.lock();
        let mut open = streams.iter().filter(|((of, _), _)| *of == from);
        match open.any(|(_, stream)| stream.is_open_for(&hosts)) {
            true => Err(Refusal::Certificate),
            false => Ok(()),
        }
    }

    /// Refuses a stream of a copied data directory while a stream of the original is open: a copy replaces its original
    /// only when the original is gone. A stream of the original is always accepted, and closes the stream of a copy.
    fn check_copy(&self, hello: &Handshake) -> Result<(), Refusal> {
        if !hello.is_copy(&self.shared.members()) {
            return Ok(());
        }
        let streams = self.streams.lock();
        let mut of_member = streams.iter().filter(|((of, _), _)| *of == hello.from);
        let is_original =
            |stream: &OpenStream| !stream.task.is_finished() && stream.store_id != hello.store.id;
        match of_member.any(|(_, stream)| is_original(stream)) {
            true => Err(Refusal::Copy),
            false => Ok(()),
        }
    }

    /// Starts to serve a stream that `greet` has accepted (all checks are done there), and aborts the previous stream
    /// of this member and kind. Also tells the member's own link to retry now, and reports a member that was gone as
    /// back.
    fn admit(self: &Arc<Self>, (stream, hello, certificate): Greeted) {
        let (key, store_id) = ((hello.from, hello.kind), hello.store.id);
        self.shared.answer_remote(&hello);
        if let Some(peer) = self.shared.peer(hello.from) {
            // the member runs: links need not wait for their next attempt
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
        let serving = tokio::spawn(async move {
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
                removed = listener.removed(&hello) => Err(removed),
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
        let before = self
            .streams
            .lock()
            .insert(key, OpenStream { task, certificate, store_id });
        if let Some(before) = before {
            before.task.abort();
        }
    }

    /// Notes the end of a stream; forgets its member if that was the last one and the member is not in the cluster.
    fn on_ended(&self, (from, kind): (MemberId, StreamKind)) {
        let streams = self.streams.lock();
        let mut others = streams
            .iter()
            .filter(|((of, other), _)| *of == from && *other != kind);
        if others.all(|(_, stream)| stream.task.is_finished()) {
            self.shared.forget_remote(from);
        }
    }

    /// Completes, with the error that ends the stream, when a stream of this member would be refused.
    async fn removed(&self, hello: &Handshake) -> io::Error {
        while self.shared.check(hello).is_ok() {
            sleep(REMOVAL_INTERVAL).await;
        }
        // the refusal of its next stream contains the reason
        let what = "the member was removed from the cluster, or runs with another data directory";
        io::Error::new(io::ErrorKind::PermissionDenied, what)
    }

    /// Has the replica's thread read the messages of a member's stream until it ends.
    async fn serve(&self, stream: Box<dyn AcceptedStream>, hello: &Handshake) -> io::Result<()> {
        let (ended, end) = oneshot::channel();
        self.shared.arrivals.add(InboundStream {
            stream: stream.into_polled()?,
            from: hello.from,
            to: hello.to,
            peer: self.shared.peer(hello.from),
            lane: hello.kind.lane(),
            series: self.shared.metrics.of(self.shared.own_id(), hello.from),
            ended,
        });
        self.shared.node.wake();
        // an error means that the replica's thread has ended
        end.await.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_greeting_gives_way() {
        let mut greetings = Greetings::default();
        let add = |greetings: &mut Greetings, id| {
            let task = tokio::spawn(std::future::pending::<()>());
            greetings.add(id, task.abort_handle())
        };
        let most = GREETINGS_MAX as u64;
        for id in 0..most {
            assert!(!add(&mut greetings, id));
        }
        assert!(add(&mut greetings, most));
        assert_eq!(greetings.open.len(), GREETINGS_MAX);
        assert!(!greetings.open.contains_key(&0) && greetings.open.contains_key(&most));
    }
}
