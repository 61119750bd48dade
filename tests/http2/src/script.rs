//! Derives a client's steps, with settings, windows and time, from the bytes of a seed or a fuzzer.

use std::time::Duration;

use crate::{
    calls::Call,
    frame::{Frame, block, code, flag, head, kind, literal, message, setting},
};

/// A step of a conversation.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these frames together.
    Send(Vec<Frame>),
    /// Sends bytes that need not be frames.
    Raw(Vec<u8>),
    /// Advances the time.
    Pass(Duration),
    /// Reads this many more of the received bytes, or all.
    Take(Option<usize>),
    /// Shuts the server down.
    ShutDown,
}

/// Bytes that determine the choices. After the last byte, all choices are 0.
#[derive(Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Creates choices from these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns whether no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn below(&mut self, bound: u32) -> u32 {
        let wide = u32::from(self.byte()) | u32::from(self.byte()) << 8;
        wide % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let (first, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        first.to_vec()
    }
}

/// The kinds of steps in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Steps that both servers support: no time, read limits, shutdown or raw bytes, and only calls that h2's side implements.
    Shared,
    /// All steps.
    All,
}

/// Writes a script, step by step.
#[derive(Debug)]
pub struct Writer {
    reach: Reach,
    /// The id of the next new stream.
    next: u32,
}

impl Writer {
    /// Creates a writer at the beginning of a script.
    pub fn new(reach: Reach) -> Self {
        Self { reach, next: 1 }
    }

    /// Returns the next step.
    pub fn step(&mut self, choices: &mut Choices<'_>) -> Step {
        let kinds = if self.reach == Reach::Shared { 14 } else { 19 };
        match choices.byte() % kinds {
            14 => Step::Pass(Duration::from_millis(u64::from(choices.below(60_000)))),
            15 => Step::Take(Some(choices.below(40_000) as usize)),
            16 => Step::Take(None),
            17 => Step::ShutDown,
            18 => {
                let count = usize::from(choices.byte());
                Step::Raw(choices.bytes(count))
            }
            other => {
                let mut frames = self.frames(other, choices);
                if choices.byte().is_multiple_of(8) {
                    spoil(&mut frames, choices);
                }
                Step::Send(frames)
            }
        }
    }

    fn frames(&mut self, which: u8, choices: &mut Choices<'_>) -> Vec<Frame> {
        match which {
            0..=3 => self.request(choices),
            4 | 5 => vec![self.data(choices)],
            6 => vec![Frame::number(
                kind::RST_STREAM,
                self.stream(choices),
                code::CANCEL,
            )],
            7 => {
                let increments = [1, 10, 1000, 65_535, 0, (1 << 31) - 1, 1 << 31, u32::MAX];
                let stream = self.stream(choices);
                vec![Frame::number(
                    kind::WINDOW_UPDATE,
                    stream,
                    choices.of(&increments),
                )]
            }
            8 => vec![Frame::number(
                kind::WINDOW_UPDATE,
                0,
                choices.below(60_000) + 1,
            )],
            9 => vec![settings(choices)],
            10 => vec![Frame::new(
                kind::PING,
                choices.byte() & 1,
                0,
                [choices.byte(); 8],
            )],
            11 => {
                let stream = self.stream(choices);
                vec![Frame::new(
                    kind::PRIORITY,
                    0,
                    stream,
                    [0, 0, 0, 0, choices.byte()],
                )]
            }
            12 => {
                let stream = self.stream(choices);
                vec![Frame::new(kind::HEADERS, 5, stream, block(&[("a", "b")]))]
            }
            _ => {
                let payload = choices.below(64) as usize;
                vec![Frame::new(
                    choices.byte(),
                    choices.byte(),
                    self.stream(choices),
                    choices.bytes(payload),
                )]
            }
        }
    }

    /// Returns a stream id, usually of an opened stream.
    fn stream(&self, choices: &mut Choices<'_>) -> u32 {
        match choices.byte() {
            0..20 => 0,
            20..30 => self.next,
            other => (self.next - 1).saturating_sub(2 * u32::from(other % 8)) | 1,
        }
    }

    fn call(&self, choices: &mut Choices<'_>) -> Call {
        match self.reach {
            Reach::Shared => choices.of(&[Call::Echo, Call::Large, Call::Never]),
            Reach::All => choices.of(&[Call::Echo, Call::Parts, Call::Large, Call::Never]),
        }
    }

