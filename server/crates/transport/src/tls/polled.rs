//! A peer stream, with or without TLS, that the replica's thread polls without a runtime.

use std::{
    io::{self, IoSlice},
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
            Some(tls) => Box::new(PolledTls::new(tls, socket)),
            None => socket,
        })
    }
}

/// The server side of a TLS stream.
#[derive(Debug)]
struct PolledTls(StreamOwned<ServerConnection, Socket>);

/// The socket of a TLS stream.
#[derive(Debug)]
struct Socket {
    stream: Box<dyn PolledStream>,
    /// Whether the last read took all bytes that had arrived.
    is_drained: bool,
}

impl PolledTls {
    fn new(tls: ServerConnection, stream: Box<dyn PolledStream>) -> Self {
        // The handshake may have left bytes in the session.
        let socket = Socket { stream, is_drained: false };
        Self(StreamOwned::new(tls, socket))
    }
}

impl PolledStream for PolledTls {
    fn keeps_bytes(&self) -> bool {
        // After each read of the socket, the session decrypts all complete records. While the session has decrypted bytes, it
        // does not want a read.
        !self.0.sock.is_drained || !self.0.conn.wants_read()
    }
}

impl AsFd for PolledTls {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.sock.stream.as_fd()
    }
}

impl io::Read for PolledTls {
    /// Reads decrypted bytes. A stream that closes without an alert ends like any other stream.
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

impl io::Read for Socket {
    /// Reads the socket and records whether all bytes that had arrived were read.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer);
        self.is_drained = match &read {
            Ok(bytes) => *bytes < buffer.len(),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        read
    }
}

impl io::Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
        sync::Arc,
        thread,
    };

    use rustls::{ClientConfig, ClientConnection, ServerConfig, pki_types::ServerName};

    use super::*;

    /// Returns both sides of a stream after the handshake.
    fn pair() -> (PolledTls, StreamOwned<ClientConnection, UnixStream>) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = own.signing_key.serialize_der().try_into().unwrap();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![own.cert.der().clone()], key);
        let client = ClientConfig::builder().dangerous();
        let client = client.with_custom_certificate_verifier(crate::any_server());
        let client = Arc::new(client.with_no_client_auth());
        let name = ServerName::try_from("localhost").unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        let far = thread::spawn(move || {
            let mut far = StreamOwned::new(ClientConnection::new(client, name).unwrap(), far);
            far.conn.complete_io(&mut far.sock).unwrap();
            far
        });
        let mut tls = ServerConnection::new(Arc::new(server.unwrap())).unwrap();
        tls.complete_io(&mut near).unwrap();
        near.set_nonblocking(true).unwrap();
        (PolledTls::new(tls, Box::new(near)), far.join().unwrap())
    }

    #[test]
    fn a_read_that_empties_the_socket_and_the_session_needs_no_other_read() {
        let (mut near, mut far) = pair();
        let mut buffer = [0; 100];
        assert!(near.keeps_bytes(), "the handshake may leave bytes");
        let error = near.read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(!near.keeps_bytes());
        far.write_all(&[7; 100]).unwrap();
        assert_eq!(near.read(&mut buffer).unwrap(), 100);
        assert!(!near.keeps_bytes(), "all bytes were read");
        far.write_all(&[7; 10_000]).unwrap();
        let mut bytes = near.read(&mut buffer).unwrap();
        while bytes < 10_000 {
            assert!(near.keeps_bytes(), "{bytes} bytes of a record were read");
            bytes += near.read(&mut buffer).unwrap();
        }
        assert!(!near.keeps_bytes(), "the entire record was read");
    }
}
