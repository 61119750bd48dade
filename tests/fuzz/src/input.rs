//! How one input of bytes becomes several values, so that any bytes are an input.

/// Bytes still to be read.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// The whole input.
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// The bytes that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte; 0 behind the end.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    /// The next two bytes as a number, lowest first.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// The next eight bytes as a number, lowest first.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A length in two bytes and as many bytes, or what is left; `None` at the end.
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

/// Appends what [`Input::chunk`] reads.
pub fn push_chunk(out: &mut Vec<u8>, chunk: &[u8]) {
    let length = u16::try_from(chunk.len()).expect("corpus files are small");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(chunk);
}

/// The bytes before the first `byte`, and those after it.
pub fn split_at(bytes: &[u8], byte: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|other| *other == byte) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}