    fn request(&mut self, choices: &mut Choices<'_>) -> Vec<Frame> {
        let stream = self.next;
        self.next += 2;
        let mut fields = head(self.call(choices).path());
        if self.reach == Reach::All && choices.byte().is_multiple_of(4) {
            let timeout = format!("{}m", choices.below(20_000));
            fields.push(("grpc-timeout", timeout));
        }
        let mut bytes = block(&fields);
        if choices.byte().is_multiple_of(8) {
            bytes.splice(0..0, [0x3f, 0xe1, 0x1f]);
            bytes.extend(b"\x40\x01x\x01y\xbe");
        }
        if choices.byte().is_multiple_of(16) {
            literal(
                b"long",
                &vec![b'x'; choices.below(9000) as usize],
                &mut bytes,
            );
        }
        let whole = choices.byte().is_multiple_of(8);
        let end = if whole { flag::END_STREAM } else { 0 };
        let mut frames = cut(stream, end, &bytes, choices);
        if !whole && !choices.byte().is_multiple_of(4) {
            let content = vec![7; choices.below(3000) as usize];
            frames.push(Frame::new(
                kind::DATA,
                flag::END_STREAM,
                stream,
                message(&content),
            ));
        }
        frames
    }

    fn data(&self, choices: &mut Choices<'_>) -> Frame {
        let stream = self.stream(choices);
        let end = choices.byte() & flag::END_STREAM;
        let content = vec![7; choices.below(5000) as usize];
        let mut bytes = message(&content);
        if choices.byte().is_multiple_of(2) {
            bytes.truncate(choices.below(5005) as usize);
        }
        if choices.byte().is_multiple_of(4) {
            let padding = choices.byte() % 16;
            bytes.insert(0, padding);
            bytes.extend(vec![0; usize::from(padding)]);
            return Frame::new(kind::DATA, end | flag::PADDED, stream, bytes);
        }
        Frame::new(kind::DATA, end, stream, bytes)
    }
}

fn settings(choices: &mut Choices<'_>) -> Frame {
    let ids = [
        setting::HEADER_TABLE_SIZE,
        setting::ENABLE_PUSH,
        setting::MAX_CONCURRENT_STREAMS,
        setting::INITIAL_WINDOW_SIZE,
        setting::MAX_FRAME_SIZE,
        setting::MAX_HEADER_LIST_SIZE,
        99,
    ];
    let values = [
        0,
        1,
        100,
        4096,
        16_384,
        65_535,
        100_000,
        (1 << 31) - 1,
        1 << 31,
    ];
    let count = choices.byte() % 4;
    let one = |_| (choices.of(&ids), choices.of(&values));
    Frame::settings(&(0..count).map(one).collect::<Vec<_>>())
}

/// Splits a block into one or more frames.
fn cut(stream: u32, end: u8, bytes: &[u8], choices: &mut Choices<'_>) -> Vec<Frame> {
    if !choices.byte().is_multiple_of(8) && bytes.len() <= 16_384 {
        return vec![Frame::new(
            kind::HEADERS,
            end | flag::END_HEADERS,
            stream,
            bytes,
        )];
    }
    let size = (choices.below(2000) + 50) as usize;
    let mut parts = bytes.chunks(size).peekable();
    let mut frames = Vec::new();
    while let Some(part) = parts.next() {
        let last = if parts.peek().is_none() {
            flag::END_HEADERS
        } else {
            0
        };
        let first = frames.is_empty();
        let (kind, flags) = if first {
            (kind::HEADERS, end)
        } else {
            (kind::CONTINUATION, 0)
        };
        frames.push(Frame::new(kind, flags | last, stream, part));
    }
    frames
}

/// Changes one property of a frame, which may become invalid, or removes a frame.
fn spoil(frames: &mut Vec<Frame>, choices: &mut Choices<'_>) {
    let at = usize::from(choices.byte()) % frames.len();
    let which = choices.byte() % 7;
    let value = choices.byte();
    let frame = &mut frames[at];
    match which {
        0 => frame.kind = value % 12,
        1 => frame.flags ^= 1 << (value % 8),
        2 => frame.stream ^= 1 << (value % 4),
        3 => frame.payload.truncate(usize::from(value) % 9),
        4 => frame.payload.extend([value; 3]),
        5 => {
            let place = usize::from(value) % (frame.payload.len() + 1);
            if let Some(byte) = frame.payload.get_mut(place) {
                *byte ^= choices.byte();
            }
        }
        _ => drop(frames.remove(at)),
    }
}
