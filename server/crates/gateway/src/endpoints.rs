//! Finds the endpoints: the addresses in `--endpoints`, or the targets of SRV records with verified certificates.

use std::{fmt, net::SocketAddr, time::Duration};

use tokio::net::lookup_host;
use witan_bootstrap::discover::{DnsError, SrvRecord, lookup_srv, srv_name};
use witan_client::{TlsClient, check_certificate};
use witan_config::ClientSettings;

use super::{arguments::StartArguments, error::GatewayError, pool::Endpoint};

/// The endpoint that is used if no flag names one.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:2379";

const CLIENT_PORT: u16 = 2379;

/// The SRV services to look up, and whether the endpoints of each service use TLS.
const SERVICES: [(&str, bool); 2] = [("_etcd-client-ssl", true), ("_etcd-client", false)];

/// Timeout for the verification of a discovered endpoint, as in etcd.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(5);

/// A host and a port. The host is resolved for each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    /// Writes an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

impl Address {
    /// Parses `HOST:PORT`, with an IPv6 address in brackets. If the text has no port, uses `usual_port`. Returns `None` for any
    /// other text.
    fn parse(text: &str, usual_port: Option<u16>) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, digits)) if !digits.ends_with(']') => (host, digits.parse().ok()?),
            Some(_) | None => (text, usual_port?),
        };
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }

    /// Resolves the host to addresses with the port. Fails if the host cannot be resolved.
    async fn resolve(&self) -> Result<Vec<SocketAddr>, GatewayError> {
        match lookup_host((self.host.as_str(), self.port)).await {
            Ok(found) => Ok(found.collect()),
            Err(source) => Err(GatewayError::Resolve { host: self.host.clone(), source }),
        }
    }
}

/// Parses the value of `--listen-addr`. Fails if the value is not `HOST:PORT`.
pub(super) fn listen_address(text: &str) -> Result<Address, GatewayError> {
    let parsed = Address::parse(text, None);
    parsed.ok_or_else(|| GatewayError::ListenAddress(text.to_owned()))
}

/// Parses an endpoint: `HOST:PORT`, a host, or an HTTP or HTTPS URL, whose scheme and path have no effect. The default port is
/// `CLIENT_PORT`. Spaces around the text are ignored.
fn parse(text: &str) -> Result<Endpoint, GatewayError> {
    let trimmed = text.trim();
    let authority = match trimmed.split_once("://") {
        Some(("http" | "https", rest)) => rest.split('/').next().unwrap_or_default(),
        Some(_) => "",
        None => trimmed,
    };
    let address = Address::parse(authority, Some(CLIENT_PORT));
    let address = address.ok_or_else(|| GatewayError::Endpoint(text.to_owned()))?;
    Ok(Endpoint::new(address, 0, 0))
}

/// Returns the verified endpoints of `--discovery-srv`, or else the endpoints in `--endpoints`. If neither flag is given,
/// returns the default endpoint. Fails if discovery fails, if it finds no verified endpoint and `--endpoints` is empty, or if
/// an endpoint is invalid.
pub(super) async fn find(arguments: &StartArguments) -> Result<Vec<Endpoint>, GatewayError> {
    let domain = arguments.discovery_srv.as_deref().unwrap_or_default();
    let domain = domain.trim_end_matches('.');
    if !domain.is_empty() {
        let found = discover(arguments, domain).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        if arguments.endpoints.is_empty() {
            return Err(GatewayError::NotVerified(domain.to_owned()));
        }
        tracing::warn!(
            domain,
            "no discovered endpoint is verified; using --endpoints"
        );
    }
    if arguments.endpoints.is_empty() {
        return Ok(vec![parse(DEFAULT_ENDPOINT)?]);
    }
    arguments.endpoints.iter().map(|text| parse(text)).collect()
}

