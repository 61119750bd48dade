//! A turn as the replica's thread notes it: as the bytes of a file, with values hidden. A command that is copied, encoded by
//! another thread and freed there costs several times as much. The memory is used again for the next turn.
//!
//! Messages of other members, which may come with a whole state, are shared and left to the thread that writes.

use prost::{
    Message,
    encoding::{self, WireType, message},
};
use witan_machine::{
    command::Entry,
    member::{MemberId, MemberRegistry},
    view::View,
};
use witan_replica::{
    host::{Connection, Envelope, Ticket},
    wire,
};

use crate::{
    format::{
        AppliedEntry, DecisionTaken, Effect, EffectKind, FRAME_BYTES_MAX, Input, InputKind,
        Outcome, Part, Received, Turn,
    },
    frame::{self, Next},
    hide::Hider,
    state,
};

/// Memory that is kept for the next turns.
pub(crate) const SPARE_BYTES_MAX: usize = 1 << 20;

/// Fields of a [`crate::format::Frame`], of a [`Turn`], of its inputs and effects, and of a [`crate::format::Proposal`] and an
/// [`AppliedEntry`].
const TURN: u32 = 3;
const INPUTS: u32 = 3;
const EFFECTS: u32 = 4;
const PROPOSE: u32 = 11;
const ENTRY: u32 = 5;
const APPLY: u32 = 6;
const OUTCOME: u32 = 3;

/// A [`crate::format::Proposal`] without its command. To compare an empty field of bytes with nothing takes 60 ns where the
/// comparison reads ahead of an address that does not exist.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct ProposalHead {
    #[prost(uint64, tag = "1")]
    ticket: u64,
    #[prost(uint64, tag = "2")]
    connection_high: u64,
    #[prost(fixed64, tag = "3")]
    connection_low: u64,
    #[prost(sfixed64, tag = "4")]
    now_ns: i64,
}

/// See the module's description.
#[derive(Debug)]
pub struct NotedTurn {
    pub(crate) number: u64,
    hider: Hider,
    /// Inputs and effects, as fields of a turn.
    fields: Vec<u8>,
    /// Messages, and before which byte of `fields` each belongs.
    received: Vec<(usize, Box<Envelope>)>,
    received_bytes: usize,
}

impl NotedTurn {
    pub(crate) fn new(hider: Hider) -> Self {
        Self {
            number: 0,
            hider,
            fields: Vec::new(),
            received: Vec::new(),
            received_bytes: 0,
        }
    }

    /// Begins the next turn.
    pub(crate) fn next(&mut self) {
        self.number += 1;
        self.fields.clear();
        self.fields.shrink_to(SPARE_BYTES_MAX);
        self.received.clear();
        self.received_bytes = 0;
    }

    /// Takes the contents, for another thread.
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self { number: self.number, ..Self::new(self.hider.clone()) };
        std::mem::replace(self, empty)
    }

    /// Bytes that it keeps in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.fields.len() + self.received_bytes
    }

    /// Whether nothing of the turn is left for another thread to encode.
    pub(crate) fn is_encoded(&self) -> bool {
        self.received.is_empty()
    }

    fn is_full(&self) -> bool {
        self.bytes() > FRAME_BYTES_MAX
    }

    /// Notes an input of the replica, unless the turn is full.
    pub(crate) fn input(&mut self, kind: InputKind) {
        if !self.is_full() {
            append(&mut self.fields, INPUTS, &Input { kind: Some(kind) });
        }
    }

    /// Notes an effect of the replica, unless the turn is full.
    pub(crate) fn effect(&mut self, kind: EffectKind) {
        if self.is_full() {
            return;
        }
        if let EffectKind::Apply(applied) = &kind
            && let Some(outcome) = applied.outcome
        {
            return append_applied(&mut self.fields, *applied, outcome);
        }
        append(&mut self.fields, EFFECTS, &Effect { kind: Some(kind) });
    }

    /// Notes a message of another member, which another thread encodes, unless the turn is full.
    pub(crate) fn receive(&mut self, envelope: &Envelope) {
        if !self.is_full() {
            self.received_bytes += size_of::<Envelope>() + envelope.message.len();
            self.received
                .push((self.fields.len(), Box::new(envelope.clone())));
        }
    }

    /// Notes a command of a client, which it leaves as it was.
    pub(crate) fn propose(
        &mut self,
        ticket: Ticket,
        connection: Connection,
        now_ns: i64,
        entry: &mut Entry,
    ) {
        if self.is_full() {
            return;
        }
        let Connection(connection) = self.hider.hide_connection(connection);
        let head = ProposalHead {
            ticket: ticket.0,
            connection_high: (connection >> 64) as u64,
            connection_low: connection as u64,
            now_ns,
        };
        let fields = &mut self.fields;
        self.hider
            .with_hidden(entry, |entry| append_proposal(fields, head, entry));
    }

    pub(crate) fn decide(&mut self, members: &MemberRegistry, now_ns: i64, entry: &mut Entry) {
        let mut encoded = Vec::new();
        self.hider
            .with_hidden(entry, |entry| encoded = entry.encode_to_vec());
        let mut view = View::default();
        view.machine.members = members.clone();
        self.input(InputKind::Decide(DecisionTaken {
            members: Some(state::store(&view)),
            now_ns,
            entry: encoded.into(),
        }));
    }

    /// Appends the frame of the turn; `false`, and nothing, if it is too large.
    pub(crate) fn put(&self, at_ns: i64, into: &mut Vec<u8>) -> bool {
        if self.is_full() {
            return false;
        }
        if self.is_encoded() {
            return put_turn(into, self.number, at_ns, &self.fields);
        }
        let (mut fields, mut from) = (Vec::new(), 0);
        for (at, envelope) in &self.received {
            fields.extend_from_slice(&self.fields[from..*at]);
            let kind = Some(InputKind::Receive(self.readable(envelope)));
            append(&mut fields, INPUTS, &Input { kind });
            from = *at;
        }
        fields.extend_from_slice(&self.fields[from..]);
        put_turn(into, self.number, at_ns, &fields)
    }

    /// The turn as it is read from a file; `None` if it is too large for one.
    pub fn read(&self) -> Option<Turn> {
        let mut frame = Vec::new();
        self.put(0, &mut frame);
        let Ok(Next::Part(Part::Turn(turn))) = frame::take(&mut &frame[..]) else {
            return None;
        };
        Some(turn)
    }

    fn readable(&self, envelope: &Envelope) -> Received {
        let Envelope {
            from: MemberId(from), to: MemberId(to), message, snapshot, ..
        } = envelope;
        let hidden = wire::map_commands(message, &mut |data| self.hider.hide_encoded(&data));
        Received {
            from: *from,
            to: *to,
            message: hidden.unwrap_or_default(),
            snapshot: snapshot.as_deref().map(state::store),
        }
    }
}

