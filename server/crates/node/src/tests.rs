//! Tests a node whose replica's thread is stalled: requests beyond the limits are refused immediately, and all requests work
//! again when the thread continues.

use std::{pin::Pin, time::Instant};

use futures_util::FutureExt as _;
use tokio::sync::mpsc::Receiver;
use witan_base::{
    account::{Resource, Totals},
    metrics::Register,
};
use witan_machine::{
    Reply,
    kv::{self, Kv, OpReply},
    revision::Revision,
};
use witan_replica::{
    limits::INBOX_MAX,
    watch::{keys::WatcherGroups, range::WatchRange},
};
use witan_tree::{Set, Tree};

use super::{replica_loop::Proposal, testing::stalled_as, *};

/// Creates a node and the receiver of its requests to the replica's thread, which is not running.
fn stalled() -> (Node, Receiver<LoopRequest>) {
    stalled_as(ProcessIdentity::default())
}

fn put(value_bytes: usize) -> kv::Put {
    kv::Put {
        key: "k".into(),
        value: vec![0; value_bytes].into(),
        ..kv::Put::default()
    }
}

/// Proposes commands until one is refused. Returns the waiting proposals.
async fn offer(node: &Node, value_bytes: usize) -> Vec<Waiting> {
    let mut waiting: Vec<Waiting> = Vec::new();
    for _ in 0..2 * INBOX_MAX {
        let node = node.clone();
        let put = put(value_bytes);
        let mut proposal: Waiting = Box::pin(async move { node.propose(put).await });
        // Poll once, so that the command is proposed.
        match proposal.as_mut().now_or_never() {
            None => waiting.push(proposal),
            Some(done) => {
                assert_eq!(done.map(drop), Err(NodeError::TooMany.into()));
                return waiting;
            }
        }
    }
    panic!("no command was refused");
}

type Waiting = Pin<Box<dyn Future<Output = Proposed<kv::Put>>>>;

/// Takes all queued proposals and answers each with `reply`, as the replica's thread would.
fn answer_all(requests: &mut Receiver<LoopRequest>, reply: &Reply) {
    let mut completions = completions::CompletionBatch::default();
    while let Ok(inbound) = requests.try_recv() {
        let LoopRequest::Propose(Proposal { to, .. }) = inbound else {
            panic!("only proposals were sent");
        };
        let outcome = Outcome { reply: reply.clone(), revision: Revision::EMPTY };
        completions.push(to, AppliedCommand { outcome, index: 1 });
    }
    completions.flush();
}

#[test]
fn a_connection_with_many_calls_leaves_slots_to_others() {
    actix_rt::System::new().block_on(async {
        let (node, _requests) = stalled();
        let totals = Totals::register(&Register::default(), u64::MAX);
        let (many, few) = (totals.open(), totals.open());
        assert!(many.charge(Resource::Calls, INBOX_MAX));
        let first = offer(&node.of_connection(&many), 0).await;
        assert_eq!(first.len(), INBOX_MAX / 2 + 1);
        let others = offer(&node.of_connection(&few), 0).await;
        assert_eq!(first.len() + others.len(), INBOX_MAX);
    });
}

#[test]
fn a_stalled_replica_gets_no_more_commands_than_fit() {
    actix_rt::System::new().block_on(async {
        let (node, mut requests) = stalled();
        let size = 1 << 20;
        let done = Reply::Kv(Ok(kv::KvReply::Op(OpReply::Put(kv::PutReply::default()))));
        // A connection leaves half of the memory to other connections.
        let share = Resource::Proposals.limit() / 2;
        for (value_bytes, fit) in [
            (size, share / (size + 64)..share / size + 1),
            (0, INBOX_MAX..INBOX_MAX + 1),
        ] {
            // Run twice to check that charged memory is released.
            for _ in 0..2 {
                let waiting = offer(&node, value_bytes).await;
                assert!(fit.contains(&waiting.len()), "{} wait", waiting.len());
                answer_all(&mut requests, &done);
                for proposal in waiting {
                    assert!(proposal.await.is_ok());
                }
            }
        }
        let refused = node.shared.metrics.proposals_failed.get();
        assert_eq!(refused, 4, "one for each round");
    });
}

#[test]
fn the_reply_of_another_operation_is_an_error() {
    actix_rt::System::new().block_on(async {
        let (node, mut requests) = stalled();
        for reply in [
            Reply::Nothing,
            Reply::Published,
            Reply::Kv(Ok(kv::KvReply::Compact)),
        ] {
            let mut proposal = Box::pin(node.propose(put(1)));
            assert!(proposal.as_mut().now_or_never().is_none());
            answer_all(&mut requests, &reply);
            let done = proposal.await.map(drop);
            assert_eq!(done, Err(NodeError::Internal.into()), "{reply:?}");
        }
    });
}

#[test]
fn a_connection_leaves_room_for_the_commands_of_another() {
    actix_rt::System::new().block_on(async {
        let (node, _requests) = stalled();
        let totals = Totals::register(&Register::default(), u64::MAX);
        let connection = || node.of_connection(&totals.open());
        let first = offer(&connection(), 1 << 20).await;
        assert!(first.len() > 25, "{} wait", first.len());
        let second = offer(&connection(), 1 << 20).await;
        assert!(!second.is_empty(), "another connection has memory left");
    });
}

#[test]
fn dropped_requests_keep_their_entry_until_the_replica_handles_them() {
    actix_rt::System::new().block_on(async {
        let (node, mut requests) = stalled();
        let waiting = offer(&node, 1 << 20).await;
        drop(waiting);
        let none = offer(&node, 1 << 20).await;
        assert!(none.is_empty(), "the commands are still in the inbox");
        while requests.try_recv().is_ok() {}
        assert!(!offer(&node, 1 << 20).await.is_empty());
    });
}

