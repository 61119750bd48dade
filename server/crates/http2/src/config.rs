//! The configurable settings of connections. `limits` defines the fixed limits.

use std::time::Duration;

/// Settings of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Maximum number of concurrent streams of a connection, at most [`crate::limits::STREAMS_MAX`].
    pub streams_max: u32,
    /// Maximum size in bytes of a request message after decompression.
    pub message_bytes_max: usize,
    /// Timing of pings to a silent client; `None` disables these pings.
    pub keepalive: Option<KeepAlive>,
    /// Minimum interval between a client's pings while it has calls in progress and receives neither headers nor data. A client
    /// that repeatedly pings more often is disconnected.
    pub ping_interval_min: Duration,
}

/// Timing of pings to a silent client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Time without received bytes after which a ping is sent.
    pub interval: Duration,
    /// Time after a ping within which bytes must arrive. Otherwise, the connection ends.
    pub timeout: Duration,
}

impl Default for Config {
    /// Permits messages of up to 4 MiB and any number of streams up to the fixed limit. Pings a client after 2 hours of
    /// silence.
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
