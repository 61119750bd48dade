//! Reads the requests of a stream, which are consecutive JSON values in a body.

use actix_web::web;
use bytes::BytesMut;
use futures_util::StreamExt as _;
use prost::Message;
use witan_api::v3::shape::Shaped;
use witan_base::account::{Account, Charge, Resource, SMALL_BYTES};
use witan_dialect::blocking::{self, INLINE_BYTES};
use witan_gocompat::json::JsonProgress;

use super::JsonFormat;
use crate::error::RpcError;

/// Number of requests to process before the task yields.
const REQUESTS_PER_YIELD: usize = 64;

pub(super) struct JsonRequests {
    account: Account,
    /// Number of requests read from the buffer since the task last yielded.
    requests_since_yield: usize,
    payload: web::Payload,
    buffer: BytesMut,
    /// The charge for a large buffer. It also covers WebSocket messages that form an incomplete request.
    charge: Option<Charge>,
    /// Number of buffered bytes that `progress` has checked.
    scanned: usize,
    progress: JsonProgress,
    bytes_max: usize,
    json_format: JsonFormat,
    ended: bool,
}

impl JsonRequests {
    /// Creates a reader of a body. Requests above `bytes_max` bytes are refused.
    pub(super) fn new(
        account: &Account,
        payload: web::Payload,
        (json_format, bytes_max): (JsonFormat, usize),
    ) -> Self {
        Self {
            account: account.clone(),
            requests_since_yield: 0,
            payload,
            buffer: BytesMut::new(),
            charge: None,
            scanned: 0,
            progress: JsonProgress::default(),
            bytes_max,
            json_format,
            ended: false,
        }
    }

    /// Reads the next request. Returns `None` at the end of the body. Fails with an error message if the request is unreadable
    /// or too large, or if its charge is refused.
    pub(super) async fn next<Q>(&mut self) -> Result<Option<Q>, String>
    where
        Q: Shaped + Default + Message + 'static,
    {
        if self.requests_since_yield == REQUESTS_PER_YIELD {
            self.requests_since_yield = 0;
            tokio::task::yield_now().await;
        }
        self.requests_since_yield += 1;
        loop {
            self.charge_buffer()?;
            match self.take_value()? {
                Some(value) => {
                    let (json_format, large) = (self.json_format, value.len() > INLINE_BYTES);
                    let read = move || super::message(&value, json_format);
                    let request = blocking::run_if(&self.account, large, read).await;
                    return request.map_err(|fault| fault.to_string())?.map(Some);
                }
                None if self.ended => return Ok(None),
                None => {}
            }
            match self.payload.next().await {
                Some(Ok(part)) if self.buffer.len() + part.len() <= self.bytes_max => {
                    self.buffer.extend_from_slice(&part);
                }
                Some(Ok(_)) => return Err("request is too large".into()),
                Some(Err(_)) => return Err("unexpected EOF".into()),
                None => self.ended = true,
            }
        }
    }

    /// Charges the maximum size of a request if the buffer is large, and otherwise releases the charge. Fails if the charge is
    /// refused.
    fn charge_buffer(&mut self) -> Result<(), String> {
        if self.buffer.len() <= SMALL_BYTES {
            if self.charge.is_some() {
                // Copy the remaining bytes, which would otherwise keep the memory of the earlier requests alive.
                self.buffer = BytesMut::from(&self.buffer[..]);
                self.charge = None;
            }
        } else if self.charge.is_none() {
            let charge = self.account.hold(Resource::Requests, self.bytes_max);
            self.charge = Some(charge.ok_or_else(|| RpcError::TooManyRequests.to_string())?);
        }
        Ok(())
    }

