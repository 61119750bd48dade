//! Free ports. They come from below the range from which the kernel takes the local ports of
//! outgoing connections, so that nothing else takes one between the check and its use.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

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
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT)
}
