//! A TCP stream to another member, with or without TLS, to which two threads write. The owner uses it as a tokio stream, and
//! the replica's thread uses a [`DirectWriter`].

use std::{
    io::{self, IoSlice, Read as _, Write as _},
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use rustls::ClientConnection;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::coop,
};
use tokio_rustls::client::TlsStream;
use witan_base::sync::Mutex;

/// The owner's half of a stream to another member.
#[derive(Debug)]
pub struct DialedStream(Arc<Connection>);

/// Writes short messages to a [`DialedStream`] from another thread.
#[derive(Clone, Debug)]
pub struct DirectWriter(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    layer: Mutex<Layer>,
}

/// The layer between a writer and the socket.
#[derive(Debug)]
enum Layer {
    /// No TLS. Contains the unsent rest of a partly written message.
    Plain(BytesMut),
    /// TLS. Contains encrypted bytes that the socket has not accepted yet.
    Tls(Box<ClientConnection>),
}

impl DialedStream {
    /// Creates a stream without TLS.
    pub fn plain(socket: TcpStream) -> Self {
        Self::new(socket, Layer::Plain(BytesMut::new()))
    }

    /// Creates a stream with TLS after its handshake.
    pub fn secured(stream: TlsStream<TcpStream>) -> Self {
        let (socket, tls) = stream.into_inner();
        Self::new(socket, Layer::Tls(Box::new(tls)))
    }

    fn new(socket: TcpStream, layer: Layer) -> Self {
        Self(Arc::new(Connection { socket, layer: Mutex::new(layer) }))
    }

    /// Returns a writer for another thread. The socket stays open until the stream and all its writers are dropped.
    pub fn direct_writer(&self) -> DirectWriter {
        DirectWriter(self.0.clone())
    }
}

impl DirectWriter {
    /// Makes the kernel end the stream if the other side's kernel acknowledges no data, or accepts none, for `timeout`. By
    /// default, the kernel waits for about 15 minutes. Replaces a timeout that is too long for the kernel with the kernel's
    /// maximum.
    pub fn set_acknowledgment_timeout(&self, timeout: Duration) -> io::Result<()> {
        // The kernel takes a signed 32-bit number of milliseconds.
        let longest = Duration::from_millis((1 << 31) - 1);
        let timeout = timeout.min(longest);
        SockRef::from(&self.0.socket).set_tcp_user_timeout(Some(timeout))
    }

