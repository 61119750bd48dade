//! Settings of a connection that the server chooses. Fixed bounds are in `limits`.

use std::time::Duration;

/// Settings of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Streams that a client can have open at once; at most [`crate::limits::STREAMS_MAX`].
    pub streams_max: u32,
    /// Limit of a request message, after decompression.
    pub message_bytes_max: usize,
    /// Pings to a silent client; `None` sends none.
    pub keepalive: Option<KeepAlive>,
    /// Minimum interval between pings of a client with calls in progress, while nothing is sent to it.
    pub ping_interval_min: Duration,
}

/// Pings to a silent client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before a ping is sent.
    pub interval: Duration,
    /// Further silence before the connection ends.
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            streams_max: u32::MAX,
            message_bytes_max: 4 << 20,
            keepalive: Some(KeepAlive {
                interval: Duration::from_secs(2 * 60 * 60),
                timeout: Duration::from_secs(20),
            }),
            ping_interval_min: Duration::from_secs(5),
        }
    }
}