    /// Takes the first complete value from the buffer, or returns `None` if no value is complete. At the end of the body, a
    /// number is complete, and any other partial value is an error. Fails for invalid JSON.
    fn take_value(&mut self) -> Result<Option<BytesMut>, String> {
        let end = match self.progress.take(&self.buffer[self.scanned..])? {
            Some(length) => self.scanned + length,
            None if self.progress.is_new() => {
                self.buffer = BytesMut::new();
                self.scanned = 0;
                return Ok(None);
            }
            None if !self.ended => {
                self.scanned = self.buffer.len();
                return Ok(None);
            }
            None if self.progress.may_end() => self.buffer.len(),
            None => return Err("unexpected EOF".into()),
        };
        let value = self.buffer.split_to(end);
        if self.buffer.len() < value.len() {
            // Copy the remaining bytes, which would otherwise keep the memory of the value alive.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        (self.scanned, self.progress) = (0, JsonProgress::default());
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{FromRequest as _, dev, test::TestRequest};
    use bytes::Bytes;
    use futures_util::{FutureExt as _, stream};
    use tokio::sync::mpsc;
    use witan_api::v3::etcdserverpb::WatchRequest;
    use witan_base::{account::Totals, metrics::Register};

    use super::*;
    use crate::gateway::{GatewayVersion, encoding::Encoding};

    const LARGE_BYTES: usize = 2 * SMALL_BYTES;

    /// Returns a reader of requests, and the sender of the parts of its body.
    async fn reader(account: &Account) -> (mpsc::Sender<Bytes>, JsonRequests) {
        let (client, parts) = mpsc::channel::<Bytes>(1);
        let parts = stream::unfold(parts, |mut parts| async move {
            let part = parts.recv().await?;
            Some((Ok(part), parts))
        });
        let (request, payload) = (TestRequest::default().to_http_request(), Box::pin(parts));
        let payload = web::Payload::from_request(&request, &mut dev::Payload::Stream { payload });
        let payload = payload.await.expect("taking a payload cannot fail");
        let (gateway_version, encoding) = (GatewayVersion::V3_6, Encoding::Base64);
        let json_format = JsonFormat { gateway_version, encoding };
        let requests = JsonRequests::new(account, payload, (json_format, 1 << 20));
        (client, requests)
    }

    #[actix_web::test]
    async fn a_large_request_is_charged_until_it_is_complete() {
        let totals = Totals::register(&Register::default(), u64::MAX);
        let [account, other] = [(); 2].map(|()| totals.open());
        let all = || other.hold(Resource::Requests, Resource::Requests.limit());
        let (client, mut requests) = reader(&account).await;
        let begin = format!("{{\"zz\":\"{}", "a".repeat(LARGE_BYTES));
        for _ in 0..2 {
            client.try_send(begin.clone().into()).expect("a free slot");
            assert!(requests.next::<WatchRequest>().now_or_never().is_none());
            assert!(all().is_none(), "the incomplete request is charged");
            client.try_send("\"}".into()).expect("a free slot");
            let request = requests.next::<WatchRequest>().now_or_never();
            assert_eq!(request, Some(Ok(Some(WatchRequest::default()))));
            assert!(requests.next::<WatchRequest>().now_or_never().is_none());
            assert!(all().is_some(), "the charge is released");
            assert!(
                !requests.buffer.try_reclaim(LARGE_BYTES),
                "the memory is released"
            );
        }
        let _all = all();
        client.try_send(begin.into()).expect("a free slot");
        let refused = requests.next::<WatchRequest>().now_or_never();
        assert_eq!(refused, Some(Err(RpcError::TooManyRequests.to_string())));
    }

    #[actix_web::test]
    async fn the_remaining_bytes_do_not_keep_the_memory_of_earlier_requests() {
        let totals = Totals::register(&Register::default(), u64::MAX);
        let [account, other] = [(); 2].map(|()| totals.open());
        let (client, mut requests) = reader(&account).await;
        let count = SMALL_BYTES - 1;
        let part = "{}".repeat(count) + "{\"zz\":";
        client.try_send(part.into()).expect("a free slot");
        for _ in 0..count {
            let request = requests.next::<WatchRequest>().await;
            assert_eq!(request, Ok(Some(WatchRequest::default())));
        }
        assert!(requests.next::<WatchRequest>().now_or_never().is_none());
        let all = other.hold(Resource::Requests, Resource::Requests.limit());
        assert!(all.is_some(), "the charge is released");
        assert!(
            !requests.buffer.try_reclaim(SMALL_BYTES),
            "the memory is released"
        );
    }
}
