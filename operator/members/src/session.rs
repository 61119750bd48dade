//! Helpers for a call to a member: login, token and timeout.

use std::{future::Future, time::Duration};

use tonic::{Code, Request, Status, metadata::AsciiMetadataValue, transport::Channel};
use witan_api::v3::etcdserverpb::{AuthenticateRequest, auth_client::AuthClient};

use super::Login;

/// The result of a login at a member.
#[derive(Debug)]
pub enum LoggedIn {
    /// Authentication is enabled. Holds the token, or `None` if the token is not a valid header value.
    User(Option<AsciiMetadataValue>),
    /// Authentication is disabled.
    Nobody,
    /// The member refused the password with this status, but the client's certificate also identifies a user.
    Certificate(Status),
}

/// Logs in to a member. `has_certificate` says whether the client also has a certificate, so that a refused password is no
/// error.
///
/// # Errors
/// Returns an error if the member does not answer, or if it refuses a client without a certificate.
pub async fn log_in(
    channel: &Channel,
    login: Login,
    has_certificate: bool,
    timeout: Duration,
) -> Result<LoggedIn, Status> {
    let body = AuthenticateRequest { name: login.user, password: login.password };
    let mut client = AuthClient::new(channel.clone());
    match within(timeout, client.authenticate(body)).await {
        Ok(answer) => Ok(LoggedIn::User(answer.into_inner().token.parse().ok())),
        Err(status) if status.code() == Code::FailedPrecondition => Ok(LoggedIn::Nobody),
        Err(status) if falls_back(has_certificate, &status) => Ok(LoggedIn::Certificate(status)),
        Err(status) => Err(status),
    }
}

/// Returns whether the client can continue with only its certificate: it has one, and the member refused the password.
fn falls_back(has_certificate: bool, refusal: &Status) -> bool {
    has_certificate && [Code::InvalidArgument, Code::Unauthenticated].contains(&refusal.code())
}

/// Creates a request from a message, with the token if there is one.
pub fn request<A>(body: A, token: Option<AsciiMetadataValue>) -> Request<A> {
    let mut request = Request::new(body);
    if let Some(token) = token {
        request.metadata_mut().insert("token", token);
    }
    request
}

/// Waits for a response for at most `timeout`.
///
/// # Errors
/// Returns `DeadlineExceeded` after `timeout`, or the error of the response.
pub async fn within<R>(
    timeout: Duration,
    answer: impl Future<Output = Result<R, Status>>,
) -> Result<R, Status> {
    match tokio::time::timeout(timeout, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded(format!(
            "no answer within {} s",
            timeout.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_password_falls_back_to_the_certificate() {
        let wrong = Status::invalid_argument("authentication failed, invalid user ID or password");
        assert!(!falls_back(false, &wrong));
        assert!(falls_back(true, &wrong));
        assert!(
            !falls_back(true, &Status::unavailable("gone")),
            "nothing is known then"
        );
    }
}
