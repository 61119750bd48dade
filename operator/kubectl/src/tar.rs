//! Writes archives of tar (ustar) from small files in memory.

use std::io::{self, Write};

const BLOCK: usize = 512;
/// Bytes of a path.
const PATH_MAX: usize = 100;
/// Where the checksum of a header is.
const CHECKSUM: std::ops::Range<usize> = 148..156;

pub(super) struct Archive<W: Write> {
    out: W,
    /// Seconds since 1970, which all files have.
    time: u64,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W, time: u64) -> Self {
        Self { out, time }
    }

    pub(super) fn add(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        if path.len() > PATH_MAX {
            return Err(io::Error::other(format!("the path {path} is too long")));
        }
        self.out.write_all(&self.header(path, content.len()))?;
        self.out.write_all(content)?;
        let rest = content.len().next_multiple_of(BLOCK) - content.len();
        self.out.write_all(&[0; BLOCK][..rest])
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    fn header(&self, path: &str, length: usize) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, path);
        put(100, "0000644\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{length:011o}\0"));
        put(136, &format!("{:011o}\0", self.time));
        // counted as spaces in the checksum
        put(CHECKSUM.start, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_in_blocks() {
        let mut archive = Archive::new(Vec::new(), 1_000);
        archive.add("report/a.txt", b"hello").unwrap();
        archive.add("report/empty", b"").unwrap();
        assert!(archive.add(&"a".repeat(101), b"").is_err());
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len(), 5 * BLOCK);
        assert_eq!(&bytes[..12], b"report/a.txt");
        assert_eq!(&bytes[124..136], b"00000000005\0");
        assert_eq!(&bytes[BLOCK..BLOCK + 6], b"hello\0");
        // tar itself reads it in tests/operator/plugin.py
        let sum: u32 = bytes[..BLOCK]
            .iter()
            .enumerate()
            .map(|(at, byte)| u32::from(if CHECKSUM.contains(&at) { b' ' } else { *byte }))
            .sum();
        assert_eq!(&bytes[CHECKSUM], format!("{sum:06o}\0 ").as_bytes());
    }
}
