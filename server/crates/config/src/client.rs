//! Settings of connections to other servers with etcd's API: a discovery registry, or a cluster that this one follows.

use std::{path::PathBuf, time::Duration};

use super::{ConfigError, discovery::is_http, values::FlagValues};

/// Timeouts, TLS and user of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Timeout for connecting to an endpoint.
    pub dial_timeout: Duration,
    /// Timeout of a request.
    pub request_timeout: Duration,
    /// Time without data after which a connection is pinged; 0 disables pings.
    pub keepalive_time: Duration,
    /// Timeout for the answer to a ping.
    pub keepalive_timeout: Duration,
    /// File of the endpoints' authorities; by default, the system's authorities are trusted.
    pub ca: Option<PathBuf>,
    /// Files of certificate and key.
    pub key_pair: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate of an endpoint is accepted.
    pub skip_verify: bool,
    /// User name and password.
    pub user: Option<(String, String)>,
}

impl ClientSettings {
    /// Returns whether a TLS file is configured.
    pub(super) fn names_tls_files(&self) -> bool {
        self.key_pair.is_some() || self.ca.is_some()
    }
}

impl FlagValues {
    pub(super) fn path(&self, flag: &'static str) -> Option<PathBuf> {
        self.given(flag).map(PathBuf::from)
    }

    /// Reads the flags of a certificate and its key, which must be given together.
    pub(super) fn key_pair(
        &self,
        [cert, key]: [&'static str; 2],
    ) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        let incomplete = |_| self.bad(cert, &format!("--{cert} and --{key} must be set together"));
        self.files([cert, key]).map_err(incomplete)
    }

    /// Returns the values of the flags of a user and its password. Returns `None` if the user's flag is not given.
    pub(super) fn user(&self, [user, password]: [&'static str; 2]) -> Option<(String, String)> {
        let name = self.given(user)?.to_owned();
        Some((name, self.text(password).to_owned()))
    }

    /// Reads a list of endpoints. As in etcd, an endpoint without a scheme gets `https` if the flags configure TLS, else
    /// `http`. Fails if the list is empty, or if an endpoint is no HTTP URL.
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
            .ok_or_else(|| self.bad(flag, "it must be HOST:PORT or URLs, comma-separated"))
    }
}
