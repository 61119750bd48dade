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

/// Logs in to a member. `has_certificate` says whether the client also has a certificate. If it does, a refused password is not
/// an error.
///
/// # Errors
/// Returns an error if the member does not answer, or if it refuses a client without a certificate.
pub async fn log_in(
    channel: &Channel,
    login: Login,
    has_certificate: bool,
    timeout: Duration,
) -> Result<LoggedIn, Status> {
    let authenticate = |password: String| {
        let body = AuthenticateRequest { name: login.user.clone(), password };
        let mut client = AuthClient::new(channel.clone());
        async move { within(timeout, client.authenticate(body)).await }
    };
    match try_passwords(&login, authenticate).await {
        Ok(answer) => Ok(LoggedIn::User(answer.into_inner().token.parse().ok())),
        Err(status) if status.code() == Code::FailedPrecondition => Ok(LoggedIn::Nobody),
        Err(status) if falls_back(has_certificate, &status) => Ok(LoggedIn::Certificate(status)),
        Err(status) => Err(status),
    }
}

/// Tries the password without the line breaks at its end. If the member refuses it, tries the password with the line breaks,
/// because release 0.1.0 created root with them.
async fn try_passwords<R, F: Future<Output = Result<R, Status>>>(
    login: &Login,
    mut attempt: impl FnMut(String) -> F,
) -> Result<R, Status> {
    let entered = login.entered();
    let answer = attempt(entered.to_owned()).await;
    if entered != login.password && answer.as_ref().is_err_and(refuses_password) {
        return attempt(login.password.clone()).await;
    }
    answer
}

/// Returns whether the client can continue with only its certificate.
fn falls_back(has_certificate: bool, refusal: &Status) -> bool {
    has_certificate && refuses_password(refusal)
}

/// Returns whether a member refused a call because of the user or the password.
fn refuses_password(status: &Status) -> bool {
    [Code::InvalidArgument, Code::Unauthenticated].contains(&status.code())
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
    let late = |_| {
        let message = format!("no answer within {} s", timeout.as_secs());
        Err(Status::deadline_exceeded(message))
    };
    tokio::time::timeout(timeout, answer)
        .await
        .unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    fn wrong() -> Status {
        Status::invalid_argument("authentication failed, invalid user ID or password")
    }

    /// Release 0.1.0 created the user with the line break.
    #[tokio::test]
    async fn a_refused_password_is_tried_again_with_its_line_break() {
        let login = Login::root(b"secret\n").expect("a login");
        for (right, expected) in [
            ("secret", vec!["secret"]),
            ("secret\n", vec!["secret", "secret\n"]),
        ] {
            let mut tried = Vec::new();
            let done = try_passwords(&login, |password| {
                let is_right = password == right;
                tried.push(password);
                ready(is_right.then_some(()).ok_or_else(wrong))
            });
            assert!(done.await.is_ok(), "{right:?}");
            assert_eq!(tried, expected);
        }
    }

    #[test]
    fn a_refused_password_falls_back_to_the_certificate() {
        assert!(!falls_back(false, &wrong()));
        assert!(falls_back(true, &wrong()));
        assert!(
            !falls_back(true, &Status::unavailable("gone")),
            "an unavailable member does not refuse a password"
        );
    }
}
