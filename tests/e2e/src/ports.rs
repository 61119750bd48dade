//! Free ports. They come from below the range from which the kernel takes the local ports of
//! outgoing connections, so that nothing else takes one between the check and its use.

use std::{
    io,
    net::SocketAddr,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::net::TcpSocket;

/// First port that tests may use.
const FIRST: u32 = 22_000;

/// How many ports tests may use.
const COUNT: u32 = 10_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port on which nobody listens, given out once per process.
///
/// # Panics
/// If every port of the range is taken.
pub fn free() -> u16 {
    // test executables that run side by side begin at different places
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

/// Binds a port on which nobody listens, and does not listen there itself: a process that another thread starts has a
/// copy of each socket for a moment, and would keep a listener's port for as long.
fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_that_is_looked_at_can_be_listened_on() {
        let port = free();
        let looked_at = bind(port).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        drop(looked_at);
        assert!(bind(port).is_err(), "somebody listens: {listener:?}");
    }
}
