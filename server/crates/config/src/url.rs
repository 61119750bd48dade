//! URLs of members as etcd accepts them: `http://host:port`, `unix://socket` or `unix:socket`.

use std::{fmt, net::IpAddr, str::FromStr};

use witan_gocompat::text::parse_uint;

/// A URL on which a member listens or at which it is reachable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    text: String,
    address: Address,
    tls: bool,
}

/// The address in a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// Host, without brackets, and port. An IPv6 address may have a zone, as in `fe80::1%eth0`.
    Tcp(String, u16),
    /// Path of a Unix socket.
    Unix(String),
}

/// The reason why a string is not a valid URL, in etcd's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum UrlError {
    #[error("no valid URLs given")]
    None,
    #[error("parse \"{0}\": missing protocol scheme")]
    NoScheme(String),
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
    #[error("URL address does not have the form \"host:port\": {0}")]
    HostPort(String),
    #[error("parse \"{url}\": invalid port \":{port}\" after host")]
    Port { url: String, port: String },
    #[error("URL must not contain a path: {0}")]
    Path(String),
    #[error("expected IP in URL for binding ({0})")]
    Bind(String),
    #[error("unexpected empty host ({0})")]
    Host(String),
}

impl Url {
    /// Returns the address to connect to or to listen on.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns whether the scheme uses TLS: `https` or `unixs`.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Parses a comma-separated list and keeps its order. Ignores empty parts and repeated URLs. Fails if the list contains no
    /// URL or an invalid one.
    pub fn list(text: &str) -> Result<Vec<Url>, UrlError> {
        let mut urls = Vec::new();
        for part in text.split(',').map(str::trim) {
            if !part.is_empty() {
                let url: Url = part.parse()?;
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
        if urls.is_empty() {
            Err(UrlError::None)
        } else {
            Ok(urls)
        }
    }

    /// Checks that the host is an IP address or `localhost`, because a bind address must not depend on DNS.
    pub fn bindable(&self) -> Result<(), UrlError> {
        match &self.address {
            Address::Tcp(host, _) if host != "localhost" && host.parse::<IpAddr>().is_err() => {
                Err(UrlError::Bind(self.text.clone()))
            }
            Address::Tcp(..) | Address::Unix(_) => Ok(()),
        }
    }

    /// Fails if the host is empty, as in `http://:2380`. Does not check whether the host is reachable: `0.0.0.0` passes.
    pub fn advertisable(&self) -> Result<(), UrlError> {
        match &self.address {
            Address::Tcp(host, _) if host.is_empty() => Err(UrlError::Host(self.text.clone())),
            Address::Tcp(_, _) | Address::Unix(_) => Ok(()),
        }
    }

    /// Returns the `Host` header of HTTP requests to this URL, which is `localhost` for a Unix socket. Omits the zone of an
    /// address.
    pub fn authority(&self) -> String {
        match &self.address {
            Address::Tcp(host, port) if host.contains(':') => {
                format!("[{}]:{port}", without_zone(host))
            }
            Address::Tcp(host, port) => format!("{host}:{port}"),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Returns whether both lists name the same endpoints, in any order. `localhost` equals `127.0.0.1`. Endpoints differ if
    /// only one of them uses TLS.
    pub fn same_endpoints(one: &[Url], other: &[Url]) -> bool {
        let all_in = |of: &[Url], others: &[Url]| {
            of.iter()
                .all(|url| others.iter().any(|other| other.same_endpoint(url)))
        };
        all_in(one, other) && all_in(other, one)
    }

    /// Returns whether both URLs have the same address and both or neither use TLS. `localhost` equals `127.0.0.1`.
    fn same_endpoint(&self, other: &Url) -> bool {
        fn host(address: &Address) -> (&str, u16) {
            match address {
                Address::Tcp(host, port) if host == "localhost" => ("127.0.0.1", *port),
                Address::Tcp(host, port) => (host, *port),
                Address::Unix(path) => (path, 0),
            }
        }
        self.tls == other.tls && host(&self.address) == host(&other.address)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Url {
    type Err = UrlError;

    /// Parses `http[s]://HOST:PORT`, `unix[s]://PATH` or `unix[s]:PATH`. Ignores surrounding spaces. Fails if anything follows
    /// the port.
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let owned = || text.to_owned();
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(UrlError::Scheme(owned()));
        };
        if scheme.is_empty() {
            return Err(UrlError::NoScheme(owned()));
        }
        let scheme = scheme.to_ascii_lowercase();
        let tls = matches!(scheme.as_str(), "https" | "unixs");
        let after_slashes = rest.strip_prefix("//");
        let address = match scheme.as_str() {
            "http" | "https" => {
                let rest = after_slashes.unwrap_or_default();
                let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                let address = tcp(text, authority)?;
                if !path.is_empty() {
                    return Err(UrlError::Path(owned()));
                }
                address
            }
            "unix" | "unixs" => Address::Unix(after_slashes.unwrap_or(rest).to_owned()),
            _ => return Err(UrlError::Scheme(owned())),
        };
        Ok(Self { text: owned(), address, tls })
    }
}

/// Returns a host without the zone of an IPv6 address, which has no meaning on another host.
pub fn without_zone(host: &str) -> &str {
    host.split('%').next().unwrap_or_default()
}

/// Parses `HOST:PORT`, with an IPv6 address in brackets, which may have a zone. The host may be empty. `url` is the entire URL,
/// for the error.
fn tcp(url: &str, authority: &str) -> Result<Address, UrlError> {
    let bad = || UrlError::HostPort(url.to_owned());
    let (host, port) = authority.rsplit_once(':').ok_or_else(bad)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            let address = inner.strip_suffix(']').ok_or_else(bad)?;
            // `%25` before the zone of a link-local address is an escaped `%` (RFC 6874).
            address.replacen("%25", "%", 1)
        }
        None if host.contains(':') => return Err(bad()),
        None => host.to_owned(),
    };
    let number = parse_uint(port.as_bytes()).and_then(|port| u16::try_from(port).ok());
    let port = match number {
        Some(port) => port,
        None if port.is_empty() => return Err(bad()),
        None => {
            return Err(UrlError::Port { url: url.to_owned(), port: port.to_owned() });
        }
    };
    Ok(Address::Tcp(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Address {
        text.parse::<Url>().unwrap().address().clone()
    }

    #[test]
    fn addresses_are_parsed() {
        assert_eq!(
            parsed("http://127.0.0.1:2379"),
            Address::Tcp("127.0.0.1".into(), 2379)
        );
        assert_eq!(parsed(" http://[::1]:1 "), Address::Tcp("::1".into(), 1));
        assert_eq!(
            parsed("unix://localhost:2379"),
            Address::Unix("localhost:2379".into())
        );
        assert_eq!(
            parsed("unix:///run/w.sock"),
            Address::Unix("/run/w.sock".into())
        );
        assert_eq!(
            parsed("unix:/run/w.sock"),
            Address::Unix("/run/w.sock".into())
        );
        assert!("https://a:1".parse::<Url>().unwrap().is_tls());
    }

    #[test]
    fn a_link_local_address_has_a_zone() {
        let text = "http://[fe80::1%25eth0]:2380";
        let url = text.parse::<Url>().unwrap();
        assert_eq!(url.address(), &Address::Tcp("fe80::1%eth0".into(), 2380));
        assert_eq!(url.authority(), "[fe80::1]:2380");
        assert_eq!(url.to_string(), text);
        assert!(url.advertisable().is_ok() && url.bindable().is_err());
    }

    #[test]
    fn invalid_urls_have_etcds_errors() {
        let error = |text: &str| text.parse::<Url>().unwrap_err().to_string();
        assert_eq!(
            error("foo"),
            "URL scheme must be http, https, unix, or unixs: foo"
        );
        assert_eq!(error(":"), "parse \":\": missing protocol scheme");
        assert_eq!(
            error("http://bogus"),
            "URL address does not have the form \"host:port\": http://bogus"
        );
        assert_eq!(
            error("http://a:1/path"),
            "URL must not contain a path: http://a:1/path"
        );
        assert_eq!(
            error("http://a:+1"),
            "parse \"http://a:+1\": invalid port \":+1\" after host"
        );
        assert_eq!(
            error("http://::1:1"),
            "URL address does not have the form \"host:port\": http://::1:1"
        );
        assert_eq!(
            Url::list(" , ").unwrap_err().to_string(),
            "no valid URLs given"
        );
        let named = "http://example.org:1".parse::<Url>().unwrap();
        assert_eq!(
            named.bindable().unwrap_err().to_string(),
            "expected IP in URL for binding (http://example.org:1)"
        );
    }

    #[test]
    fn a_repeated_url_is_listed_once() {
        let urls = Url::list("http://a:1, http://b:1,http://a:1").unwrap();
        let urls: Vec<String> = urls.iter().map(Url::to_string).collect();
        assert_eq!(urls, ["http://a:1", "http://b:1"]);
    }

    #[test]
    fn localhost_equals_its_address() {
        let [a, b, c] = [
            "http://localhost:1",
            "http://127.0.0.1:1",
            "http://127.0.0.1:2",
        ]
        .map(|url| url.parse::<Url>().unwrap());
        assert!(a.same_endpoint(&b) && !a.same_endpoint(&c));
    }
}
