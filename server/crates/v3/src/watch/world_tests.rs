//! Runs watch sessions with slow readers on a member whose state is replaced repeatedly. Each new state has the same history in
//! different blocks, like snapshots of members adopted from etcd.
//!
//! Each watcher must receive exactly the changes in its range, once and in order, or be canceled.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tonic::{Code, Status};
use witan_api::v3::{
    etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion},
    mvccpb,
};
use witan_machine::{
    kv::{Compact, DeleteRange, Kv, KvCommand, KvOperation, Put},
    revision::Revision,
};
use witan_node::{WatchRange, testing::NodeOfStates};

use super::{limits::UNWANTED_SCAN_CHANGES, watch_events};
use crate::test_context::{apply, context, put};

const SEEDS: u64 = 12;
const STEPS: usize = 200;

/// Number of polls, with yields in between, after which a stream without a response is considered idle.
const IDLE_POLLS: usize = 64;

/// Range and start revision of each watcher of a session; the start revision 0 means changes from now on.
const WATCHERS: [(&str, &str, i64); 6] = [
    ("a", "", 0),
    ("b", "c", 0),
    ("c", "d", 1),
    ("a", "\0", 0),
    ("b", "c", 2),
    ("x000", "x1", 0),
];

/// A change: revision, key, and whether it is a deletion.
type Change = (i64, Bytes, bool);

type Answers = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>>>>;

struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[derive(Default)]
struct Received {
    start: i64,
    changes: Vec<Change>,
    canceled: bool,
}

