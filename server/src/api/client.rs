//! Whether the client of a request still waits for its answer.

use actix_web::HttpRequest;

use crate::transport::Ended;

/// Tells an answer that waits for something when that is no longer worth while. Without the request
/// that it came with, so that many can wait.
#[derive(Clone, Debug)]
pub(crate) struct Client(Option<Ended>);

impl Client {
    /// The client of this request.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        Self(request.conn_data::<Ended>().cloned())
    }

    /// Resolves when it has said all that it will, or is gone.
    pub(crate) async fn ended(&self) {
        match self.0.clone() {
            Some(ended) => ended.wait().await,
            None => std::future::pending().await,
        }
    }
}
