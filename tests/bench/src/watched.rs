//! Watchers that record the delay of events: every value starts with the time at which it was sent.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant as Deadline, timeout_at},
};
use witan_api::v3::etcdserverpb::{WatchCreateRequest, WatchResponse};
use witan_e2e::{requests, watching};

use crate::{h2::Call, stream::Streams, verb::key_text};

const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// Maximum time for the last events after the last answer to a write.
const LAST_EVENTS_MAX: Duration = Duration::from_secs(10);

/// Creates values that start with the current time and reads that time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// Size in bytes of the time at the beginning of a value.
    const BYTES: usize = 8;

    /// Starts the clock.
    pub fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    fn micros(self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Returns a value of `bytes` bytes. If the time is larger, the value has the size of the time.
    pub(crate) fn value(self, bytes: usize) -> Bytes {
        let mut value = self.micros().to_be_bytes().to_vec();
        value.resize(bytes.max(Self::BYTES), b'v');
        value.into()
    }

    /// Returns the microseconds since the value was created, or `None` for a deletion, which has no value.
    fn age(self, value: &[u8]) -> Option<u32> {
        let made = u64::from_be_bytes(*value.first_chunk()?);
        let age = self.micros().saturating_sub(made);
        Some(u32::try_from(age).unwrap_or(u32::MAX))
    }
}

/// A call that puts distinct values of one size.
#[derive(Clone, Copy, Debug)]
pub struct SizedPut {
    /// The source of the values.
    pub clock: Clock,
    /// Size of the values in bytes.
    pub value_bytes: usize,
}

impl Call for SizedPut {
    fn target(&self) -> &'static str {
        "/etcdserverpb.KV/Put"
    }

    fn message(&mut self, _slot: usize, key: u64) -> Vec<u8> {
        let put = requests::put(key_text(key), self.clock.value(self.value_bytes));
        put.encode_to_vec()
    }
}

/// The keys and options of one watcher.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// The first key.
    pub key: Bytes,
    /// The key after the last one, or empty for a single key.
    pub end: Bytes,
    /// Whether events contain the previous key-value pair.
    pub prev_kv: bool,
}

impl Watched {
    /// Returns a watch of one key.
    pub(crate) fn key(key: String) -> Self {
        Self { key: key.into(), end: Bytes::new(), prev_kv: false }
    }

    /// Returns a watch of all keys with `prefix`, which must end in ASCII.
    pub(crate) fn prefix(prefix: &str) -> Self {
        let mut end = prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self { end: end.into(), ..Self::key(prefix.to_owned()) }
    }
}

/// The events that the watchers of a cluster have received.
#[derive(Debug)]
pub(crate) struct Received {
    pub clock: Clock,
    watchers: Cell<u64>,
    created: Cell<u64>,
    events: Cell<u64>,
    delays: RefCell<Vec<u32>>,
    changed: Notify,
}

impl Received {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            clock: Clock::start(),
            watchers: Cell::default(),
            created: Cell::default(),
            events: Cell::default(),
            delays: RefCell::default(),
            changed: Notify::new(),
        })
    }

    /// Opens a connection with a watcher for each of `watched` and waits until the watchers are created. Each stream has
    /// `per_stream` watchers. The watchers run in `tasks`, which must be dropped before the server.
    pub(crate) async fn watch(
        self: &Rc<Self>,
        address: &str,
        watched: &[Watched],
        per_stream: usize,
        tasks: &mut JoinSet<()>,
    ) {
        let count = watched.len().div_ceil(per_stream);
        let mut streams = Streams::open(address, WATCH, count).await;
        for (at, watched) in watched.iter().cloned().enumerate() {
            let create = WatchCreateRequest {
                key: watched.key,
                range_end: watched.end,
                prev_kv: watched.prev_kv,
                ..WatchCreateRequest::default()
            };
            let request = watching::create(create);
            streams.send(at / per_stream, request.encode_to_vec());
        }
        let received = Rc::clone(self);
        let mut revisions = vec![0; watched.len()];
        tasks.spawn_local(async move {
            let mut record = |stream: usize, message: &[u8]| {
                received.record(&mut revisions[stream * per_stream..], message);
            };
            while streams.receive(&mut record).await {
                received.changed.notify_waiters();
            }
            panic!("a member ended a watch");
        });
        self.watchers
            .set(self.watchers.get() + watched.len() as u64);
        while self.created.get() < self.watchers.get() {
            self.changed.notified().await;
        }
    }

    /// Records the events in a message of a stream. `last` contains the last revision of each watcher of the stream, indexed by
    /// the watcher's id.
    fn record(&self, last: &mut [i64], message: &[u8]) {
        let response = WatchResponse::decode(message).expect("an answer of a watch");
        assert!(!response.canceled, "a watch was canceled");
        self.created
            .set(self.created.get() + u64::from(response.created));
        self.events
            .set(self.events.get() + response.events.len() as u64);
        let watcher = usize::try_from(response.watch_id).expect("ids count from 0");
        let last = &mut last[watcher];
        for event in &response.events {
            let kv = event.kv.as_ref().expect("an event has a key");
            assert!(
                kv.mod_revision > *last,
                "an event of revision {} arrived after {last}",
                kv.mod_revision
            );
            *last = kv.mod_revision;
            if let Some(age) = self.clock.age(&kv.value) {
                self.delays.borrow_mut().push(age);
            }
        }
    }

    /// Returns the number of all events so far.
    pub(crate) fn events(&self) -> u64 {
        self.events.get()
    }

    /// Waits for `wanted` events in total. Returns the number of events that are still missing after a timeout, or 0.
    pub(crate) async fn missing(&self, wanted: u64) -> u64 {
        let deadline = Deadline::now() + LAST_EVENTS_MAX;
        while self.events.get() < wanted {
            if timeout_at(deadline, self.changed.notified()).await.is_err() {
                break;
            }
        }
        wanted.saturating_sub(self.events.get())
    }

    /// Returns the delays since the last call in microseconds, in ascending order.
    pub(crate) fn take_delays(&self) -> Vec<u32> {
        let mut delays = self.delays.take();
        delays.sort_unstable();
        delays
    }
}