struct World {
    rng: Rng,
    member: NodeOfStates,
    kv: Kv,
    history: Vec<Change>,
    sessions: Vec<(Answers, Vec<Received>)>,
    installs: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let kv = Kv::default();
        let member = NodeOfStates::begin(&kv);
        let ctx = context(member.node.clone());
        let session = || {
            let answers: Answers = Box::pin(watch_events(&ctx, requests(WATCHERS), false));
            (answers, Vec::new())
        };
        let sessions = (0..3).map(|_| session()).collect();
        let rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { rng, member, kv, history: Vec::new(), sessions, installs: 0 }
    }

    /// Applies an operation and adds its changes to the history. Ignores an operation that fails.
    fn apply(&mut self, operation: KvOperation) {
        let before = self.kv.revision();
        // Compacting a compacted revision fails.
        let _ = self.kv.apply(&KvCommand { operation: Some(operation) });
        let made = self.kv.changes_from(before.next(), None);
        let made = made.filter(|(_, change)| change.revision() > before);
        self.history.extend(made.map(|(_, change)| {
            (
                change.revision().0,
                Bytes::copy_from_slice(change.key()),
                change.deletes(),
            )
        }));
    }

    /// Writes one key, writes several keys at one revision, or compacts.
    fn write(&mut self) {
        let prefix = ["a", "b", "c", "z"][self.rng.below(4) as usize];
        let key = Bytes::from(format!("{prefix}{}", self.rng.below(20)));
        match self.rng.below(120) {
            0..2 => {
                let compacted = self.kv.compacted().0.max(1);
                let above = (self.kv.revision().0 - compacted) as u64;
                let revision = compacted + self.rng.below(above / 2 + 1) as i64;
                self.apply(KvOperation::Compact(Compact { revision }));
            }
            2..20 => self.apply(KvOperation::Delete(DeleteRange {
                key,
                ..DeleteRange::default()
            })),
            20..24 => {
                let (key, range_end) = (prefix.into(), format!("{prefix}9").into());
                self.apply(KvOperation::Delete(DeleteRange {
                    key,
                    range_end,
                    ..Default::default()
                }));
            }
            24 => self.write_many(),
            _ => {
                let value =
                    vec![b'v'; self.rng.below(9) as usize * self.rng.below(9000) as usize].into();
                self.apply(KvOperation::Put(Put { key, value, ..Put::default() }));
            }
        }
    }

    /// Writes more keys than one read covers, then deletes them at one revision.
    fn write_many(&mut self) {
        for at in 0..UNWANTED_SCAN_CHANGES * 3 / 2 {
            let key = Bytes::from(format!("x{at:03}"));
            self.apply(KvOperation::Put(Put { key, ..Put::default() }));
        }
        let (key, range_end) = ("x".into(), "y".into());
        self.apply(KvOperation::Delete(DeleteRange {
            key,
            range_end,
            ..DeleteRange::default()
        }));
    }

    /// Makes 1 to 12 writes and publishes the resulting state.
    fn turn(&mut self) {
        for _ in 0..=self.rng.below(12) {
            self.write();
        }
        self.member.advance(&self.kv);
        self.kv.clear_states_before_compaction();
    }

    /// Replaces the state with another member's state, which can be newer.
    fn install(&mut self) {
        let copy = packed(&self.kv);
        let before = std::mem::replace(&mut self.kv, copy);
        for _ in 0..self.rng.below(20) {
            self.write();
        }
        self.kv.clear_states_before_compaction();
        self.kv.begin_layout(&before);
        self.member.replace(&before, &self.kv);
        self.installs += 1;
    }

    /// Replaces the state, expires old states, writes, or reads responses of one session.
    async fn step(&mut self) {
        match self.rng.below(16) {
            0 => self.install(),
            1 => self.member.expire_old_states(),
            2..7 => self.turn(),
            _ => {
                let session = self.rng.below(self.sessions.len() as u64) as usize;
                for _ in 0..self.rng.below(4) {
                    self.read(session).await;
                }
            }
        }
    }

    /// Changes a watched key and withdraws the state that the sessions need to read the change.
    async fn withdraw_needed_state(&mut self) {
        for session in 0..self.sessions.len() {
            while self.read(session).await {}
        }
        // No watcher receives the last change, so that the member keeps no state for that change.
        for key in ["a", "a", "0"] {
            let put = Put { key: key.into(), ..Put::default() };
            self.apply(KvOperation::Put(put));
            self.member.advance(&self.kv);
        }
        self.member.withdraw();
    }

    /// Takes the next response of a session. Returns `false` if no response is ready.
    async fn read(&mut self, session: usize) -> bool {
        let (answers, received) = &mut self.sessions[session];
        let answer = next(answers).await;
        let is_ready = answer.is_some();
        answer.into_iter().for_each(|answer| note(received, answer));
        is_ready
    }

    /// Reads all responses and compares them with the history. Returns the number of watchers that were not canceled.
    async fn finish(mut self, seed: u64) -> usize {
        for session in 0..self.sessions.len() {
            while self.read(session).await {}
        }
        let mut whole = 0;
        for (_, received) in &self.sessions {
            assert_eq!(received.len(), WATCHERS.len(), "seed {seed}");
            for (received, (key, end, _)) in received.iter().zip(WATCHERS) {
                let range = WatchRange::new(key.as_bytes(), end.as_bytes());
                let wanted = |(revision, key, _): &&Change| {
                    *revision >= received.start && range.contains(key)
                };
                let mut expected: Vec<_> = self.history.iter().filter(wanted).cloned().collect();
                if received.canceled {
                    expected.truncate(received.changes.len());
                } else {
                    whole += 1;
                }
                assert!(
                    received.changes == expected,
                    "seed {seed}, watcher of {key} to {end}: it got {:?} instead of {:?}",
                    first_difference(&received.changes, &expected),
                    first_difference(&expected, &received.changes),
                );
            }
        }
        whole
    }
}

/// Takes the next item of a stream. Returns `None` if no item is ready.
async fn next_item(answers: &mut Answers) -> Option<Result<WatchResponse, Status>> {
    for _ in 0..IDLE_POLLS {
        if let Some(item) = answers.next().now_or_never() {
            return Some(item.expect("the stream continues"));
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Takes the next response of a stream. Returns `None` if no response is ready.
async fn next(answers: &mut Answers) -> Option<WatchResponse> {
    let item = next_item(answers).await;
    item.map(|answer| answer.expect("no error"))
}

/// Returns some items of `one`, starting at the first difference.
fn first_difference<'a>(one: &'a [Change], other: &[Change]) -> &'a [Change] {
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    &one[same..one.len().min(same + 4)]
}

/// Records a response for the watchers of a session.
fn note(received: &mut Vec<Received>, answer: WatchResponse) {
    if answer.created {
        assert_eq!(answer.watch_id, received.len() as i64);
        let (.., start) = WATCHERS[received.len()];
        let revision = answer.header.expect("a header").revision;
        let start = if start == 0 { revision + 1 } else { start };
        received.push(Received { start, ..Received::default() });
        return;
    }
    let watcher = &mut received[answer.watch_id as usize];
    watcher.canceled |= answer.canceled;
    watcher
        .changes
        .extend(answer.events.into_iter().map(|event| {
            let deletes = event.r#type() == mvccpb::event::EventType::Delete;
            let kv = event.kv.expect("each event has a pair");
            (kv.mod_revision, kv.key, deletes)
        }));
}

/// Copies the keys as `witan adopt` reads them from a backend, without the gaps that compactions leave.
fn packed(kv: &Kv) -> Kv {
    let mut copy = Kv::default();
    for written in kv.retained_versions() {
        copy.import_change(&written).expect("a valid change");
    }
    let compacted = kv.compacted().max(Revision::NONE);
    copy.finish_import(compacted, compacted)
        .expect("a valid state");
    copy
}

/// Returns the create requests for these watchers. The client never closes its side.
fn requests<const N: usize>(
    watchers: [(&'static str, &'static str, i64); N],
) -> impl Stream<Item = Result<WatchRequest, Status>> + Unpin {
    let create = |(key, range_end, start_revision): (&str, &str, i64)| WatchCreateRequest {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        start_revision,
        ..WatchCreateRequest::default()
    };
    let request = move |watcher| WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create(watcher))),
    };
    let all = stream::iter(watchers).map(move |watcher| Ok(request(watcher)));
    all.chain(stream::pending())
}

