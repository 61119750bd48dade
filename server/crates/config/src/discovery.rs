//! How a new member finds the other members if `--initial-cluster` does not list them.

use std::net::SocketAddr;

use witan_gocompat::text::parse_uint;

use super::{ConfigError, client_settings::ClientSettings, values::FlagValues};

/// A way to find the initial members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// `--discovery`: a token of a discovery service, or a directory of v2 keys.
    V2(V2Discovery),
    /// `--discovery-endpoints`: a registry in v3 keys.
    V3(Box<V3Discovery>),
    /// `--discovery-srv`: SRV records.
    Srv(SrvDiscovery),
}

/// `--discovery` and related flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V2Discovery {
    /// The URL with the token; also the cluster token from which ids are computed.
    pub url: String,
    /// `--discovery-proxy`: an HTTP proxy, as `host:port`.
    pub proxy: Option<String>,
}

/// `--discovery-endpoints` and related flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V3Discovery {
    /// `--discovery-token`; also the cluster token from which ids are computed.
    pub token: String,
    /// The endpoints, each with a scheme.
    pub endpoints: Vec<String>,
    /// Settings of connections to the endpoints.
    pub client: ClientSettings,
}

/// `--discovery-srv` and related flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvDiscovery {
    /// The domain of the records.
    pub domain: String,
    /// `--discovery-srv-name`: suffix of the service names.
    pub suffix: Option<String>,
    /// `--discovery-srv-server`; `None` uses the servers in `/etc/resolv.conf`.
    pub server: Option<SocketAddr>,
}

impl FlagValues {
    /// Returns the kind of discovery that the flags select, or `None`. `check_flags` ensures that they select at most one.
    /// Warns about `--discovery-fallback=proxy`. Fails for an invalid value, and if only one of the token and the endpoints of
    /// v3 discovery is given.
    pub(super) fn discovery(
        &self,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Discovery>, ConfigError> {
        let fallback = [("exit", false), ("proxy", true)];
        if self.choice("discovery-fallback", &fallback)? {
            warnings.push(
                "--discovery-fallback=proxy has no effect: Witan has no v2 proxy, so a member exits if the discovered cluster is full"
                    .to_owned(),
            );
        }
        if let Some(url) = self.given("discovery") {
            return self.v2_discovery(url).map(Some);
        }
        if self.given("discovery-token").is_some() != self.given("discovery-endpoints").is_some() {
            return Err(ConfigError::V3Discovery);
        }
        if let Some(token) = self.given("discovery-token") {
            return self.v3_discovery(token).map(Some);
        }
        let Some(domain) = self.given("discovery-srv") else {
            return Ok(None);
        };
        let server = self.given("discovery-srv-server").map(|text| {
            let parsed = text.parse();
            parsed.map_err(|_| self.bad("discovery-srv-server", "must be ADDRESS:PORT"))
        });
        Ok(Some(Discovery::Srv(SrvDiscovery {
            domain: domain.trim_end_matches('.').to_owned(),
            suffix: self.given("discovery-srv-name").map(str::to_owned),
            server: server.transpose()?,
        })))
    }

    /// Builds v2 discovery from `url` and `--discovery-proxy`, the `HOST:PORT` of a plain HTTP proxy. Fails if `url` is not an
    /// HTTP or HTTPS URL, or if the proxy is invalid or uses HTTPS.
    fn v2_discovery(&self, url: &str) -> Result<Discovery, ConfigError> {
        if !is_http(url) {
            return Err(self.bad("discovery", "must be an http or https URL with a token"));
        }
        let proxy = match self.given("discovery-proxy") {
            Some(text) if text.starts_with("https://") => {
                return Err(self.bad("discovery-proxy", "only plain HTTP is supported"));
            }
            Some(text) => {
                let authority = text.strip_prefix("http://").unwrap_or(text);
                let authority = authority.trim_end_matches('/');
                let is_host = |host: &str| !host.is_empty() && !host.contains('/');
                let is_authority = authority
                    .rsplit_once(':')
                    .is_some_and(|(host, port)| is_host(host) && is_port(port));
                if !is_authority {
                    return Err(self.bad("discovery-proxy", "must be HOST:PORT"));
                }
                Some(authority.to_owned())
            }
            None => None,
        };
        let url = url.to_owned();
        Ok(Discovery::V2(V2Discovery { url, proxy }))
    }

    /// Builds v3 discovery for a discovery token from the `--discovery-` flags. Fails for an invalid endpoint.
    fn v3_discovery(&self, token: &str) -> Result<Discovery, ConfigError> {
        let client = ClientSettings {
            dial_timeout: self.duration("discovery-dial-timeout")?,
            request_timeout: self.duration("discovery-request-timeout")?,
            keepalive_time: self.duration("discovery-keepalive-time")?,
            keepalive_timeout: self.duration("discovery-keepalive-timeout")?,
            ca: self.path("discovery-cacert"),
            key_pair: self.files(["discovery-cert", "discovery-key"])?,
            skip_verify: self.boolean("discovery-insecure-skip-tls-verify")?,
            user: self.user(["discovery-user", "discovery-password"]),
        };
        let has_tls = client.names_tls_files() || !self.boolean("discovery-insecure-transport")?;
        Ok(Discovery::V3(Box::new(V3Discovery {
            token: token.to_owned(),
            endpoints: self.endpoints("discovery-endpoints", has_tls)?,
            client,
        })))
    }
}

/// Returns whether a string is a port number. As in etcd, a sign is not allowed.
fn is_port(text: &str) -> bool {
    parse_uint(text.as_bytes()).is_some_and(|port| u16::try_from(port).is_ok())
}

/// Returns whether a string is an HTTP or HTTPS URL with a host.
pub(super) fn is_http(url: &str) -> bool {
    let parsed = url.parse::<http::Uri>().ok();
    parsed.is_some_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.host().is_some_and(|host| !host.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_and_a_port() {
        for (text, expected) in [
            ("a:1", Some("a:1")),
            ("http://[::1]:1/", Some("[::1]:1")),
            ("http://a", None),
            ("a:+1", None),
            ("http://a/path:1", None),
        ] {
            let mut values = FlagValues::default();
            values.given.insert("discovery-proxy", text.to_owned());
            let found = values.v2_discovery("http://b/c").ok();
            let proxy = found.and_then(|found| match found {
                Discovery::V2(found) => found.proxy,
                Discovery::V3(_) | Discovery::Srv(_) => None,
            });
            assert_eq!(proxy.as_deref(), expected, "{text}");
        }
    }
}
