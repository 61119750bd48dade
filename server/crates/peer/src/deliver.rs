//! Sends and receives snapshots, each on a separate stream. `snapshot` defines the stream's contents after its raft message.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt as _, runtime::Handle, sync::oneshot, task::AbortHandle, time::sleep,
};
use witan_machine::{member::MemberId, view::View};
use witan_replica::{
    host::{Envelope, Lane},
    replica::PeerEvent,
};
use witan_transport::PeerStream;

use super::{
    Shared,
    frame::{self, FRAME_BYTES_MAX, FrameKind},
    handshake::{Handshake, StreamKind},
    link::{Link, Peer},
    snapshot::{self, SendError, Transfer},
};

/// Number of attempts to send a view. Each attempt continues where the previous stream broke. After the last attempt, the
/// replica sends a newer view.
const ATTEMPTS: u32 = 6;

/// Delay before the second attempt. It doubles with each later attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Minimum time between a refusal and its report. During this time, the receiver's allocator returns the memory of the refused
/// state. If the refusal were reported earlier, that memory would be attributed to the receiver's current state.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

/// Returns the time to wait before a failure is reported, if sending took `took`: zero if another attempt may succeed. The
/// replica sends the next snapshot soon after the report. Without the wait, a member that can never hold the state would
/// receive snapshots continuously.
fn pause(error: &SendError, took: Duration) -> Duration {
    match error.may_retry() {
        true => Duration::ZERO,
        false => took.max(REFUSAL_PAUSE),
    }
}

/// Starts a transfer and reports its result with `report`. Reports only after the task has ended, because the replica may send
/// the next snapshot immediately after the report. An aborted transfer reports nothing.
pub(super) fn start(
    runtime: &Handle,
    transfer: impl Future<Output = PeerEvent> + Send + 'static,
    report: impl FnOnce(PeerEvent) + Send + 'static,
) -> AbortHandle {
    let transfer = runtime.spawn(transfer);
    let handle = transfer.abort_handle();
    runtime.spawn(async move {
        if let Ok(event) = transfer.await {
            report(event);
        }
    });
    handle
}

/// Sends a snapshot to a member in up to [`ATTEMPTS`] attempts. Returns the event that tells the replica whether the member has
/// received the snapshot. Logs each failed attempt. After a refusal, waits before it returns.
pub(super) async fn send(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    view: View,
    message: Bytes,
) -> PeerEvent {
    let member = peer.id.to_string();
    let begun = Instant::now();
    let held = shared.node.hold_for_member(&view);
    let mut delay = Duration::ZERO;
    for attempt in 1..=ATTEMPTS {
        match send_once(&shared, &peer, view.clone(), &message).await {
            Ok(()) => return PeerEvent::SnapshotDelivered,
            Err(error) => {
                let retried = attempt < ATTEMPTS && error.may_retry();
                tracing::warn!(member, attempt, retried, %error, "failed to send a snapshot to a member");
                if !retried {
                    delay = pause(&error, begun.elapsed());
                    break;
                }
                sleep(RETRY_PAUSE * (1 << (attempt - 1))).await;
            }
        }
    }
    drop((held, view));
    sleep(delay).await;
    PeerEvent::SnapshotFailed
}

/// Opens a stream to the member and sends the raft message and the state. Completes when the receiver has the state or does not
/// need it.
async fn send_once(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    view: View,
    message: &[u8],
) -> Result<(), SendError> {
    let link = Link::new(shared.clone(), peer.clone(), StreamKind::Snapshot);
    let mut stream = link.open().await.map_err(io::Error::other)?.stream;
    let message = frame::encode(FrameKind::Message, message);
    stream.write_all(&message).await?;
    snapshot::send(view, stream, &transfer(shared, peer.id)).await
}

/// Returns the parameters of a snapshot transfer with this member.
fn transfer(shared: &Shared, member: MemberId) -> Transfer {
    Transfer {
        cluster_id: shared.node.identity().cluster_id,
        member,
        metrics: shared.metrics.clone(),
    }
}

/// Receives another member's snapshot and its raft message, passes both to the replica, and answers with the outcome.
pub(super) async fn receive_snapshot(
    shared: &Shared,
    mut stream: Box<dyn PeerStream>,
    hello: &Handshake,
) -> io::Result<()> {
    let silence = shared.settings.read_timeout;
    let first = frame::read(&mut stream, FRAME_BYTES_MAX, silence).await?;
    if first.kind != FrameKind::Message {
        let what = "a snapshot stream starts without its Raft message";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let transfer = transfer(shared, hello.from);
    let fits = shared.node.memory().snapshot_fits();
    let received = snapshot::receive(&mut stream, &shared.receiver, &transfer, fits).await;
    let mut received = received.map_err(io::Error::other)?;
    let (installed, decided) = oneshot::channel();
    received.on_installed(Box::new(move || {
        // The stream may have ended.
        let _ = installed.send(());
    }));
    let envelope = Envelope {
        to: hello.to,
        from: hello.from,
        lane: Lane::Bulk,
        message: first.contents,
        snapshot: None,
    };
    shared.node.receive_snapshot(envelope, received);
    let decided = async {
        // An error means that the replica did not need the snapshot.
        let _ = decided.await;
    };
    snapshot::answer(&mut stream, decided).await
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;

    #[tokio::test]
    async fn a_transfer_is_reported_after_its_task_has_ended() {
        let started = Arc::<OnceLock<AbortHandle>>::default();
        let (tell, told) = oneshot::channel();
        let seen = started.clone();
        let transfer = async { PeerEvent::SnapshotDelivered };
        let handle = start(&Handle::current(), transfer, move |event| {
            let ended = seen.get().is_some_and(AbortHandle::is_finished);
            tell.send((event, ended)).expect("the test waits");
        });
        started.set(handle).expect("one transfer was started");
        let reported = told.await.expect("the result is reported");
        assert_eq!(reported, (PeerEvent::SnapshotDelivered, true));
    }

    #[test]
    fn a_refused_snapshot_is_reported_after_a_pause() {
        let refused = SendError::Refused("no memory".into());
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(pause(&refused, Duration::ZERO), second);
        assert_eq!(pause(&refused, minute), minute);
        let busy = SendError::Busy("another snapshot".into());
        assert_eq!(pause(&busy, minute), Duration::ZERO);
    }
}
