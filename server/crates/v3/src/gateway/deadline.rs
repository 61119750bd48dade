//! The deadline of a call. A client sets it with the header `Grpc-Timeout`, as in etcd's gateway.

use std::time::Duration;

use actix_web::HttpRequest;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::error::GatewayError;

const TIMEOUT: &str = "grpc-timeout";

/// The time at which a call fails; `None` for a call without a timeout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// Reads the timeout of a request. The timeout starts now. As in etcd, 0 or a missing header means no limit, and the
    /// deadline of a negative timeout has already passed. A timeout too long for the clock means no limit. Fails if the timeout
    /// is invalid.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, GatewayError> {
        let header = request.headers().get(TIMEOUT);
        let Some(header) = header.filter(|header| !header.is_empty()) else {
            return Ok(Self(None));
        };
        let text = String::from_utf8_lossy(header.as_bytes());
        let Some(nanos) = nanoseconds(&text) else {
            let text = format!("invalid grpc-timeout: {text}");
            return Err(GatewayError::invalid(text));
        };
        let now = Instant::now();
        Ok(Self(match nanos {
            0 => None,
            ..0 => Some(now),
            _ => {
                let left = u64::try_from(nanos).map(Duration::from_nanos);
                left.ok().and_then(|left| now.checked_add(left))
            }
        }))
    }

    /// Waits for the deadline and returns the error of the call. Never returns if there is no deadline.
    pub(super) async fn passed(self) -> Status {
        match self.0 {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
        Status::deadline_exceeded("context deadline exceeded")
    }
}

/// Parses a whole number, which can be negative, and one of the units `H`, `M`, `S`, `m`, `u` and `n`. Returns nanoseconds, or
/// `None` for any other text.
fn nanoseconds(text: &str) -> Option<i128> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "H" => 3_600_000_000_000,
        "M" => 60_000_000_000,
        "S" => 1_000_000_000,
        "m" => 1_000_000,
        "u" => 1_000,
        "n" => 1,
        _ => return None,
    };
    let number: i64 = number.parse().ok()?;
    Some(i128::from(number) * unit)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use futures_util::FutureExt as _;

    use super::*;

    fn read(timeout: &str) -> Result<Deadline, GatewayError> {
        let request = TestRequest::default().insert_header((TIMEOUT, timeout));
        Deadline::of(&request.to_http_request())
    }

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        for (text, expect) in [
            ("2H", 7_200_000_000_000),
            ("2M", 120_000_000_000),
            ("2S", 2_000_000_000),
            ("2m", 2_000_000),
            ("2u", 2_000),
            ("-2n", -2),
        ] {
            assert_eq!(nanoseconds(text), Some(expect), "{text}");
        }
        assert_eq!(nanoseconds("2ä"), None);
        for text in ["S", "2", "2s", "1.5S", "2 S", "soon"] {
            assert_eq!(nanoseconds(text), None, "{text}");
            let told = format!("invalid grpc-timeout: {text}");
            assert_eq!(read(text).err(), Some(GatewayError::invalid(told)));
        }
    }

    #[actix_web::test]
    async fn a_deadline_passes_unless_there_is_none() {
        for timeout in ["-1S", "1n"] {
            let late = read(timeout).unwrap().passed().await;
            assert_eq!(late.code(), tonic::Code::DeadlineExceeded, "{timeout}");
        }
        for timeout in ["", "0S", "9223372036854775807H"] {
            let left = read(timeout).unwrap().passed().now_or_never();
            assert!(left.is_none(), "{timeout}");
        }
    }
}
