//! Connects to a host that may have several addresses.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, ToSocketAddrs, lookup_host},
    time::timeout,
};

/// Time limit for connecting to each address of a host except the last. It is shorter than every caller's time limit, so that
/// the next address can also be tried.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(1);

/// Resolves a host name and connects to one of its addresses, as [`first_of`] does. Fails if the lookup fails.
pub async fn connect(host: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host(host).await?.collect();
    first_of(&addresses, TcpStream::connect::<SocketAddr>).await
}

/// Calls `connect` with each address in turn until a connection succeeds. Fails with the error of the last address, or with
/// `AddrNotAvailable` if there is no address. Only the last address may take longer than `ADDRESS_TIMEOUT`, because routers may
/// drop all packets to one of the addresses, such as an IPv6 address.
pub async fn first_of<S, F: Future<Output = io::Result<S>>>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<S> {
    let Some((last, others)) = addresses.split_last() else {
        let what = "the host name has no suitable address";
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, what));
    };
    for address in others {
        if let Ok(Ok(stream)) = timeout(ADDRESS_TIMEOUT, connect(*address)).await {
            return Ok(stream);
        }
    }
    connect(*last).await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next_one() {
        let addresses: [SocketAddr; 2] =
            ["192.0.2.1:1", "192.0.2.2:1"].map(|text| text.parse().unwrap());
        let [silent, good] = addresses;
        let connecting = first_of(&addresses, |address| async move {
            if address == silent {
                pending::<()>().await;
            }
            Ok(address)
        });
        let connected = timeout(2 * ADDRESS_TIMEOUT, connecting).await;
        assert_eq!(connected.expect("in time").expect("a connection"), good);
    }

    #[tokio::test]
    async fn a_host_is_reached_at_its_second_address() {
        let [ended, listener] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0"));
        let (ended, listener) = (ended.await.unwrap(), listener.await.unwrap());
        let addresses = [&ended, &listener].map(|at| at.local_addr().unwrap());
        drop(ended);
        let stream = connect(&addresses[..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
    }
}
