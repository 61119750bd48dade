//! A peer stream, with or without TLS, that the replica's thread polls without a runtime.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustls::{ServerConnection, StreamOwned};

use super::Secured;
use crate::{AcceptedStream, PolledStream};

impl AcceptedStream for Secured<Box<dyn AcceptedStream>> {
    /// Keeps the TLS session. Fails if bytes that were read to detect TLS are not consumed yet.
    fn into_polled(self: Box<Self>) -> io::Result<Box<dyn PolledStream>> {
        let (replayed, tls) = match *self {
            Self::Plain(stream) => (stream, None),
            Self::Tls(stream) => {
                let (stream, tls) = stream.into_inner();
                (stream, Some(tls))
            }
        };
        let socket = replayed.into_inner();
        let socket = socket.ok_or_else(|| io::Error::other("the first bytes were not read"))?;
        let socket = socket.into_polled()?;
        Ok(match tls {
            Some(tls) => Box::new(PolledTls(StreamOwned::new(tls, socket))),
            None => socket,
        })
    }
}

/// The server side of a TLS stream.
#[derive(Debug)]
struct PolledTls(StreamOwned<ServerConnection, Box<dyn PolledStream>>);

impl PolledStream for PolledTls {
    fn keeps_bytes(&self) -> bool {
        true
    }
}

impl AsFd for PolledTls {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.sock.as_fd()
    }
}

impl io::Read for PolledTls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            // As in `Secured`, a missing close_notify ends the stream. Frames have a length, so truncation is detected.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }
}

impl io::Write for PolledTls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