#[test]
fn a_read_of_the_published_state_does_not_involve_another_thread() {
    actix_rt::System::new().block_on(async {
        let (node, mut requests) = stalled();
        let mut shown = View::default();
        shown.position.index = 7;
        let shown = Arc::new(shown);
        for linearizable in [false, true] {
            node.shared.latest.publish(shown.clone(), linearizable);
            for _ in 0..3 {
                let view = node.view().now_or_never().expect("nothing to wait for");
                assert_eq!(view.expect("a published state").position.index, 7);
            }
            assert!(requests.try_recv().is_err(), "no request to the thread");
            assert_eq!(node.read().now_or_never().is_some(), linearizable);
            let asked = matches!(requests.try_recv(), Ok(LoopRequest::Read { .. }));
            assert_eq!(asked, !linearizable);
        }
        // Once the state is withdrawn, readers wait for the replica's thread.
        node.shared.latest.clear();
        for mut read in [
            Box::pin(node.view()) as Pin<Box<dyn Future<Output = _>>>,
            Box::pin(node.fresh_view()),
        ] {
            assert!(read.as_mut().now_or_never().is_none());
            assert!(matches!(requests.try_recv(), Ok(LoopRequest::View { .. })));
        }
    });
}

/// Number of waiting requests: more than a process usually has sockets.
const WAITS: usize = 100_000;

/// Maximum size in bytes of one waiting request.
const WAIT_BYTES: u64 = 1024;

/// Runs in a separate process, so that the memory of other tests is not counted.
#[test]
fn a_hundred_thousand_waits() {
    if !std::env::args().any(|argument| argument == "--exact") {
        let test = "tests::a_hundred_thousand_waits";
        let mut alone = std::process::Command::new(std::env::current_exe().expect("a test's path"));
        alone.args(["--exact", test, "--nocapture"]);
        let ended = alone.output().expect("the test starts again");
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(
            ended.status.success() && said.contains("1 passed"),
            "{said}"
        );
        return;
    }
    let watchers = tree_watchers::TreeWatchers::default();
    let account = Totals::register(&Register::default(), u64::MAX).open();
    let mut tree = Tree::default();
    let before = witan_base::metrics::resident_bytes();
    let mut waiters: Vec<TreeWatcher> = (0..WAITS)
        .map(|i| {
            let path = match i % 3 {
                0 => "/awaited".to_owned(),
                1 => "/".to_owned(),
                _ => format!("/apart/{i}"),
            };
            let watch = Watch { path: path.into(), recursive: i % 3 == 1, registered: 0 };
            let charge = account.hold_later(Resource::Watchers);
            watchers.register(watch, charge).expect("there is room")
        })
        .collect();
    let grown = witan_base::metrics::resident_bytes().saturating_sub(before);
    let bound = WAITS as u64 * WAIT_BYTES;
    assert!(
        grown <= bound,
        "{grown} bytes for {WAITS} waits, bound {bound}"
    );
    let set = witan_tree::TreeCommand {
        operation: Some(witan_tree::TreeOperation::Set(Set {
            path: "/awaited".into(),
            ..Set::default()
        })),
    };
    tree.apply(&set, 0).expect("a set of a free path");
    watchers.wake(&tree, 0);
    for (i, waiter) in waiters.iter_mut().enumerate() {
        let woken = waiter.woken().now_or_never().is_some();
        assert_eq!(woken, i % 3 != 2, "watcher {i}");
    }
    let mut visited = 0;
    watchers.visit(|path| {
        assert!(path.starts_with(b"/"));
        visited += 1;
    });
    assert_eq!(visited, WAITS);
    drop(waiters);
    assert_eq!(watchers.len(), 0);
}

/// Returns the time in seconds to unregister this many unread watcher groups of a stream.
fn removal(groups: usize) -> f64 {
    let mut registry = WatcherGroups::default();
    let stream = registry.add_stream();
    let range = |at: usize| WatchRange::new(format!("a{at:08}").as_bytes(), b"z");
    let register = |at| registry.register(stream, &range(at));
    let ids: Vec<_> = (0..groups).map(register).collect();
    registry.notify(b"b", Kv::default().end(), Revision(2), |_| {});
    let begun = Instant::now();
    for (at, id) in ids.into_iter().enumerate() {
        registry.unregister(id, &range(at));
    }
    begun.elapsed().as_secs_f64()
}

#[test]
fn a_stream_with_many_unread_groups_ends_in_linear_time() {
    // Take the fastest run, because other processes may have used the core.
    let quickest = |groups| {
        (0..3)
            .map(|_| removal(groups))
            .fold(f64::INFINITY, f64::min)
    };
    let ratio = quickest(80_000) / quickest(20_000);
    assert!(
        ratio < 10.0,
        "four times the groups took {ratio:.1} times as long"
    );
}

#[test]
fn an_abandoned_rewrite_fails_with_no_space_unless_the_member_stops() {
    actix_rt::System::new().block_on(async {
        let (node, mut requests) = stalled();
        for (removed, expected) in [(false, NodeError::NoSpace), (true, NodeError::Stopped)] {
            node.shared.removed.send_replace(removed);
            let mut rewrite = std::pin::pin!(node.rewrite());
            assert!(rewrite.as_mut().now_or_never().is_none());
            drop(requests.try_recv().unwrap());
            assert_eq!(rewrite.await, Err(expected));
        }
    });
}
