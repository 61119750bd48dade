//! Serves a [`Service`] through the h2 crate, behind the feature `h2`, as a fallback for this
//! crate's own protocol code. Calls, error texts, metrics, deadlines and the limit of a message are
//! the same.
//!
//! What does *not* live here: memory budgets, keepalive pings, and timeouts of slow clients. h2's
//! own limits apply instead.

mod exchange;

use std::{io, pin::pin, rc::Rc};

use bytes::Bytes;
use h2::server::Builder;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::JoinSet,
};

use crate::{
    Config, Service,
    limits::{HEADER_LIST_BYTES_MAX, STREAMS_MAX, WINDOW_BYTES},
};

/// Serves one connection until it ends or, after `stopped`, its calls have ended. The calls run as
/// local tasks of the runtime.
pub async fn serve<IO, S>(
    io: IO,
    service: S,
    config: Config,
    stopped: impl Future<Output = ()>,
) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Service + 'static,
{
    let streams_max = u32::try_from(STREAMS_MAX).unwrap_or(u32::MAX);
    let list_max = u32::try_from(HEADER_LIST_BYTES_MAX).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(config.streams_max.min(streams_max))
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_header_list_size(list_max);
    let handshake = builder.handshake::<_, Bytes>(io).await;
    let mut connection = handshake.map_err(io::Error::other)?;
    let service = Rc::new(service);
    let (stop, stopping) = watch::channel(false);
    // at most as many as there are streams
    let mut calls = JoinSet::new();
    let mut stopped = pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped, if !*stop.borrow() => {
                stop.send_replace(true);
                connection.graceful_shutdown();
            }
            Some(ended) = calls.join_next(), if !calls.is_empty() => {
                ended.map_err(io::Error::other)?;
            }
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let (service, stopping) = (service.clone(), stopping.clone());
                    calls.spawn_local(exchange::run(service, config, request, respond, stopping));
                }
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(()),
            },
        }
    }
}
