//! Tests the transfer of snapshots over an in-memory stream to a member's disk.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use witan_base::{
    metrics::{MetricsPage, Register},
    panics::PanicMetrics,
};
use witan_machine::{
    command::{Command, Entry},
    kv,
    record::RecordChange,
    values::{BlockCache, test_support::drop_values},
    view::View,
};
use witan_storage::{
    self as storage, Checkpointer, DataIdentity, DirectoryLock, RaftLog, RecordTotals, Storage,
    StorageMetrics,
};

use super::{
    send::{each_record, queue_parts},
    wire::{Begin, Outcome, Resume},
    *,
};

const CLUSTER: u64 = 7;
const PIPE_BYTES: usize = 64 << 10;

/// A member's disk, which is deleted on drop.
struct Member {
    dir: PathBuf,
    checkpointer: Checkpointer,
    log: RaftLog,
    _lock: DirectoryLock,
}

impl Member {
    /// Creates an empty data directory and starts its checkpointer.
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("witan-snapshot-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let metrics = StorageMetrics::register(&Register::default());
        let identity = DataIdentity::new(CLUSTER, MemberId(1));
        let (ledger, cache) = (Arc::default(), Arc::new(BlockCache::new()));
        let (storage, _) = storage::open(&dir, &identity, &ledger, &cache, &metrics).unwrap();
        let Storage { log, checkpoint, lock, .. } = storage;
        let checkpointer = Checkpointer::start(checkpoint, None, metrics, |_| ()).unwrap();
        Self { dir, checkpointer, log, _lock: lock }
    }