/// Appends the frame of a turn with these inputs and effects.
fn put_turn(into: &mut Vec<u8>, number: u64, at_ns: i64, fields: &[u8]) -> bool {
    let head = Turn { number, at_ns, ..Turn::default() };
    let turn_bytes = head.encoded_len() + fields.len();
    frame::put_payload(into, nested_len(TURN, turn_bytes), |mut to| {
        begin_nested(TURN, turn_bytes, &mut to);
        head.encode_raw(&mut to);
        to.copy_from_slice(fields);
    })
}

/// Makes room for bytes: a slice takes them one by one faster than a vector.
fn room(fields: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    let begin = fields.len();
    fields.resize(begin + bytes, 0);
    &mut fields[begin..]
}

fn append(fields: &mut Vec<u8>, tag: u32, of: &impl Message) {
    let bytes = message::encoded_len(tag, of);
    message::encode(tag, of, &mut room(fields, bytes));
}

/// Appends an input as [`append`] does with a proposal of this entry. The entry is not encoded for itself, and its
/// length is counted once and not at each level.
fn append_proposal(fields: &mut Vec<u8>, head: ProposalHead, entry: &Entry) {
    let entry_bytes = entry.encoded_len();
    let proposal_bytes = head.encoded_len() + nested_len(ENTRY, entry_bytes);
    let input_bytes = nested_len(PROPOSE, proposal_bytes);
    let mut to = room(fields, nested_len(INPUTS, input_bytes));
    begin_nested(INPUTS, input_bytes, &mut to);
    begin_nested(PROPOSE, proposal_bytes, &mut to);
    head.encode_raw(&mut to);
    begin_nested(ENTRY, entry_bytes, &mut to);
    entry.encode_raw(&mut to);
}

/// Appends an effect as [`append`] does, of which there are as many as commands, in half of the time.
fn append_applied(fields: &mut Vec<u8>, applied: AppliedEntry, outcome: Outcome) {
    let head = AppliedEntry { outcome: None, ..applied };
    let outcome_bytes = outcome.encoded_len();
    let applied_bytes = head.encoded_len() + nested_len(OUTCOME, outcome_bytes);
    let effect_bytes = nested_len(APPLY, applied_bytes);
    let mut to = room(fields, nested_len(EFFECTS, effect_bytes));
    begin_nested(EFFECTS, effect_bytes, &mut to);
    begin_nested(APPLY, applied_bytes, &mut to);
    head.encode_raw(&mut to);
    begin_nested(OUTCOME, outcome_bytes, &mut to);
    outcome.encode_raw(&mut to);
}

/// The length of a message in another one.
fn nested_len(tag: u32, bytes: usize) -> usize {
    encoding::key_len(tag) + encoding::encoded_len_varint(bytes as u64) + bytes
}

fn begin_nested(tag: u32, bytes: usize, to: &mut &mut [u8]) {
    encoding::encode_key(tag, WireType::LengthDelimited, to);
    encoding::encode_varint(bytes as u64, to);
}
