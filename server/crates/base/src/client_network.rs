//! The network of a client, the unit of fair sharing for budgets, queues and permits.

use std::{
    collections::HashMap,
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
};

use crate::sync::Mutex;

/// Bits of an IPv6 address that a client has for itself.
const HOST_BITS: u32 = 64;

/// The network of a client: an IPv4 address, or the first half of an IPv6 address. It knows its connection,
/// too, which does not count when networks are compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientNetwork {
    network: Option<IpAddr>,
    /// The port of the connection there, 0 if that is not known.
    port: u16,
}

impl PartialEq for ClientNetwork {
    /// Compares networks alone: connections of one network share its bounds whatever their port.
    fn eq(&self, other: &Self) -> bool {
        self.network == other.network
    }
}

impl Eq for ClientNetwork {}

impl Hash for ClientNetwork {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.network.hash(state);
    }
}

impl fmt::Display for ClientNetwork {
    /// Writes an IPv4 address, an IPv6 network such as `2001:db8::/64`, or `unknown`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            Some(IpAddr::V4(address)) => write!(f, "{address}"),
            Some(IpAddr::V6(first)) => write!(f, "{first}/{}", 128 - HOST_BITS),
            None => f.write_str("unknown"),
        }
    }
}

impl ClientNetwork {
    /// Returns the network of an address. Clients without an address, for instance on a Unix socket, share
    /// one.
    pub fn of(address: Option<IpAddr>) -> Self {
        let network = address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> HOST_BITS << HOST_BITS).into()),
        });
        Self { network, port: 0 }
    }

    /// Returns the network of the peer of a connection.
    pub fn of_peer(peer: Option<SocketAddr>) -> Self {
        let port = peer.map_or(0, |peer| peer.port());
        Self { port, ..Self::of(peer.map(|peer| peer.ip())) }
    }

    /// Returns the connection of a client.
    pub fn connection(self) -> ClientConnection {
        ClientConnection(self.connection_number())
    }

    /// Returns a number that no other connection has at the same time.
    pub fn connection_number(self) -> u128 {
        let port = u128::from(self.port);
        match self.network {
            None => port,
            Some(IpAddr::V4(network)) => 1 << 64 | u128::from(network.to_bits()) << 16 | port,
            // the lower half is 0
            Some(IpAddr::V6(network)) => network.to_bits() | port,
        }
    }
}

/// The connection of a client. Work that many small requests cause is shared fairly by connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientConnection(u128);

/// One value per client, keyed by its network or its connection. A value lives as long as a request or a connection of
/// the client refers to it.
#[derive(Debug)]
pub struct PerClient<K, T>(Mutex<HashMap<K, Weak<T>>>);

impl<K, T> Default for PerClient<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T> PerClient<K, T> {
    /// Returns the value of a client, shared with its present users; if there are none, makes it with `new`. Only a
    /// weak reference is kept: the value ends with the last returned `Arc`.
    pub fn get_or(&self, client: K, new: impl FnOnce() -> T) -> Arc<T> {
        let mut known = self.0.lock();
        if let Some(value) = known.get(&client).and_then(Weak::upgrade) {
            return value;
        }
        if known.len() == known.capacity() {
            known.retain(|_, value| value.strong_count() > 0);
            // One search after as many insertions as there are entries: constant cost on average.
            let entries = known.len();
            known.reserve(entries + 1);
        }
        let value = Arc::new(new());
        known.insert(client, Arc::downgrade(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_without_requests_are_forgotten() {
        let of = |last: u8| ClientNetwork::of(Some([127, 0, 0, last].into()));
        let values = PerClient::default();
        let kept = values.get_or(of(0), || 0);
        for round in 1..100 {
            for last in 1..=200 {
                assert_eq!(*values.get_or(of(last), || round), round);
            }
        }
        assert_eq!(*values.get_or(of(0), || 1), 0);
        assert!(values.0.lock().len() < 64);
        drop(kept);
        assert_eq!(*values.get_or(of(0), || 1), 1);
    }

    #[test]
    fn a_client_has_half_an_ipv6_address_for_itself() {
        let of = |text: &str| ClientNetwork::of(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:127.0.0.1"), of("127.0.0.1"));
        assert_ne!(of("127.0.0.1"), of("127.0.0.2"));
        let shown = ["2001:db8::ffff:1", "::ffff:127.0.0.1"].map(|text| of(text).to_string());
        assert_eq!(shown, ["2001:db8::/64", "127.0.0.1"]);
        assert_eq!(ClientNetwork::default().to_string(), "unknown");
        let peer = |port| ClientNetwork::of_peer(Some(([127, 0, 0, 1], port).into()));
        assert_eq!(peer(1), of("127.0.0.1"));
        assert_eq!(peer(1), peer(2));
        assert_ne!(peer(1).connection_number(), peer(2).connection_number());
    }
}
