//! Settings of connections to other etcd servers: a discovery registry, or a cluster to follow.

use std::{path::PathBuf, time::Duration};

use super::{ConfigError, discovery::is_http, values::FlagValues};

/// Timeouts, TLS and user of a client connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// Timeout for connecting to an endpoint.
    pub dial_timeout: Duration,
    /// Timeout of a request.
    pub request_timeout: Duration,
    /// Idle time after which the client pings the server; 0 disables pings.
    pub keepalive_time: Duration,
    /// Timeout for the response to a ping.
    pub keepalive_timeout: Duration,
    /// File of trusted CAs; `None` trusts the system's CAs.
    pub ca: Option<PathBuf>,
    /// Files of the client's certificate and its key.
    pub key_pair: Option<(PathBuf, PathBuf)>,
    /// Whether to accept any server certificate.
    pub skip_verify: bool,
    /// User name and password.
    pub user: Option<(String, String)>,
}

impl ClientSettings {
    /// Returns whether the settings name a CA file or a client certificate.
    pub(super) fn names_tls_files(&self) -> bool {
        self.key_pair.is_some() || self.ca.is_some()
    }
}

impl FlagValues {
    /// Returns a flag's text as a path, or `None` if the text is missing or empty.
    pub(super) fn path(&self, flag: &'static str) -> Option<PathBuf> {
        self.given(flag).map(PathBuf::from)
    }

    /// Returns the name and the password in two flags, or `None` if the name is missing. A missing password is empty.
    pub(super) fn user(&self, [user, password]: [&'static str; 2]) -> Option<(String, String)> {
        let name = self.given(user)?.to_owned();
        Some((name, self.text(password).to_owned()))
    }

    /// Returns the endpoints in a flag. Fails if an endpoint is invalid or the list is empty. As in etcd, an endpoint without a
    /// scheme gets `https` if the flags configure TLS (`has_tls`), otherwise `http`.
    pub(super) fn endpoints(
        &self,
        flag: &'static str,
        has_tls: bool,
    ) -> Result<Vec<String>, ConfigError> {
        let endpoint = |text: String| {
            let url = match text.contains("://") {
                true => text,
                false if has_tls => format!("https://{text}"),
                false => format!("http://{text}"),
            };
            is_http(&url).then_some(url)
        };
        let endpoints = self.list(flag).into_iter().map(endpoint);
        let endpoints: Option<Vec<String>> = endpoints.collect();
        endpoints
            .filter(|list| !list.is_empty())
            .ok_or_else(|| self.bad(flag, "must be HOST:PORT or URLs, comma-separated"))
    }
}
