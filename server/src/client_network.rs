//! The network of a client, by which budgets, queues and places share what they have.

use std::net::{IpAddr, SocketAddr};

/// The network that a client has for itself: an IPv4 address, or the first half of an IPv6 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientNetwork(Option<IpAddr>);

impl ClientNetwork {
    /// The network of an address. Clients without an address, for instance on a Unix socket, share one.
    pub fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                const HOST_BITS: u32 = 64;
                IpAddr::V6((address.to_bits() >> HOST_BITS << HOST_BITS).into())
            }
        }))
    }

    /// The network of the peer of a connection.
    pub fn of_peer(peer: Option<SocketAddr>) -> Self {
        Self::of(peer.map(|peer| peer.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_half_an_ipv6_address_for_itself() {
        let of = |text: &str| ClientNetwork::of(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:127.0.0.1"), of("127.0.0.1"));
        assert_ne!(of("127.0.0.1"), of("127.0.0.2"));
    }
}
