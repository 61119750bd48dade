//! Splits an input into several values. Any bytes are a valid input.

/// The remaining bytes of an input.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Creates a reader of the entire input.
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// Returns the remaining bytes.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns the next byte, or 0 after the end.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    /// Returns the next two bytes as a little-endian number.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Returns the next eight bytes as a little-endian number.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Reads a length in two bytes and returns that many bytes or, at the end of the input, fewer. Returns `None` if nothing
    /// remains.
    pub fn chunk(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let length = usize::from(self.short()).min(self.rest.len());
        let (chunk, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(chunk)
    }
}

/// Splits `bytes` at the first `byte`, which neither part contains. If there is none, the second part is empty.
pub fn split_at(bytes: &[u8], byte: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|other| *other == byte) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}
