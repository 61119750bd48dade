//! Checks every frame of a server against the rules of RFC 9113. The tests define the correct responses to invalid frames from
//! a client.

use std::collections::{BTreeMap, VecDeque};

use witan_http2::hpack::Decoder;

use crate::frame::{Frame, flag, kind, setting};

const WINDOW_MAX: i64 = (1 << 31) - 1;
const WINDOW_FIRST: i64 = 65_535;
const TABLE_FIRST: u32 = 4096;

/// A stream from the client's view.
#[derive(Debug)]
struct Stream {
    /// Number of bytes that the server may still send.
    to_client: i64,
    /// Number of bytes that the client may still send.
    to_server: i64,
    /// Number of received header blocks.
    blocks: usize,
    /// Whether the server has ended its side.
    ended: bool,
    /// Whether either side has reset the stream.
    reset: bool,
}

/// Follows both directions of a connection and checks the server's frames.
#[derive(Debug)]
pub struct Checker {
    decoder: Decoder,
    streams: BTreeMap<u32, Stream>,
    /// Settings that the server has not acknowledged.
    unacknowledged: VecDeque<Vec<(u16, u32)>>,
    pings: VecDeque<Vec<u8>>,
    to_client: i64,
    to_server: i64,
    client_window: i64,
    server_window: i64,
    table: u32,
    /// Maximum table size that the next block must announce at its beginning, if any.
    shrunk: Option<u32>,
    greeted: bool,
    block: Option<(u32, u8, Vec<u8>)>,
    last: u32,
}

impl Default for Checker {
    fn default() -> Self {
        Self {
            decoder: Decoder::default(),
            streams: BTreeMap::new(),
            unacknowledged: VecDeque::new(),
            pings: VecDeque::new(),
            to_client: WINDOW_FIRST,
            to_server: WINDOW_FIRST,
            client_window: WINDOW_FIRST,
            server_window: WINDOW_FIRST,
            table: TABLE_FIRST,
            shrunk: None,
            greeted: false,
            block: None,
            last: u32::MAX,
        }
    }
}

impl Checker {
    /// Records a frame from the client.
    pub fn sent(&mut self, frame: &Frame) {
        // The server ignores the reserved bit.
        let mut frame = frame.clone();
        frame.stream &= u32::MAX >> 1;
        let stream = self.streams.get_mut(&frame.stream);
        match frame.kind {
            kind::HEADERS if frame.stream % 2 == 1 => {
                let (to_client, to_server) = (self.client_window, self.server_window);
                self.streams.entry(frame.stream).or_insert(Stream {
                    to_client,
                    to_server,
                    blocks: 0,
                    ended: false,
                    reset: false,
                });
            }
            kind::DATA => {
                let length = frame.payload.len() as i64;
                self.to_server -= length;
                if let Some(stream) = stream {
                    stream.to_server -= length;
                }
            }
            kind::RST_STREAM => {
                if let Some(stream) = stream {
                    stream.reset = true;
                }
            }
            kind::WINDOW_UPDATE => {
                let more = i64::from(frame.number_at(0) & 0x7fff_ffff);
                if frame.stream == 0 {
                    self.to_client += more;
                } else if let Some(stream) = stream {
                    stream.to_client += more;
                }
            }
            kind::SETTINGS if !frame.has(flag::ACK) => {
                let chunks = frame.payload.chunks_exact(6);
                let one = |c: &[u8]| {
                    let id = u16::from_be_bytes([c[0], c[1]]);
                    (id, u32::from_be_bytes([c[2], c[3], c[4], c[5]]))
                };
                self.unacknowledged.push_back(chunks.map(one).collect());
            }
            kind::PING if !frame.has(flag::ACK) => self.pings.push_back(frame.payload.clone()),
            _ => {}
        }
    }

    /// Checks a frame from the server. Fails with the violated rule.
    pub fn received(&mut self, frame: &Frame) -> Result<(), String> {
        self.look(frame)
            .map_err(|wrong| format!("{wrong}: {frame:?}"))
    }

