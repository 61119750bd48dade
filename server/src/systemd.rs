//! Notifies systemd of the state of the member or of the gateway (`Type=notify`).

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// The member or the gateway is ready to serve clients.
pub const READY: &str = "READY=1";
/// The member is stopping.
pub const STOPPING: &str = "STOPPING=1";

/// Sends a state to the systemd socket, if one is given: a path, or an abstract name after `@`. Logs a failure.
pub fn notify(socket: Option<&str>, state: &'static str) {
    let Some(socket) = socket else { return };
    if let Err(error) = send(socket, state) {
        tracing::warn!(%error, socket, state, "failed to notify systemd");
    }
}

/// Sends a datagram to the socket. Fails if the name is invalid or no process has bound it.
fn send(socket: &str, state: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_reach_both_kinds_of_sockets() {
        let path = std::env::temp_dir().join(format!("witan-notify-{}", std::process::id()));
        let name = format!("witan-notify-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, heard) in [
            (
                path.display().to_string(),
                UnixDatagram::bind(&path).unwrap(),
            ),
            (
                format!("@{name}"),
                UnixDatagram::bind_addr(&abstract_name).unwrap(),
            ),
        ] {
            notify(Some(&socket), READY);
            let mut text = [0; 32];
            let length = heard.recv(&mut text).unwrap();
            assert_eq!(&text[..length], READY.as_bytes());
        }
        std::fs::remove_file(path).unwrap();
        assert!(send("/nowhere/at/all", READY).is_err());
    }
}