    fn runs(&self) -> usize {
        let entries = std::fs::read_dir(self.dir.join("member/checkpoint")).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().path().extension() == Some("run".as_ref()))
            .count()
    }

    async fn receive(
        &self,
        stream: &mut DuplexStream,
    ) -> Result<storage::ReceivedSnapshot, ReceiveError> {
        receive(stream, &self.checkpointer.receiver(), &transfer(), |_| true).await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.checkpointer.stop();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn metrics(on: &Register) -> PeerMetrics {
    PeerMetrics::register(on, PanicMetrics::register(on))
}

fn transfer() -> Transfer {
    Transfer {
        cluster_id: CLUSTER,
        member: MemberId(2),
        metrics: metrics(&Register::default()),
    }
}

/// Builds a state with this many keys of 64 KiB each.
fn state(keys: usize) -> View {
    let mut view = View::default();
    for number in 0..keys {
        let put = kv::Put {
            key: format!("key-{number:05}").into(),
            value: Bytes::from(vec![number as u8; 64 << 10]),
            ..kv::Put::default()
        };
        let entry = Entry {
            stamp: None,
            command: Some(Command::Kv(kv::KvCommand {
                operation: Some(kv::KvOperation::Put(put)),
            })),
            caller: None,
        };
        view.machine.apply(&entry);
    }
    (view.position.index, view.position.term) = (500, 3);
    view
}

fn records(view: &View) -> Vec<RecordChange> {
    let mut records = Vec::new();
    view.changes(None, &mut |change| records.push(change));
    records
}

#[test]
fn the_records_of_a_state_are_read_in_order_until_the_stream_ends() {
    let view = state(100);
    let mut read = Vec::new();
    each_record(&view, &mut |change| {
        read.push(change);
        true
    });
    assert!(read == records(&view));
    let cache = drop_values(&view, || ());
    let (parts, ended) = tokio::sync::mpsc::channel(1);
    drop(ended);
    queue_parts(&view, &Resume::default(), &parts);
    let reads = cache.reads();
    assert!(reads < 10, "{reads}");
}

#[tokio::test]
async fn a_snapshot_arrives_and_both_sides_are_notified() {
    let mut member = Member::new();
    let view = state(300);
    let (near, mut far) = duplex(PIPE_BYTES);
    let on = Register::default();
    let context = Transfer { metrics: metrics(&on), ..transfer() };
    let sent = view.clone();
    let sending = tokio::spawn(async move { send(sent, near, &context).await });
    let mut received = member.receive(&mut far).await.unwrap();
    assert_eq!(records(&received.view), records(&view));
    assert!(!sending.is_finished(), "the snapshot is not installed");
    let (done, installed) = tokio::sync::oneshot::channel();
    received.on_installed(Box::new(move || done.send(()).unwrap()));
    storage::install(
        &mut member.log,
        &member.checkpointer,
        received,
        View::default(),
    );
    let decided = async { installed.await.unwrap() };
    answer(&mut far, decided).await.unwrap();
    sending.await.unwrap().unwrap();
    let page = MetricsPage::new(on).render();
    for line in [
        "etcd_network_snapshot_send_success{To=\"2\"} 1",
        "etcd_network_snapshot_send_failures{To=\"2\"} 0",
        "etcd_network_snapshot_send_inflights_total{To=\"2\"} 0",
        "etcd_network_snapshot_send_total_duration_seconds_count{To=\"2\"} 1",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[tokio::test]
async fn a_snapshot_that_does_not_fit_in_memory_is_refused() {
    let member = Member::new();
    let (near, mut far) = duplex(PIPE_BYTES);
    let sending = tokio::spawn(async move { send(state(1), near, &transfer()).await });
    let into = member.checkpointer.receiver();
    let error = receive(&mut far, &into, &transfer(), |bytes| bytes <= 64 << 10)
        .await
        .unwrap_err();
    assert!(matches!(error, ReceiveError::NoMemory { .. }), "{error}");
    let error = sending.await.unwrap().unwrap_err();
    assert!(!error.may_retry(), "{error}");
    assert_eq!(member.runs(), 0);
}

#[tokio::test]
async fn panics_of_both_sides_fail_the_transfer_and_are_counted() {
    let member = Member::new();
    let on = Register::default();
    let context = Transfer { metrics: metrics(&on), ..transfer() };
    let page = MetricsPage::new(on);
    let counted = |count: u32| {
        let line = format!("witan_panics_total{{handler=\"job\"}} {count}\n");
        page.render().contains(&line)
    };
    let view = state(100);
    drop_values(&view, || panic!("on purpose"));
    let (near, mut far) = duplex(PIPE_BYTES);
    let of_sender = context.clone();
    let sending = tokio::spawn(async move { send(view, near, &of_sender).await });
    let error = member.receive(&mut far).await.unwrap_err();
    assert!(matches!(error, ReceiveError::Stream(_)), "{error}");
    assert!(sending.await.unwrap().is_err() && counted(1));

    let (near, mut far) = duplex(PIPE_BYTES);
    let sending = tokio::spawn(async move { send(state(1), near, &transfer()).await });
    let into = member.checkpointer.receiver();
    let panics = |_: u64| -> bool { panic!("on purpose") };
    let error = receive(&mut far, &into, &context, panics)
        .await
        .unwrap_err();
    assert!(matches!(error, ReceiveError::Panicked), "{error}");
    let error = sending.await.unwrap().unwrap_err();
    assert!(!error.may_retry() && counted(2), "{error}");
}

/// Connects a sender to a member until one of them closes its stream or `limit` bytes have left the sender. Returns the number
/// of these bytes.
async fn relay(sender: DuplexStream, member: DuplexStream, limit: u64) -> u64 {
    let (from_sender, mut to_sender) = tokio::io::split(sender);
    let (mut from_member, mut into_member) = tokio::io::split(member);
    let mut limited = from_sender.take(limit);
    tokio::select! {
        _ = tokio::io::copy(&mut limited, &mut into_member) => {}
        _ = tokio::io::copy(&mut from_member, &mut to_sender) => {}
    }
    limit - limited.limit()
}

#[tokio::test]
async fn a_stream_that_broke_is_resumed() {
    let member = Member::new();
    // The state fills two and a half runs.
    let view = state(320);
    let (near, far) = duplex(PIPE_BYTES);
    let sent = view.clone();
    let sending = tokio::spawn(async move { send(sent, near, &transfer()).await });
    // The stream breaks after 18 MiB.
    let (to_member, mut far_member) = duplex(PIPE_BYTES);
    let relayed = tokio::spawn(relay(far, to_member, 18 << 20));
    let error = member.receive(&mut far_member).await.unwrap_err();
    assert!(matches!(error, ReceiveError::Stream(_)), "{error}");
    relayed.await.unwrap();
    let error = sending.await.unwrap().unwrap_err();
    assert!(error.may_retry(), "{error}");
    let kept = member.runs();
    assert!(kept > 0);

    // The next stream breaks before the member can answer.
    let (mut near, mut far_member) = duplex(PIPE_BYTES);
    let announced = framed(&Part::Begin(begin()));
    near.write_all(&announced).await.unwrap();
    drop(near);
    let error = member.receive(&mut far_member).await.unwrap_err();
    assert!(matches!(error, ReceiveError::Stream(_)), "{error}");
    assert_eq!(member.runs(), kept);

    let (near, far) = duplex(PIPE_BYTES);
    let sent = view.clone();
    let sending = tokio::spawn(async move { send(sent, near, &transfer()).await });
    let (to_member, mut far_member) = duplex(PIPE_BYTES);
    let relayed = tokio::spawn(relay(far, to_member, u64::MAX));
    let received = member.receive(&mut far_member).await.unwrap();
    assert_eq!(records(&received.view), records(&view));
    drop(received);
    answer(&mut far_member, async {}).await.unwrap();
    sending.await.unwrap().unwrap();
    let (again, all) = (relayed.await.unwrap(), 320 * (64 << 10));
    assert!(again < all * 2 / 3, "{again} of {all} bytes came again");
}

/// Returns the error and the response of a member that receives these parts and then the stream's end.
async fn outcome_of(member: &Member, parts: &[Vec<u8>]) -> (ReceiveError, Option<Outcome>) {
    let (mut near, mut far) = duplex(1 << 20);
    for part in parts {
        near.write_all(part).await.unwrap();
    }
    let (mut reading, mut writing) = tokio::io::split(near);
    writing.shutdown().await.unwrap();
    let error = member.receive(&mut far).await.unwrap_err();
    drop(far);
    while let Ok(part) = read(&mut reading, 1 << 20).await {
        if let Part::Outcome(outcome) = part {
            return (error, Some(outcome));
        }
    }
    (error, None)
}

fn framed(part: &wire::Part) -> Vec<u8> {
    let (start, records) = part.encode();
    let start = frame::encode_before(FrameKind::Snapshot, &start, records);
    [&start, records].concat()
}

/// Returns the announcement of a snapshot that this cluster's members accept.
fn begin() -> Begin {
    Begin {
        format: 1,
        cluster_id: CLUSTER,
        index: 500,
        term: 3,
        bytes: 0,
    }
}

#[tokio::test]
async fn invalid_parts_are_refused_and_leave_no_file() {
    use wire::Part;
    let member = Member::new();
    let other_format = Part::Begin(Begin { format: 9, ..begin() });
    let other_cluster = Part::Begin(Begin { cluster_id: 8, ..begin() });
    let begin = framed(&Part::Begin(begin()));
    let records = |at, bytes: &'static [u8]| framed(&Part::Records(at, Bytes::from_static(bytes)));
    let end = framed(&Part::End(RecordTotals::default()));
    let mut flipped = records(0, b"12345678");
    *flipped.last_mut().unwrap() ^= 1;
    for (what, expected, parts) in [
        ("another format", "format 9", vec![framed(&other_format)]),
        ("another cluster", "cluster 8", vec![framed(&other_cluster)]),
        ("no beginning", "out of order", vec![end.clone()]),
        (
            "no records",
            "no position record",
            vec![begin.clone(), end.clone()],
        ),
        (
            "a gap",
            "sent byte 5",
            vec![begin.clone(), records(5, b"abc"), end.clone()],
        ),
        (
            "half a record",
            "within a record",
            vec![begin.clone(), records(0, b"abc"), end.clone()],
        ),
        (
            "a record that is too long",
            "a record of",
            vec![begin.clone(), records(0, &[0xff; 8])],
        ),
        ("a flipped bit", "checksum", vec![begin.clone(), flipped]),
        (
            "other records",
            "records that differ",
            vec![begin.clone(), framed(&Part::Restart)],
        ),
        (
            "a part of a receiver",
            "out of order",
            vec![begin.clone(), framed(&Part::Alive)],
        ),
    ] {
        let (error, outcome) = outcome_of(&member, &parts).await;
        let outcome = outcome.unwrap_or_else(|| panic!("{what}: {error}"));
        assert!(
            !outcome.delivered && outcome.reason.contains(expected),
            "{what}: {outcome:?}"
        );
        assert_eq!(member.runs(), 0, "{what}");
    }
    let (error, outcome) = outcome_of(&member, &[begin]).await;
    assert!(
        matches!(error, ReceiveError::Stream(_)) && outcome.is_none(),
        "{error}"
    );
    assert_eq!(member.runs(), 0);
}

#[tokio::test]
async fn a_receiver_that_kept_other_records_starts_over() {
    let (near, mut far) = duplex(1 << 20);
    let sending = tokio::spawn(async move { send(state(3), near, &transfer()).await });
    read(&mut far, 1 << 20).await.unwrap();
    let resume = Resume { records: 1, bytes: 5, last_key: b"other".to_vec() };
    write(&mut far, &wire::Part::Resume(resume)).await.unwrap();
    assert_eq!(read(&mut far, 1 << 20).await.unwrap(), Part::Restart);
    let error = sending.await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Restarted), "{error}");
}

#[tokio::test]
async fn a_refusal_before_the_last_record_reaches_the_sender() {
    let (near, mut far) = duplex(PIPE_BYTES);
    let sending = tokio::spawn(async move { send(state(100), near, &transfer()).await });
    write(&mut far, &wire::Part::Resume(Resume::default()))
        .await
        .unwrap();
    let outcome = Outcome { reason: "no space left".into(), ..Outcome::default() };
    write(&mut far, &wire::Part::Outcome(outcome))
        .await
        .unwrap();
    let error = sending.await.unwrap().unwrap_err();
    assert!(
        error.to_string().contains("no space left") && !error.may_retry(),
        "{error}"
    );
}

#[test]
fn a_member_that_left_has_no_series() {
    let on = Register::default();
    let metrics = metrics(&on);
    let page = MetricsPage::new(on);
    for member in [2, 3].map(MemberId) {
        drop(metrics.snapshot_sends.begin(member));
        drop(metrics.snapshot_receives.begin(member));
    }
    metrics.remove(MemberId(1), MemberId(3));
    let page = page.render();
    assert!(page.contains("{To=\"2\"}") && page.contains("{From=\"2\"}"));
    assert!(!page.contains("=\"3\""), "{page}");
}