    fn look(&mut self, frame: &Frame) -> Result<(), String> {
        let first = !std::mem::replace(&mut self.greeted, true);
        if first && (frame.kind != kind::SETTINGS || frame.has(flag::ACK)) {
            return Err("6.5: the first frame is not SETTINGS".into());
        }
        if frame.payload.len() > 16_384 {
            return Err("4.1: larger than the client's limit".into());
        }
        if frame.stream >> 31 != 0 {
            return Err("4.1: the reserved bit is set".into());
        }
        let defined = match frame.kind {
            // The server does not pad frames.
            kind::DATA => flag::END_STREAM,
            kind::HEADERS => flag::END_STREAM | flag::END_HEADERS,
            kind::CONTINUATION => flag::END_HEADERS,
            kind::SETTINGS | kind::PING => flag::ACK,
            kind::RST_STREAM | kind::GOAWAY | kind::WINDOW_UPDATE => 0,
            kind::PUSH_PROMISE => return Err("8.4: this server does not push".into()),
            _ => return Err("5.5: an unknown kind of frame".into()),
        };
        if frame.flags & !defined != 0 {
            return Err("4.1: an undefined flag is set".into());
        }
        if let Some((stream, _, _)) = &self.block
            && (frame.kind != kind::CONTINUATION || frame.stream != *stream)
        {
            return Err("4.3: a header block is interrupted".into());
        }
        match frame.kind {
            kind::DATA => self.data(frame),
            kind::HEADERS | kind::CONTINUATION => self.headers(frame),
            kind::RST_STREAM => self.reset(frame),
            kind::SETTINGS => self.settings(frame),
            kind::PING => self.ping(frame),
            kind::GOAWAY => self.goaway(frame),
            _ => self.window(frame),
        }
    }

    /// Returns the frame's stream. Fails if the server is not allowed to send on it.
    fn open(&mut self, frame: &Frame) -> Result<&mut Stream, String> {
        let stream = self.streams.get_mut(&frame.stream);
        let stream = stream.ok_or("5.1: a stream that the client has not opened")?;
        if stream.reset || stream.ended {
            return Err("5.1: a stream that is closed on the server's side".into());
        }
        Ok(stream)
    }

    fn data(&mut self, frame: &Frame) -> Result<(), String> {
        let length = frame.payload.len() as i64;
        self.to_client -= length;
        let whole = self.to_client;
        let stream = self.open(frame)?;
        stream.to_client -= length;
        if length > 0 && (stream.to_client < 0 || whole < 0) {
            return Err(format!(
                "6.9.1: beyond the windows ({} of the stream, {whole} of the connection)",
                stream.to_client
            ));
        }
        if stream.blocks == 0 {
            return Err("8.1: DATA before HEADERS".into());
        }
        stream.ended = frame.has(flag::END_STREAM);
        Ok(())
    }

    fn headers(&mut self, frame: &Frame) -> Result<(), String> {
        let (stream, flags, mut block) = match self.block.take() {
            Some(open) => open,
            None if frame.kind == kind::HEADERS => (frame.stream, frame.flags, Vec::new()),
            None => return Err("6.10: CONTINUATION without a block".into()),
        };
        block.extend_from_slice(&frame.payload);
        if !frame.has(flag::END_HEADERS) {
            self.block = Some((stream, flags, block));
            return Ok(());
        }
        if let Some(size) = self.shrunk.take() {
            let update = block.first().is_some_and(|byte| byte & 0xe0 == 0x20);
            if !update || size < 31 && u32::from(block[0] & 0x1f) > size {
                return Err("4.3.1: the block does not announce the smaller table".into());
            }
        }
        let mut fields = Vec::new();
        let keep = |field: &witan_http2::hpack::HeaderField| {
            fields.push((field.name.to_vec(), field.value.to_vec()));
        };
        let decoded = self.decoder.decode(&block, keep);
        decoded.map_err(|_| "4.3: a block that cannot be decoded")?;
        if self.decoder.table_size().1 > self.table as usize {
            return Err("RFC 7541, 4.2: the table is larger than the client allows".into());
        }
        let end = flags & flag::END_STREAM != 0;
        let stream = self.open(frame)?;
        stream.blocks += 1;
        stream.ended = end;
        let pseudo: Vec<_> = fields.iter().filter(|(name, _)| name[0] == b':').collect();
        match (stream.blocks, pseudo.as_slice()) {
            (1, [(name, _)]) if name == b":status" && fields[0].0 == *name => {}
            (2, []) if end => {}
            _ => {
                return Err(format!(
                    "8.3: not the header block of an answer: {fields:?}"
                ));
            }
        }
        let banned: [&[u8]; 5] = [
            b"connection",
            b"keep-alive",
            b"proxy-connection",
            b"transfer-encoding",
            b"upgrade",
        ];
        for (name, value) in &fields {
            if name.iter().any(u8::is_ascii_uppercase) || banned.contains(&name.as_slice()) {
                return Err("8.2: a field that is forbidden in messages".into());
            }
            if value.iter().any(|byte| b"\0\r\n".contains(byte)) {
                return Err("8.2.1: a value with forbidden bytes".into());
            }
        }
        Ok(())
    }

    fn reset(&mut self, frame: &Frame) -> Result<(), String> {
        let stream = self.streams.get_mut(&frame.stream);
        let stream = stream.ok_or("6.4: RST_STREAM on an idle stream")?;
        stream.reset = true;
        Ok(())
    }

