//! Free ports below the kernel's range for outgoing connections, so that no other process takes a port between the check and
//! its use.

use std::{
    io,
    net::SocketAddr,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::net::TcpSocket;

/// The first port that tests may use.
const FIRST: u32 = 22_000;

/// Number of ports that tests may use.
const COUNT: u32 = 10_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Returns a port on which no process listens. Returns each port once per process. Panics if every port in the range is in use.
pub fn free() -> u16 {
    // Start parallel test executables at different ports.
    let begin = process::id().wrapping_mul(61) % COUNT;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + (begin + step) % COUNT).expect("the range fits");
        if bind(port).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT)
}

/// Binds a port on which no process listens. Does not listen, because a process that another thread forks at this moment would
/// inherit the listener.
fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    Ok(socket)
}
