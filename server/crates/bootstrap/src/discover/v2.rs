//! The registry of v2 discovery: a directory of v2 keys, given by its URL.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::timeout;
use witan_api::{discovery::SIZE, v2::error::ErrorCode};
use witan_client::{Route, TlsClient};
use witan_config::{ClientSettings, V2Discovery};
use witan_transport::exchange;

use super::{
    error::DiscoverError,
    registry::{self, Entry, Failure, Registration, RegistryState},
};

/// Timeout of a request, as in etcd.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time to wait for a change. The registry is then read again, so that a vanished service is detected.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
const SHOWN_CHARS: usize = 200;

/// Characters that are escaped in a URL-encoded form.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(super) struct Registry {
    uri: Uri,
    /// The token's path, without a trailing slash.
    path: String,
    proxy: Option<String>,
    tls: TlsClient,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    node: Node,
    error_code: Option<u16>,
    message: String,
    cause: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Node {
    key: String,
    value: String,
    nodes: Vec<Node>,
    created_index: u64,
}

/// Parses a response and its index, which is 0 if the header is missing. The request can be retried after a server error or
/// status 429; an unreadable response is a final failure. The caller must pass an error of the v2 API to [`Answer::check`].
fn read(response: &Response<Bytes>, target: &str) -> Result<(Answer, u64), Failure> {
    let status = response.status();
    let shown = || {
        let text = String::from_utf8_lossy(response.body());
        let text: String = text.trim().chars().take(SHOWN_CHARS).collect();
        format!("{status} {text:?}")
    };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Failure::Retry(format!("{target}: {}", shown())));
    }
    match serde_json::from_slice::<Answer>(response.body()) {
        Ok(answer) if status.is_success() || answer.error_code.is_some() => {
            let index = response.headers().get(witan_api::v2::INDEX_HEADER);
            let index = index.and_then(|value| value.to_str().ok()?.parse().ok());
            Ok((answer, index.unwrap_or(0)))
        }
        Ok(_) | Err(_) => {
            let shown = format!("{target} answers {}", shown());
            Err(DiscoverError::Endpoint(shown).into())
        }
    }
}

impl Registry {
    /// Creates a registry without connecting. Fails for an invalid URL.
    pub(super) fn new(asked: &V2Discovery) -> Result<Self, DiscoverError> {
        let uri: Uri = asked
            .url
            .parse()
            .map_err(|_| DiscoverError::Endpoint(asked.url.clone()))?;
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            path,
            uri,
            proxy: asked.proxy.clone(),
            tls: TlsClient::for_http1(&ClientSettings::default())?,
        })
    }

    /// Sends a request, through the proxy if there is one. Fails with a message for the log. Only the connection attempt has a
    /// timeout.
    async fn ask(
        &self,
        method: Method,
        target: &str,
        body: String,
    ) -> Result<Response<Bytes>, String> {
        let route = Route {
            uri: &self.uri,
            proxy: self.proxy.as_deref(),
            tls: &self.tls,
            patience: REQUEST_TIMEOUT,
        };
        let io = route.open().await?;
        let authority = route.authority();
        let host = self.uri.authority().map_or("", |it| it.as_str());
        // A proxy expects the absolute URL.
        let asked = match &self.proxy {
            Some(_) if !route.is_tls() => format!("http://{authority}{target}"),
            Some(_) | None => target.to_owned(),
        };
        let request = Request::builder()
            .method(method)
            .uri(asked)
            .header(header::HOST, host)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::CONNECTION, "close")
            .body(body)
            .map_err(|error| error.to_string())?;
        let answer = exchange(io, request).await;
        answer.map_err(|error| format!("{authority} does not answer: {error}"))
    }

    /// Sends a request and parses the response and its index. After a connection error or a timeout, the request can be
    /// retried.
    async fn request(
        &self,
        method: Method,
        target: &str,
        body: String,
    ) -> Result<(Answer, u64), Failure> {
        let asked = timeout(REQUEST_TIMEOUT, self.ask(method, target, body)).await;
        let uri = &self.uri;
        let late = |_| Failure::Retry(format!("{uri} does not answer within {REQUEST_TIMEOUT:?}"));
        let answered = asked.map_err(late)?.map_err(Failure::Retry)?;
        read(&answered, target)
    }
}

impl registry::Registry for Registry {
    /// Reads the cluster size and then all registrations below the token, except `_config`. Fails if the size is missing or not
    /// a positive number.
    async fn read(&mut self) -> Result<RegistryState, Failure> {
        let target = format!("{}/{SIZE}", self.path);
        let (answer, _) = self.request(Method::GET, &target, String::new()).await?;
        answer.check(&target)?;
        let text = answer.node.value;
        let size = text.parse().ok().filter(|size| *size > 0);
        let size = size.ok_or(DiscoverError::BadSize(text))?;
        let (answer, index) = self.request(Method::GET, &self.path, String::new()).await?;
        answer.check(&self.path)?;
        let entry = |node: Node| Entry {
            id: node.key.rsplit('/').next().unwrap_or_default().to_owned(),
            value: node.value,
            created: node.created_index,
        };
        let entries = answer.node.nodes.into_iter().map(entry);
        Ok(RegistryState {
            size,
            entries: entries.filter(|entry| entry.id != "_config").collect(),
            index,
        })
    }

    /// Creates the key of this member. Fails with `Duplicate` if the key exists.
    async fn register(&mut self, own: &Registration) -> Result<(), Failure> {
        let target = format!("{}/{}?prevExist=false", self.path, own.id);
        let body = format!("value={}", utf8_percent_encode(&own.value, ESCAPED));
        let (answer, _) = self.request(Method::PUT, &target, body).await?;
        if answer.error_code == Some(ErrorCode::NodeExists.code()) {
            return Err(DiscoverError::Duplicate(own.id).into());
        }
        answer.check(&target)
    }

    /// Waits for a change after `since` or for [`WAIT_TIMEOUT`]. Also completes if the history no longer contains the change.
    async fn wait(&mut self, since: &RegistryState) -> Result<(), Failure> {
        let target = format!(
            "{}?recursive=true&wait=true&waitIndex={}",
            self.path,
            since.index + 1
        );
        // The body does not matter, because the next `read` reads the current state.
        match timeout(WAIT_TIMEOUT, self.ask(Method::GET, &target, String::new())).await {
            Ok(Ok(answered)) if answered.status().is_success() => Ok(()),
            Ok(Ok(answered)) => read(&answered, &target).and_then(|(answer, _)| {
                // The history no longer contains this index. The next `read` starts from the current index.
                match answer.error_code == Some(ErrorCode::HistoryCleared.code()) {
                    true => Ok(()),
                    false => answer.check(&target),
                }
            }),
            Ok(Err(reason)) => Err(Failure::Retry(reason)),
            Err(_) => Ok(()),
        }
    }
}

impl Answer {
    /// Converts an error in a response to a failure. After raft and disk errors, the request can be retried; other errors are
    /// final. A missing key means that the token does not exist (`SizeNotFound`).
    fn check(&self, target: &str) -> Result<(), Failure> {
        match self.error_code {
            None => Ok(()),
            Some(code) if code == ErrorCode::KeyNotFound.code() => {
                Err(DiscoverError::SizeNotFound(self.cause.clone()).into())
            }
            Some(code) => {
                let shown = format!("{target}: {code}: {} ({})", self.message, self.cause);
                Err(match code {
                    300..400 => Failure::Retry(shown),
                    _ => DiscoverError::Endpoint(shown).into(),
                })
            }
        }
    }
}
