//! One call on its connection, and how it is found again: by its id when frames come, by its slot
//! when its future wakes.

use std::{
    collections::BTreeMap,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use tokio::{sync::mpsc::Sender, time::Sleep};
use tonic::{Status, body::Body};

use super::{body::Credit, head::Head};
use crate::{
    budget::Permit,
    transport::{Outgoing, grpc::Counting},
};

/// A call that runs.
pub(super) type Running = Pin<Box<dyn Future<Output = Outgoing>>>;

/// A request that came in and whose answer has not gone out whole.
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) receiving: Receiving,
    /// What the client may still send.
    pub(super) receive_window: i64,
    /// Bytes taken since the client's window was last opened.
    pub(super) taken: usize,
    /// Bytes handed to the call that it has not taken yet.
    pub(super) held: usize,
    /// Set while the call reads its body itself.
    pub(super) credit: Option<Arc<Credit>>,
    pub(super) running: Option<Running>,
    pub(super) counting: Option<Counting>,
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
    /// What we may still send.
    pub(super) send_window: i64,
    /// Where more to send comes from.
    pub(super) body: Option<Body>,
    pub(super) pending: Bytes,
    /// What to send after `pending`.
    pub(super) end: Option<End>,
    /// Its place among the streams of the process, if it needs one.
    pub(super) place: Option<Permit>,
    /// What its request or its answer takes, if that is large.
    pub(super) room: Option<Permit>,
    /// Whether it waits in line for the connection's window.
    pub(super) in_line: bool,
}

/// What of the request is still to come.
pub(super) enum Receiving {
    /// A message that is collected for the call.
    Whole {
        head: Rc<Head>,
        body: Vec<u8>,
    },
    /// Chunks that the call takes.
    Parts(Sender<Result<Bytes, Status>>),
    /// What comes is dropped: the answer is decided.
    Unwanted,
    Ended,
}

/// How an answer ends.
pub(super) enum End {
    /// `grpc-status: 0`.
    Ok,
    Trailers(HeaderMap),
    /// Without trailers, which is not gRPC.
    Plain,
}

impl Stream {
    pub(super) fn new(id: u32, receiving: Receiving, windows: (i64, i64)) -> Box<Self> {
        let (receive_window, send_window) = windows;
        Box::new(Self {
            id,
            receiving,
            receive_window,
            taken: 0,
            held: 0,
            credit: None,
            running: None,
            counting: None,
            deadline: None,
            send_window,
            body: None,
            pending: Bytes::new(),
            end: None,
            place: None,
            room: None,
            in_line: false,
        })
    }

    /// Bytes that wait for the rest of their message.
    pub(super) fn unfinished(&self) -> usize {
        match &self.receiving {
            Receiving::Whole { body, .. } => body.len(),
            Receiving::Parts(_) | Receiving::Unwanted | Receiving::Ended => 0,
        }
    }
}

/// The slots whose futures woke since the connection last looked.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Rung>);

#[derive(Debug, Default)]
struct Rung {
    slots: Vec<usize>,
    connection: Option<Waker>,
}

impl Board {
    /// From now on `waker` is woken by the first bell that rings.
    pub(super) fn attend(&self, waker: &Waker) {
        let mut rung = self.rung();
        match &mut rung.connection {
            Some(known) if known.will_wake(waker) => {}
            other => *other = Some(waker.clone()),
        }
    }

    /// Moves what rang into `slots`, which is empty.
    pub(super) fn look(&self, slots: &mut Vec<usize>) {
        std::mem::swap(&mut self.rung().slots, slots);
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes one slot. It outlives the calls that use the slot; one that rings late wakes the next call
/// for nothing.
struct Bell {
    slot: usize,
    board: Arc<Board>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut rung = self.board.rung();
        // the connection looks at all of them once it is awake
        if rung.slots.is_empty()
            && let Some(connection) = &rung.connection
        {
            connection.wake_by_ref();
        }
        // a second ring of the same call is next to the first one, mostly
        if rung.slots.last() != Some(&self.slot) {
            rung.slots.push(self.slot);
        }
    }
}

/// All streams of a connection.
#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<(Option<Box<Stream>>, Waker)>,
    free: Vec<usize>,
    by_id: BTreeMap<u32, usize>,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// A place for a new stream, which is put there by [`Streams::keep`].
    pub(super) fn reserve(&mut self, id: u32, board: &Arc<Board>) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.slots.len();
            let board = board.clone();
            self.slots
                .push((None, Waker::from(Arc::new(Bell { slot, board }))));
            slot
        });
        self.by_id.insert(id, slot);
        slot
    }

    pub(super) fn slot_of(&self, id: u32) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn waker(&self, slot: usize) -> Waker {
        self.slots[slot].1.clone()
    }

    /// Takes a stream out to work on it; [`Streams::keep`] or [`Streams::release`] follows.
    pub(super) fn take(&mut self, slot: usize) -> Option<(Box<Stream>, Waker)> {
        let (stream, waker) = self.slots.get_mut(slot)?;
        stream.take().map(|stream| (stream, waker.clone()))
    }

    pub(super) fn keep(&mut self, slot: usize, stream: Box<Stream>) {
        self.slots[slot].0 = Some(stream);
    }

    /// Gives back the place of a stream that was taken out.
    pub(super) fn release(&mut self, slot: usize, id: u32) {
        self.by_id.remove(&id);
        self.free.push(slot);
        if self.by_id.is_empty() && self.slots.len() > super::limits::SLOTS_KEPT {
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Stream> {
        self.slots.get_mut(slot)?.0.as_deref_mut()
    }

    pub(super) fn each(&mut self, mut act: impl FnMut(usize, &mut Stream)) {
        for (slot, (stream, _)) in self.slots.iter_mut().enumerate() {
            if let Some(stream) = stream {
                act(slot, stream);
            }
        }
    }
}
