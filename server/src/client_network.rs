//! The networks that clients come from: whoever is to get no more than a share is known by it.

use std::net::{IpAddr, SocketAddr};

/// The network that a client has for itself: an IPv4 address, or the first half of an IPv6 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientNetwork(Option<IpAddr>);

impl ClientNetwork {
    /// That of an address; clients without one, for instance on a Unix socket, share theirs.
    pub fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                const HOST_BITS: u32 = 64;
                IpAddr::V6((address.to_bits() >> HOST_BITS << HOST_BITS).into())
            }
        }))
    }

    /// That of the other end of a connection.
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