/// Returns the verified endpoints in a domain's SRV records, or all endpoints with `--insecure-discovery`. Logs the ignored
/// endpoints. Fails if a lookup fails, the domain has no such record, or the CA certificates cannot be used.
async fn discover(arguments: &StartArguments, domain: &str) -> Result<Vec<Endpoint>, GatewayError> {
    let suffix = arguments.discovery_srv_name.as_deref();
    let ca = arguments.trusted_ca_file.clone();
    let tls = TlsClient::for_http1(&ClientSettings { ca, ..ClientSettings::default() })?;
    let (mut names, mut has_records, mut endpoints) = (Vec::new(), false, Vec::new());
    for (service, is_tls) in SERVICES {
        let name = srv_name(service, suffix, domain);
        for record in lookup_srv(arguments.discovery_srv_server, &name).await? {
            has_records = true;
            let SrvRecord { target, port, priority, weight } = record;
            let address = Address { host: target, port };
            let verified = match (arguments.insecure_discovery, is_tls) {
                (true, _) => Ok(()),
                (false, true) => {
                    let address = address.to_string();
                    check_certificate(&address, domain, &tls, VERIFY_TIMEOUT).await
                }
                (false, false) => Err("it does not use TLS".to_owned()),
            };
            match verified {
                Ok(()) => endpoints.push(Endpoint::new(address, priority, weight)),
                Err(error) => tracing::warn!(%address, error, "ignoring a discovered endpoint"),
            }
        }
        names.push(name);
    }
    match has_records {
        true => Ok(endpoints),
        false => Err(DnsError::NoRecords(names).into()),
    }
}

/// Fails if an endpoint is the address on which the gateway listens, or if a host cannot be resolved.
pub(super) async fn check_distinct(
    listen: &Address,
    endpoints: &[Endpoint],
) -> Result<(), GatewayError> {
    let own = listen.resolve().await?;
    for Endpoint { address, .. } in endpoints {
        let found = address.resolve().await?;
        if found
            .iter()
            .any(|at| own.iter().any(|own| reaches(*own, *at)))
        {
            return Err(GatewayError::OwnAddress {
                endpoint: address.to_string(),
                listen: listen.to_string(),
            });
        }
    }
    Ok(())
}

/// Returns whether a connection to `at` is known to reach a listener on `own`. For a wildcard listener, recognizes only
/// loopback and wildcard addresses, not this host's other addresses.
fn reaches(own: SocketAddr, at: SocketAddr) -> bool {
    let is_local = at.ip().is_loopback() || at.ip().is_unspecified();
    // A listener on the IPv6 wildcard address also accepts IPv4 connections.
    let is_served = own.ip().is_unspecified() && (own.is_ipv6() || at.is_ipv4());
    own.port() == at.port() && (own.ip() == at.ip() || (is_local && is_served))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_addresses_or_urls() {
        for (text, shown) in [
            ("a:1", "a:1"),
            (" a ", "a:2379"),
            ("http://a:1", "a:1"),
            ("https://a", "a:2379"),
            ("https://a:1/path", "a:1"),
            ("[::1]:1", "[::1]:1"),
            ("http://[::1]", "[::1]:2379"),
        ] {
            assert_eq!(parse(text).unwrap().address.to_string(), shown, "{text:?}");
        }
        for text in [
            "",
            ":1",
            "a:b",
            "a:65536",
            "::1",
            "[::1",
            "http://",
            "unix://a:1",
        ] {
            let refused = parse(text).unwrap_err().to_string();
            assert!(refused.contains(&format!("{text:?}")), "{refused}");
        }
        for text in ["a", "", ":1", "[::1]", "http://a:1"] {
            assert!(listen_address(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_gateways_own_address_is_recognized() {
        for (own, at, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "10.0.0.1:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "0.0.0.0:1", true),
            ("0.0.0.0:1", "10.0.0.1:1", false),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::]:1", "[::1]:1", true),
            ("[::]:1", "127.0.0.1:1", true),
        ] {
            let is_own = reaches(own.parse().unwrap(), at.parse().unwrap());
            assert_eq!(is_own, expected, "{own} {at}");
        }
    }
}
