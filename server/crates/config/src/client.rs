//! How this member reaches servers of etcd's API whose client it is: a registry of discovery, a cluster that it follows.

use std::{path::PathBuf, time::Duration};

use super::{ConfigError, discovery::is_http, values::FlagValues};

/// Timeouts, TLS and user of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// How long reaching an endpoint may take.
    pub dial_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// How long a silent connection waits before a ping; 0 turns pings off.
    pub keepalive_time: Duration,
    /// How long the answer to that ping may take.
    pub keepalive_timeout: Duration,
    /// Authorities of the endpoints; the system's by default.
    pub ca: Option<PathBuf>,
    /// Certificate and key.
    pub key_pair: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate of an endpoint is taken.
    pub skip_verify: bool,
    /// Name and password.
    pub user: Option<(String, String)>,
}

impl ClientSettings {
    /// Whether a file for TLS is named.
    pub(super) fn names_tls_files(&self) -> bool {
        self.key_pair.is_some() || self.ca.is_some()
    }
}

impl FlagValues {
    /// Returns the path that a flag names.
    pub(super) fn path(&self, flag: &'static str) -> Option<PathBuf> {
        self.given(flag).map(PathBuf::from)
    }

    /// Reads the flags of certificate and key, which belong together.
    pub(super) fn key_pair(
        &self,
        [cert, key]: [&'static str; 2],
    ) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        let incomplete = |_| self.bad(cert, &format!("--{cert} and --{key} belong together"));
        self.files([cert, key]).map_err(incomplete)
    }

    /// Reads the flags of a user and its password.
    pub(super) fn user(&self, [user, password]: [&'static str; 2]) -> Option<(String, String)> {
        let name = self.given(user)?.to_owned();
        Some((name, self.text(password).to_owned()))
    }

    /// Reads a list of endpoints. As in etcd one without a scheme gets `https` if a flag asks for TLS, else `http`.
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
            .ok_or_else(|| self.bad(flag, "not HOST:PORT or URLs, comma-separated"))
    }
}
