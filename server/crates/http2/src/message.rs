//! Extracts gRPC messages from a request body, which arrives in arbitrary chunks. Limits the size of the messages and
//! decompresses them.

use std::{io::Read as _, mem};

use bytes::Bytes;
use flate2::read::GzDecoder;

use crate::Refusal;

/// Size in bytes of a message's prefix: a flag and the length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// The compression of a request's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Unknown,
}

/// Assembles messages from chunks of a request body.
#[derive(Debug)]
pub(crate) struct Assembler {
    encoding: Encoding,
    /// The received part of a message, with its prefix.
    buffer: Vec<u8>,
}

/// Result of [`Assembler::push`].
pub(crate) struct Assembled<'a> {
    /// The complete message, decompressed and with its prefix, if the content completed it.
    pub(crate) message: Option<Bytes>,
    /// Content after the message's end.
    pub(crate) rest: &'a [u8],
    /// Number of decompressed bytes; 0 if the message was not compressed.
    pub(crate) inflated: usize,
}

impl Assembler {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, buffer: Vec::new() }
    }

    /// Returns the memory usage of the incomplete message in bytes.
    pub(crate) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Removes and returns the incomplete message, which is empty if the last message was complete.
    pub(crate) fn unfinished(&mut self) -> Bytes {
        mem::take(&mut self.buffer).into()
    }

    /// Appends content to the current message, up to its end. Decompresses a complete message if its flag says so. Fails for a
    /// message above `max` bytes (before or after decompression), an invalid flag, and corrupt gzip data.
    pub(crate) fn push<'a>(
        &mut self,
        content: &'a [u8],
        max: usize,
    ) -> Result<Assembled<'a>, Refusal> {
        // A message that is complete in the content is copied only once.
        if self.buffer.is_empty()
            && let Some((message, rest)) = content.split_at_checked(self.end(content, max)?)
        {
            return match message[0] {
                0 => Ok(Assembled::plain(Bytes::copy_from_slice(message), rest)),
                _ => Assembled::inflated(message, rest, max),
            };
        }
        let mut rest = content;
        for _ in ["prefix", "content"] {
            let end = self.end(&self.buffer, max)?;
            let (part, after) = rest.split_at(rest.len().min(end - self.buffer.len()));
            self.grow(self.buffer.len() + part.len(), end);
            self.buffer.extend_from_slice(part);
            rest = after;
        }
        if self.buffer.len() < self.end(&self.buffer, max)? {
            return Ok(Assembled { message: None, rest, inflated: 0 });
        }
        let message = mem::take(&mut self.buffer);
        match message[0] {
            0 => Ok(Assembled::plain(message.into(), rest)),
            _ => Assembled::inflated(&message, rest, max),
        }
    }

    /// Grows the buffer to `needed` bytes of a message of `end` bytes. At least doubles the capacity, but not beyond the
    /// message's length. A client therefore cannot make the server allocate the full length by sending only the prefix.
    fn grow(&mut self, needed: usize, end: usize) {
        if self.buffer.capacity() < needed {
            let capacity = needed.max(2 * self.buffer.capacity()).min(end);
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
    }

    /// Checks a message's prefix. Returns the length in bytes of the message with its prefix, or the prefix's length if the
    /// prefix is incomplete. Fails for a message above `max` bytes and for an unsupported flag.
    fn end(&self, begin: &[u8], max: usize) -> Result<usize, Refusal> {
        let Some(&[flag, a, b, c, d]) = begin.first_chunk::<PREFIX_BYTES>() else {
            return Ok(PREFIX_BYTES);
        };
        // `usize` has at least 32 bits on all targets.
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        match (flag, self.encoding) {
            (0, _) | (1, Encoding::Gzip | Encoding::Unknown) => {}
            (1, Encoding::Identity) => return Err(Refusal::NoEncoding),
            (flag, _) => return Err(Refusal::UnknownFlag(flag)),
        }
        if length > max {
            return Err(Refusal::TooLarge { length, max });
        }
        Ok(PREFIX_BYTES + length)
    }
}

impl<'a> Assembled<'a> {
    /// Returns a complete message that is not compressed.
    fn plain(message: Bytes, rest: &'a [u8]) -> Self {
        Self { message: Some(message), rest, inflated: 0 }
    }

    /// Returns a complete message after decompression. Fails above `max` bytes and for corrupt gzip data.
    fn inflated(message: &[u8], rest: &'a [u8], max: usize) -> Result<Self, Refusal> {
        let message = inflate(&message[PREFIX_BYTES..], max)?;
        let inflated = message.len();
        Ok(Self { message: Some(message.into()), rest, inflated })
    }
}

