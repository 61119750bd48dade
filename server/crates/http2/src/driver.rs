//! Runs a connection on a tokio stream: reads, writes and timers.
//!
//! Each poll does a bounded amount of work and then yields, so that no connection blocks its thread.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::{coop::unconstrained, yield_now},
    time::{Instant, Sleep, sleep_until, timeout},
};

use crate::{Config, Connection, Service, limits::LINGER_BYTES};

/// Size in bytes of the read buffer, which the connections of a thread share.
const READ_BYTES: usize = 64 << 10;

/// Time after which a poll yields to the other connections of its thread. A turn of the state machine is shorter.
const POLL_TIME: Duration = Duration::from_millis(1);

/// Time limit for reading and dropping input after the server has ended a connection; see [`LINGER_BYTES`].
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

thread_local! {
    /// The read buffer that the connections of a thread share.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };

    /// The output buffer that the connections of a thread share. A connection keeps it while output is unsent.
    static OUTPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Serves one connection until it ends. When `stopped` completes, shuts the connection down gracefully
/// ([`Connection::shut_down`]). A client ends the connection, with all calls, by closing its side. After an end by the server,
/// drops input for up to a second. Fails if `io` fails before the end.
pub async fn serve<IO, S>(
    io: IO,
    service: S,
    config: Config,
    stopped: impl Future<Output = ()>,
) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Service,
{
    let mut driver = Driver {
        io,
        connection: Connection::new(service, config, now()),
        left: Vec::new(),
        timer: None,
    };
    let mut stopped = pin!(stopped);
    let mut stopping = false;
    // The driver yields explicitly, so disable tokio's cooperative budget.
    let served = unconstrained(poll_fn(|cx| {
        if !stopping && stopped.as_mut().poll(cx).is_ready() {
            stopping = true;
            driver.connection.shut_down();
        }
        driver.poll(cx)
    }));
    if served.await? == ConnectionEnd::ByServer {
        // After the timeout, drop the connection even if the client has not closed its side.
        let _ = timeout(LINGER_TIMEOUT, unconstrained(linger(&mut driver.io))).await;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionEnd {
    ByServer,
    ByClient,
}

struct Driver<IO, S: Service> {
    io: IO,
    connection: Connection<S>,
    /// Received bytes that the connection has not processed yet.
    left: Vec<u8>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Returns tokio's time, which tests can pause.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

impl<IO, S> Driver<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Service,
{
    /// Runs the connection with the thread's output buffer. Returns which side ended the connection once it has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ConnectionEnd>> {
        self.connection.register(cx.waker());
        let mut buffer = OUTPUT.take();
        self.connection.borrow_output(&mut buffer);
        let polled = self.poll_connection(cx);
        self.connection.return_output(&mut buffer);
        OUTPUT.set(buffer);
        polled
    }

    /// Runs, writes and reads until nothing is left to do or [`POLL_TIME`] has passed, then yields.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ConnectionEnd>> {
        let began = now();
        let mut time = began;
        while time.saturating_duration_since(began) < POLL_TIME {
            let mut more = self.connection.run(time);
            if self.connection.is_closed() {
                return Poll::Ready(Ok(ConnectionEnd::ByServer));
            }
            more |= self.poll_write(cx)?;
            if let Poll::Ready(read) = self.poll_read(cx) {
                if read? == 0 {
                    return Poll::Ready(Ok(ConnectionEnd::ByClient));
                }
                more = true;
            }
            if !more && self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
            time = now();
        }
        // Yield, so that the runtime polls its sockets.
        let _ = pin!(yield_now()).poll(cx);
        Poll::Pending
    }

    /// Writes as much output as the socket accepts and flushes it. Returns whether bytes were written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut sent = false;
        while !self.connection.output().is_empty() {
            let output = self.connection.output();
            match Pin::new(&mut self.io).poll_write(cx, output) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => self.connection.sent(written?),
                Poll::Pending => return Ok(sent),
            }
            sent = true;
        }
        // Flush even without new output, because TLS buffers bytes that the socket has not accepted.
        if let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx) {
            flushed?;
        }
        Ok(sent)
    }

    /// Passes bytes to the connection: unprocessed bytes if there are any, otherwise newly read bytes. Returns 0 only at the
    /// end of the stream. Stays pending while the connection does not want input.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.connection.wants_input() {
            return Poll::Pending;
        }
        if !self.left.is_empty() {
            let taken = self.connection.receive(now(), &self.left);
            self.left.drain(..taken);
            if self.left.is_empty() {
                self.left = Vec::new();
            }
            return Poll::Ready(Ok(taken.max(1)));
        }
        poll_bytes(&mut self.io, cx, |bytes| {
            let taken = self.connection.receive(now(), bytes);
            self.left.extend_from_slice(&bytes[taken..]);
        })
    }

    /// Completes at the time of the connection's next timer. Stays pending if no timer is set.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.connection.wake_at().map(Instant::from_std) else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        // A timer with an earlier deadline is reset when it fires.
        if timer.deadline() > at || timer.is_elapsed() {
            timer.as_mut().reset(at);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(())
    }
}

/// Reads bytes and passes them to `take` if there are any. Returns their number, or 0 at the end of the stream.
fn poll_bytes(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    let mut scratch = SCRATCH.take();
    scratch.resize(READ_BYTES, 0);
    let mut buffer = ReadBuf::new(&mut scratch);
    let polled = Pin::new(io).poll_read(cx, &mut buffer);
    let read = buffer.filled().len();
    if polled.is_ready() && read > 0 {
        take(buffer.filled());
    }
    SCRATCH.set(scratch);
    ready!(polled)?;
    Poll::Ready(Ok(read))
}

/// Closes this side of the stream, then reads and drops input until the client closes its side or has sent [`LINGER_BYTES`].
async fn linger(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *io).poll_shutdown(cx)).await?;
    let mut lingered = 0;
    while lingered < LINGER_BYTES {
        match poll_fn(|cx| poll_bytes(io, cx, |_| ())).await? {
            0 => break,
            read => lingered += read,
        }
    }
    Ok(())
}
