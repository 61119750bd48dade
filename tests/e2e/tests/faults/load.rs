//! The shared state of all clients in a run, and the v3 clients: calls on pairs of keys, and watches of the pairs.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval, timeout},
};
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{WatchCreateRequest, kv_client::KvClient};
use witan_e2e::{
    grpc,
    linear::{
        Batch, Call, Input, Told,
        client::{self, Choice, PREFIX, PREFIX_END, WatchEnd},
    },
};

use crate::probes::Acknowledged;

/// Number of pairs in use. Each step of the schedule has its own pairs, so that histories stay short.
pub(crate) const PAIRS: usize = 6;

/// Pause between two calls of a client. It leaves time for the members' other work.
const PAUSE: Duration = Duration::from_millis(15);

/// Time after which a call is recorded as unanswered. It is longer than an election.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(3);

const WATCH_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) calls: client::Shared,
    pub(crate) addresses: Vec<String>,
    step: AtomicUsize,
    stopped: AtomicBool,
    acknowledged: Mutex<Vec<Acknowledged>>,
    wrong: Mutex<Vec<String>>,
    late_us: AtomicU64,
    /// Index of the last v2 write, or 0 while v2 clients run.
    last_tree_index: AtomicU64,
}

impl Load {
    pub(crate) fn new(addresses: Vec<String>) -> Arc<Self> {
        Arc::new(Self { addresses, ..Self::default() })
    }

    pub(crate) fn next_step(&self) {
        self.step.fetch_add(1, Relaxed);
    }

    pub(crate) fn pair(&self, choice: &mut Choice) -> usize {
        self.step.load(Relaxed) * PAIRS + choice.below(PAIRS)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Returns the index of the last v2 write, at which v2 watches end, or `None` while v2 clients run.
    pub(crate) fn last_tree_index(&self) -> Option<u64> {
        Some(self.last_tree_index.load(Relaxed)).filter(|index| *index > 0)
    }

    pub(crate) fn ends_at_tree_index(&self, index: u64) {
        self.last_tree_index.store(index, Relaxed);
    }

    pub(crate) fn acknowledged(&self) -> MutexGuard<'_, Vec<Acknowledged>> {
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a delay of this process. Only the longest delay is kept.
    pub(crate) fn late(&self, by: Duration) {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.late_us.fetch_max(by, Relaxed);
    }

    /// Returns the longest recorded delay and resets it.
    pub(crate) fn take_late(&self) -> Duration {
        Duration::from_micros(self.late_us.swap(0, Relaxed))
    }

    pub(crate) fn wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.push(what);
    }

    pub(crate) fn all_wrong(&self) -> Vec<String> {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.clone()
    }

    pub(crate) fn channels(&self) -> Vec<Channel> {
        let addresses = self.addresses.iter();
        addresses.map(|address| grpc::lazy(address)).collect()
    }
}

/// Returns an interval that keeps its distance between ticks after a late tick.
pub(crate) fn pace(pause: Duration) -> Interval {
    let mut pace = interval(pause);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// Runs a client until the load stops and returns its calls. The client changes to the next member when its member does not
/// answer.
pub(crate) async fn work(load: Arc<Load>, mut at: usize, seed: u64) -> Vec<Call> {
    let channels = load.channels();
    let mut choice = Choice(seed);
    let mut calls: Vec<Call> = Vec::new();
    let (mut step, mut known) = (0, [[0, 0]; PAIRS]);
    let mut pace = pace(PAUSE);
    while !load.is_stopped() {
        pace.tick().await;
        let pair = load.pair(&mut choice);
        if pair / PAIRS != step {
            (step, known) = (pair / PAIRS, [[0, 0]; PAIRS]);
        }
        let input = choice.input(&load.calls, known[pair % PAIRS]);
        let call = call(&load, &channels[at % channels.len()], pair, input).await;
        match call.told {
            Some(told) => client::remember(&mut known[pair % PAIRS], input, told.output),
            None => at += 1,
        }
        calls.push(call);
    }
    calls
}

async fn call(load: &Load, channel: &Channel, pair: usize, input: Input) -> Call {
    let begun = load.calls.moment();
    let mut kv = KvClient::new(channel.clone());
    let asked = timeout(CALL_TIMEOUT, client::ask(&mut kv, pair, input)).await;
    // A call that ends with an error or a timeout may have taken effect.
    let answer = asked.ok().and_then(Result::ok);
    let told =
        answer.map(|(output, revision)| Told { ended: load.calls.moment(), output, revision });
    Call { pair, input, begun, told }
}

/// Puts until a put is acknowledged. Every watch ends at the revision of this put. Returns all puts.
pub(crate) async fn last_put(load: &Load) -> Vec<Call> {
    let channels = load.channels();
    let mut calls: Vec<Call> = Vec::new();
    for channel in channels.iter().cycle() {
        let input = Input::Put(0, load.calls.value());
        calls.push(call(load, channel, 0, input).await);
        if calls.last().is_some_and(|call| call.told.is_some()) {
            break;
        }
    }
    calls
}

/// Watches all pairs on one member until its stream ends, then on the next member. Returns the changes up to the revision
/// `end`.
pub(crate) async fn observe(
    load: Arc<Load>,
    mut at: usize,
    mut end: watch::Receiver<Option<i64>>,
) -> Vec<Batch> {
    let channels = load.channels();
    let mut batches = Vec::new();
    let mut pace = pace(WATCH_AGAIN);
    loop {
        pace.tick().await;
        let create = WatchCreateRequest {
            key: PREFIX.into(),
            range_end: PREFIX_END.into(),
            start_revision: client::next_revision(&batches),
            ..Default::default()
        };
        let channel = channels[at % channels.len()].clone();
        match client::follow(channel, create, &mut batches, &mut end).await {
            WatchEnd::Seen => return batches,
            // A removed member ends its watches. Reopen them on another member.
            WatchEnd::Broken | WatchEnd::Canceled(_) => at += 1,
        }
    }
}