    fn settings(&mut self, frame: &Frame) -> Result<(), String> {
        if frame.stream != 0 {
            return Err("6.5: SETTINGS on a stream".into());
        }
        if frame.has(flag::ACK) {
            let settings = self.unacknowledged.pop_front();
            let settings = settings.ok_or("6.5.3: an ACK without SETTINGS")?;
            for (id, value) in settings {
                self.apply(id, value);
            }
            return Ok(());
        }
        for chunk in frame.payload.chunks_exact(6) {
            let id = u16::from_be_bytes([chunk[0], chunk[1]]);
            let value = u32::from_be_bytes([chunk[2], chunk[3], chunk[4], chunk[5]]);
            match id {
                setting::ENABLE_PUSH if value != 0 => return Err("6.5.2: ENABLE_PUSH".into()),
                setting::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                    return Err("6.5.2: MAX_FRAME_SIZE".into());
                }
                setting::INITIAL_WINDOW_SIZE => {
                    self.server_window = i64::from(value);
                    if self.server_window > WINDOW_MAX {
                        return Err("6.5.2: INITIAL_WINDOW_SIZE".into());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Applies an acknowledged setting of the client. Ignores settings that do not affect the server's frames.
    fn apply(&mut self, id: u16, value: u32) {
        if id == setting::INITIAL_WINDOW_SIZE {
            let more = i64::from(value) - self.client_window;
            self.client_window = i64::from(value);
            let all = self.streams.values_mut();
            all.for_each(|stream| stream.to_client += more);
        } else if id == setting::HEADER_TABLE_SIZE {
            let held = self.decoder.table_size().1;
            if (value as usize) < held {
                self.shrunk = Some(self.shrunk.map_or(value, |before| before.min(value)));
            }
            self.table = value;
        }
    }

    fn ping(&mut self, frame: &Frame) -> Result<(), String> {
        if frame.stream != 0 || frame.payload.len() != 8 {
            return Err("6.7: not a PING".into());
        }
        if frame.has(flag::ACK) && self.pings.pop_front().as_ref() != Some(&frame.payload) {
            return Err("6.7: an ACK that answers no PING".into());
        }
        Ok(())
    }

    fn goaway(&mut self, frame: &Frame) -> Result<(), String> {
        let last = frame.number_at(0);
        if frame.stream != 0 || frame.payload.len() < 8 {
            return Err("6.8: not a GOAWAY".into());
        }
        if last > self.last {
            return Err("6.8: the last stream id increases".into());
        }
        self.last = last;
        Ok(())
    }

    fn window(&mut self, frame: &Frame) -> Result<(), String> {
        let more = i64::from(frame.number_at(0));
        if frame.payload.len() != 4 || more == 0 || more > WINDOW_MAX {
            return Err("6.9: not a WINDOW_UPDATE".into());
        }
        let window = if frame.stream == 0 {
            self.to_server += more;
            self.to_server
        } else {
            let stream = self.streams.get_mut(&frame.stream);
            let stream = stream.ok_or("5.1: WINDOW_UPDATE on an idle stream")?;
            if stream.reset {
                return Err("5.1: WINDOW_UPDATE on a stream that was reset".into());
            }
            stream.to_server += more;
            stream.to_server
        };
        if window > WINDOW_MAX {
            return Err("6.9.1: a window above its maximum".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{block, code};

    fn answer(stream: u32, flags: u8) -> Frame {
        Frame::new(kind::HEADERS, flags, stream, block(&[(":status", "200")]))
    }

    fn data(length: usize) -> Frame {
        Frame::new(kind::DATA, 0, 1, vec![0; length])
    }

    /// Returns sequences of a server's frames after one request, with the beginning of the error about the last frame.
    fn breaches() -> Vec<(Vec<Frame>, &'static str)> {
        let (heads, end) = (flag::END_HEADERS, flag::END_STREAM);
        let one = |frame: Frame, wrong| (vec![frame], wrong);
        let (window, reset) = (kind::WINDOW_UPDATE, kind::RST_STREAM);
        let good = || answer(1, heads);
        vec![
            one(data(16_385), "4.1: larger"),
            one(
                Frame::new(kind::PING, 0, 1 << 31, [0; 8]),
                "4.1: the reserved",
            ),
            one(Frame::new(kind::PING, 2, 0, [0; 8]), "4.1: an undefined"),
            (
                vec![good(), Frame::new(kind::DATA, flag::PADDED, 1, [0])],
                "4.1: an undefined",
            ),
            one(Frame::new(kind::PUSH_PROMISE, heads, 1, [0; 4]), "8.4"),
            one(Frame::new(10, 0, 0, []), "5.5"),
            (
                vec![answer(1, 0), Frame::new(kind::PING, 0, 0, [0; 8])],
                "4.3: a header",
            ),
            one(Frame::new(kind::HEADERS, heads, 1, [0x80]), "4.3: a block"),
            one(answer(3, heads), "5.1: a stream that the client"),
            (
                vec![answer(1, heads | end), good()],
                "5.1: a stream that is closed",
            ),
            (
                vec![Frame::number(reset, 1, code::CANCEL), good()],
                "5.1: a stream that is closed",
            ),
            (
                vec![Frame::number(reset, 1, 8), Frame::number(window, 1, 1)],
                "5.1: WINDOW_UPDATE",
            ),
            one(Frame::number(reset, 3, 8), "6.4"),
            one(data(1), "8.1: DATA"),
            (
                vec![
                    good(),
                    data(16_384),
                    data(16_384),
                    data(16_384),
                    data(16_384),
                ],
                "6.9.1: beyond",
            ),
        ]
    }

    /// Like [`breaches`], for fields, settings, windows and GOAWAY.
    fn more_breaches() -> Vec<(Vec<Frame>, &'static str)> {
        let heads = flag::END_HEADERS;
        let fields = |fields: &[(&str, &str)]| Frame::new(kind::HEADERS, heads, 1, block(fields));
        let one = |frame: Frame, wrong| (vec![frame], wrong);
        let window = kind::WINDOW_UPDATE;
        let good = || answer(1, heads);
        vec![
            one(fields(&[("a", "b")]), "8.3"),
            one(fields(&[("a", "b"), (":status", "200")]), "8.3"),
            one(fields(&[(":status", "200"), ("A", "b")]), "8.2"),
            one(
                fields(&[(":status", "200"), ("connection", "close")]),
                "8.2",
            ),
            one(fields(&[(":status", "200"), ("a", "b\n")]), "8.2.1"),
            (vec![good(), fields(&[("a", "b")])], "8.3"),
            one(Frame::new(kind::SETTINGS, flag::ACK, 0, []), "6.5.3"),
            one(Frame::settings(&[(setting::ENABLE_PUSH, 1)]), "6.5.2"),
            one(Frame::settings(&[(setting::MAX_FRAME_SIZE, 1)]), "6.5.2"),
            one(
                Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)]),
                "6.5.2",
            ),
            one(Frame::new(kind::PING, flag::ACK, 0, [0; 8]), "6.7"),
            one(Frame::number(window, 0, 0), "6.9: not"),
            one(Frame::number(window, 0, (1 << 31) - 1), "6.9.1: a window"),
            (vec![bye(3), bye(5)], "6.8: the last"),
        ]
    }

    fn bye(last: u32) -> Frame {
        Frame::new(kind::GOAWAY, 0, 0, [last.to_be_bytes(), [0; 4]].concat())
    }

    #[test]
    fn the_checker_finds_each_breach() {
        for (frames, wrong) in breaches().into_iter().chain(more_breaches()) {
            let mut checker = Checker::default();
            checker.sent(&Frame::new(kind::HEADERS, flag::END_HEADERS, 1, []));
            checker.received(&Frame::settings(&[])).expect("a greeting");
            let (last, before) = frames.split_last().expect("a breach has a frame");
            for frame in before {
                checker.received(frame).expect("earlier frames are correct");
            }
            let found = checker.received(last).expect_err(wrong);
            assert!(found.starts_with(wrong), "{wrong}: {found}");
        }
        let mut checker = Checker::default();
        let first = checker.received(&Frame::new(kind::PING, 0, 0, [0; 8]));
        assert!(first.is_err_and(|found| found.starts_with("6.5")));
    }

    #[test]
    fn a_smaller_table_must_be_announced() {
        let mut checker = Checker::default();
        checker.sent(&Frame::new(kind::HEADERS, flag::END_HEADERS, 1, []));
        checker.sent(&Frame::new(kind::HEADERS, flag::END_HEADERS, 3, []));
        let mut entering = block(&[(":status", "200")]);
        entering.extend(b"\x40\x01a\x01b");
        let good = Frame::new(kind::HEADERS, flag::END_HEADERS, 1, entering);
        checker.sent(&Frame::settings(&[(setting::HEADER_TABLE_SIZE, 0)]));
        for frame in [
            Frame::settings(&[]),
            good,
            Frame::new(kind::SETTINGS, flag::ACK, 0, []),
        ] {
            checker.received(&frame).expect("no frame was wrong yet");
        }
        let found = checker
            .received(&answer(3, flag::END_HEADERS))
            .expect_err("it shrank");
        assert!(found.starts_with("4.3.1"), "{found}");
    }
}