/// Decompresses a message and returns it with a prefix. Ignores data after the first gzip member. Fails if the data is corrupt.
/// Stops and fails if the message exceeds `max` bytes.
fn inflate(compressed: &[u8], max: usize) -> Result<Vec<u8>, Refusal> {
    let mut out = vec![0; PREFIX_BYTES];
    let limit = max as u64 + 1;
    let mut decoder = GzDecoder::new(compressed).take(limit);
    decoder
        .read_to_end(&mut out)
        .map_err(|_| Refusal::Corrupt)?;
    let length = out.len() - PREFIX_BYTES;
    if length > max {
        return Err(Refusal::TooLarge { length, max });
    }
    let prefix = u32::try_from(length).map_err(|_| Refusal::Corrupt)?;
    out[1..PREFIX_BYTES].copy_from_slice(&prefix.to_be_bytes());
    Ok(out)
}

/// Tracks the length prefixes of messages in arbitrary chunks.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    prefix: [u8; PREFIX_BYTES],
    /// Number of bytes in `prefix` that have arrived.
    have: usize,
    /// Number of bytes of the current message that have not arrived.
    left: usize,
}

impl Messages {
    /// Calls `begun` with the length in bytes, without the prefix, of each message whose prefix ends in this chunk.
    pub(crate) fn follow(&mut self, mut chunk: &[u8], mut begun: impl FnMut(usize)) {
        loop {
            let skip = self.left.min(chunk.len());
            self.left -= skip;
            chunk = &chunk[skip..];
            if chunk.is_empty() {
                return;
            }
            let take = (PREFIX_BYTES - self.have).min(chunk.len());
            self.prefix[self.have..self.have + take].copy_from_slice(&chunk[..take]);
            self.have += take;
            chunk = &chunk[take..];
            if self.have == self.prefix.len() {
                let [_compressed, a, b, c, d] = self.prefix;
                // `usize` has at least 32 bits on all targets.
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.have = 0;
                begun(self.left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const MAX: usize = 1000;

    fn message(flag: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[flag], length.as_slice(), content].concat()
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// Feeds the stream in chunks of `size` bytes. Returns the decoded messages; asserts that no partial message remains.
    fn collect(encoding: Encoding, stream: &[u8], size: usize) -> Result<Vec<Bytes>, Refusal> {
        let (mut assembler, mut messages) = (Assembler::new(encoding), Vec::new());
        for mut content in stream.chunks(size) {
            while !content.is_empty() {
                let taken = assembler.push(content, MAX)?;
                messages.extend(taken.message);
                content = taken.rest;
            }
            assert!(assembler.held() <= PREFIX_BYTES.max(8) + MAX);
        }
        assert!(assembler.unfinished().is_empty());
        Ok(messages)
    }

    #[test]
    fn messages_are_found_in_chunks_of_any_size() {
        let contents: [&[u8]; 4] = [b"abc", b"", &[7; MAX], b"z"];
        let mut plain = Vec::new();
        let mut mixed = Vec::new();
        for (i, content) in contents.into_iter().enumerate() {
            plain.extend(message(0, content));
            mixed.extend(match i % 2 {
                0 => message(1, &gzip(content)),
                _ => message(0, content),
            });
        }
        let expected = contents.map(|content| Bytes::from(message(0, content)));
        for size in [1, 2, 3, 5, 7, 100, 10_000] {
            for encoding in [Encoding::Identity, Encoding::Gzip] {
                assert_eq!(collect(encoding, &plain, size).unwrap(), expected);
            }
            assert_eq!(collect(Encoding::Gzip, &mixed, size).unwrap(), expected);
            let mut lengths = Vec::new();
            let mut messages = Messages::default();
            plain
                .chunks(size)
                .for_each(|chunk| messages.follow(chunk, |length| lengths.push(length)));
            assert_eq!(lengths, contents.map(<[u8]>::len), "chunks of {size}");
        }
    }

    #[test]
    fn large_and_invalid_messages_are_refused() {
        let refused = |encoding, stream: &[u8]| collect(encoding, stream, 3).unwrap_err();
        let large = Refusal::TooLarge { length: MAX + 1, max: MAX };
        let identity = Encoding::Identity;
        assert_eq!(refused(identity, &message(0, &[0; MAX + 1])[..6]), large);
        assert_eq!(refused(identity, &message(1, b"")), Refusal::NoEncoding);
        assert_eq!(refused(identity, &message(2, b"")), Refusal::UnknownFlag(2));
        // A gzip bomb is not decompressed beyond the limit.
        let bomb = gzip(&vec![0; 300 * MAX]);
        assert!(bomb.len() < MAX);
        assert_eq!(refused(Encoding::Gzip, &message(1, &bomb)), large);
        let broken = message(1, &bomb[..bomb.len() / 2]);
        assert_eq!(
            refused(Encoding::Gzip, &message(1, b"xyz")),
            Refusal::Corrupt
        );
        assert!(matches!(
            refused(Encoding::Gzip, &broken),
            Refusal::Corrupt | Refusal::TooLarge { .. }
        ));
    }
}