#[test]
fn each_watcher_gets_exactly_its_range_across_snapshots() {
    actix_rt::System::new().block_on(async {
        let (mut whole, mut installs) = (0, 0);
        for seed in 1..=SEEDS {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step().await;
            }
            installs += world.installs;
            whole += world.finish(seed).await;
        }
        assert!(installs > SEEDS as usize * 5, "{installs} snapshots");
        assert!(
            whole > SEEDS as usize * 5,
            "{whole} watchers were not canceled"
        );
    });
}

/// The second watcher starts at the compacted revision. Both watchers have the same range, so they are read together.
#[test]
fn a_snapshot_cancels_only_the_watchers_whose_changes_it_lacks() {
    actix_rt::System::new().block_on(async {
        let before = Kv::default();
        let member = NodeOfStates::begin(&before);
        let ctx = context(member.node.clone());
        let asked = requests([("k", "", 0), ("k", "", 4)]);
        let mut answers: Answers = Box::pin(watch_events(&ctx, asked, false));
        for id in 0..2 {
            let created = next(&mut answers).await.expect("the watch is created");
            assert_eq!((created.watch_id, created.created), (id, true));
        }
        let mut kv = Kv::default();
        (0..4).for_each(|_| put(&mut kv, "k", "v"));
        assert_eq!(kv.revision(), Revision(5));
        apply(&mut kv, KvOperation::Compact(Compact { revision: 4 }));
        kv.clear_states_before_compaction();
        kv.begin_layout(&before);
        member.replace(&before, &kv);
        let first = next(&mut answers)
            .await
            .expect("the first watch is canceled");
        assert_eq!((first.watch_id, first.compact_revision), (0, 4));
        let second = next(&mut answers)
            .await
            .expect("the second watch gets its changes");
        let revisions = second.events.into_iter().flat_map(|event| event.kv);
        let revisions: Vec<i64> = revisions.map(|kv| kv.mod_revision).collect();
        assert_eq!((second.watch_id, revisions), (1, vec![4, 5]));
        assert_eq!(next(&mut answers).await, None);
    });
}

/// The compaction removes a change that a session has not read yet.
#[test]
fn a_compaction_while_a_session_waits_for_a_state_cancels_no_watcher() {
    actix_rt::System::new().block_on(async {
        let mut world = World::new(1);
        world.withdraw_needed_state().await;
        let waiting = world.sessions[0].0.next().now_or_never();
        assert!(waiting.is_none(), "the session waits for a state");
        let revision = world.kv.revision().0;
        world.apply(KvOperation::Compact(Compact { revision }));
        world.member.advance(&world.kv);
        world.kv.clear_states_before_compaction();
        world.member.answer(&world.kv);
        let watchers = world.sessions.len() * WATCHERS.len();
        assert_eq!(world.finish(1).await, watchers);
    });
}

#[test]
fn a_watch_that_ends_with_too_many_requests_can_be_resumed() {
    actix_rt::System::new().block_on(async {
        let mut world = World::new(1);
        world.withdraw_needed_state().await;
        // Fill the inbox.
        while world.member.node.fresh_view().now_or_never().is_none() {}
        let ended = next_item(&mut world.sessions[0].0).await;
        let status = ended.expect("the stream ends").unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "etcdserver: too many requests");
    });
}