    /// Writes a message of at most 64 KiB, the size of TLS's buffer, without blocking. Returns whether the socket has accepted
    /// all of it; if not, the stream's owner must flush it. Fails with `WouldBlock` and writes nothing while a part of an
    /// earlier message is unsent, or if a socket without TLS accepts nothing.
    pub fn write(&self, message: &[u8]) -> io::Result<bool> {
        let mut layer = self.0.layer.lock();
        let socket = &self.0.socket;
        layer.flush(socket)?;
        match &mut *layer {
            Layer::Plain(rest) => {
                let written = socket.try_write(message)?;
                rest.extend_from_slice(&message[written..]);
            }
            Layer::Tls(tls) => tls.writer().write_all(message)?,
        }
        match layer.flush(socket) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Connection {
    /// Calls `attempt` until it does not fail with `WouldBlock`. Waits with `poll_ready` before each retry. Each call
    /// counts against the task's budget, so that a busy stream does not block the thread's other streams.
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        poll_ready: fn(&TcpStream, &mut Context<'_>) -> Poll<io::Result<()>>,
        mut attempt: impl FnMut(&mut Layer, &TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let budget = ready!(coop::poll_proceed(cx));
        loop {
            let done = attempt(&mut self.layer.lock(), &self.socket);
            match done {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(poll_ready(&self.socket, cx))?;
                }
                done => {
                    budget.made_progress();
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl Layer {
    /// Sends the unsent bytes. Fails with `WouldBlock` if the socket does not accept all of them.
    fn flush(&mut self, socket: &TcpStream) -> io::Result<()> {
        match self {
            Self::Plain(rest) => {
                while !rest.is_empty() {
                    match socket.try_write(rest)? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        written => rest.advance(written),
                    }
                }
            }
            Self::Tls(tls) => {
                while tls.wants_write() {
                    if tls.write_tls(&mut TrySocket(socket))? == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends the unsent bytes and then some of `bytes`. Returns the number of bytes that were sent or buffered. Fails with
    /// `WouldBlock` if earlier bytes remain unsent, or if a socket without TLS accepts nothing.
    fn write(&mut self, socket: &TcpStream, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush(socket)?;
        match self {
            Self::Plain(_) => socket.try_write_vectored(bytes),
            Self::Tls(tls) => {
                let taken = tls.writer().write_vectored(bytes)?;
                match self.flush(socket) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    _ => Ok(taken),
                }
            }
        }
    }

    /// Reads into the free part of `into`, which remains unchanged at the end of the stream. Fails with `WouldBlock` if there
    /// is nothing to read, with `InvalidData` for a TLS error, and with `UnexpectedEof` if TLS ends without an alert. Reads the
    /// socket only once, because the replica's thread waits for the lock.
    fn read(&mut self, socket: &TcpStream, into: &mut ReadBuf<'_>) -> io::Result<()> {
        let Self::Tls(tls) = self else {
            return socket.try_read_buf(into).map(drop);
        };
        let mut decrypted = tls.reader().read(into.initialize_unfilled());
        if matches!(&decrypted, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            tls.read_tls(&mut TrySocket(socket))?;
            let processed = tls.process_new_packets();
            // Send an alert if there is one. If the socket fails, the next write reports the error.
            let _ = tls.write_tls(&mut TrySocket(socket));
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            decrypted = tls.reader().read(into.initialize_unfilled());
        }
        into.advance(decrypted?);
        Ok(())
    }
}

impl AsyncRead for DialedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0
            .poll(cx, TcpStream::poll_read_ready, |layer, socket| {
                layer.read(socket, buf)
            })
    }
}

impl AsyncWrite for DialedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0
            .poll(cx, TcpStream::poll_write_ready, |layer, socket| {
                layer.write(socket, bufs)
            })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(cx, TcpStream::poll_write_ready, Layer::flush)
    }

    /// Sends the unsent bytes and, with TLS, the closing alert. Then closes the writing side of the socket.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Layer::Tls(tls) = &mut *self.0.layer.lock() {
            tls.send_close_notify();
        }
        ready!(self.0.poll(cx, TcpStream::poll_write_ready, Layer::flush))?;
        Poll::Ready(SockRef::from(&self.0.socket).shutdown(Shutdown::Write))
    }
}

/// Lets rustls use the socket without blocking.
struct TrySocket<'a>(&'a TcpStream);

impl io::Read for TrySocket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for TrySocket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    const MESSAGE_BYTES: usize = 1000;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    /// Returns both sides of a TLS stream after the handshake. The dialing side accepts any certificate.
    async fn secured_pair() -> (DialedStream, impl AsyncRead + AsyncWrite + Unpin) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = own.signing_key.serialize_der().try_into().unwrap();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![own.cert.der().clone()], key);
        let client = ClientConfig::builder().dangerous();
        let client = client.with_custom_certificate_verifier(crate::any_server());
        let connector = TlsConnector::from(Arc::new(client.with_no_client_auth()));
        let (near, far) = pair().await;
        let name = ServerName::try_from("localhost").unwrap();
        let (near, far) = tokio::join!(
            connector.connect(name, near),
            TlsAcceptor::from(Arc::new(server.unwrap())).accept(far)
        );
        (DialedStream::secured(near.unwrap()), far.unwrap())
    }

    /// Fills the socket by direct writes, then writes as the owner. The other side must read all bytes in order.
    async fn fill_and_read(mut near: DialedStream, mut far: impl AsyncRead + AsyncWrite + Unpin) {
        let writer = near.direct_writer();
        let mut sent = Vec::new();
        loop {
            let message = [sent.len() as u8; MESSAGE_BYTES];
            sent.extend_from_slice(&message);
            if !writer.write(&message).unwrap() {
                break;
            }
        }
        let full = writer.write(&[0; MESSAGE_BYTES]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let tail = vec![0xff; 300_000];
        let mut received = Vec::new();
        let writing = async {
            near.flush().await.unwrap();
            while writer.write(b"direct").is_err() {
                tokio::task::yield_now().await;
            }
            near.write_all(&tail).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let (read, ()) = tokio::join!(far.read_to_end(&mut received), writing);
        read.unwrap();
        sent.extend_from_slice(b"direct");
        sent.extend_from_slice(&tail);
        assert!(received == sent, "{} of {}", received.len(), sent.len());
        far.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        near.read_exact(&mut answer).await.unwrap();
        drop(far);
        assert_eq!(&answer, b"answer");
    }

    #[tokio::test]
    async fn any_acknowledgment_timeout_is_accepted() {
        let (near, _far) = pair().await;
        let writer = DialedStream::plain(near).direct_writer();
        for timeout in [Duration::from_secs(5), Duration::MAX] {
            writer.set_acknowledgment_timeout(timeout).unwrap();
        }
    }

    #[tokio::test]
    async fn two_writers_of_a_full_socket_keep_their_order() {
        let (near, far) = pair().await;
        fill_and_read(DialedStream::plain(near), far).await;
        let (near, far) = secured_pair().await;
        fill_and_read(near, far).await;
    }

    /// Reads and then writes byte by byte, although the socket has more bytes and free space. Reading and writing must both
    /// yield after a while.
    async fn yields(mut near: DialedStream, mut far: impl AsyncRead + AsyncWrite + Unpin) {
        far.write_all(&[1; MESSAGE_BYTES]).await.unwrap();
        far.flush().await.unwrap();
        near.read_exact(&mut [0]).await.unwrap();
        let mut near = Pin::new(&mut near);
        let mut bytes = 0;
        tokio::task::yield_now().await;
        poll_fn(|cx| {
            while near
                .as_mut()
                .poll_read(cx, &mut ReadBuf::new(&mut [0]))
                .is_ready()
            {
                bytes += 1;
            }
            Poll::Ready(())
        })
        .await;
        assert!((1..MESSAGE_BYTES - 1).contains(&bytes), "read {bytes}");
        bytes = 0;
        tokio::task::yield_now().await;
        poll_fn(|cx| {
            while bytes < MESSAGE_BYTES && near.as_mut().poll_write(cx, &[1]).is_ready() {
                bytes += 1;
            }
            Poll::Ready(())
        })
        .await;
        assert!((1..MESSAGE_BYTES).contains(&bytes), "wrote {bytes}");
    }

    #[tokio::test]
    async fn a_busy_stream_yields_to_the_other_streams_of_its_thread() {
        let (near, far) = pair().await;
        yields(DialedStream::plain(near), far).await;
        let (near, far) = secured_pair().await;
        yields(near, far).await;
    }
}
