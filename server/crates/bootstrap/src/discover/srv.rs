//! Finds members by SRV records: `_etcd-server-ssl._tcp.DOMAIN` for https, `_etcd-server._tcp.DOMAIN` for http. A member's
//! URL, and therefore its id, comes from the record's target. If the target resolves to this member's address, the record
//! gets this member's name. Other records get numbers as names until the members publish their names.

use std::{collections::HashSet, net::SocketAddr};

use witan_config::{Address, Config, SrvDiscovery, Url};

use super::{dns, error::DiscoverError};

/// The SRV services to look up and the URL scheme of each.
const SERVICES: [(&str, &str); 2] = [("_etcd-server-ssl", "https"), ("_etcd-server", "http")];

/// Looks up a domain's members and returns them sorted by name. Logs a warning for a record without a valid host, and ignores
/// the record. Fails if a lookup fails, no record is left, or no record belongs to this member.
pub(super) async fn members(
    asked: &SrvDiscovery,
    config: &Config,
) -> Result<Vec<(String, Vec<Url>)>, DiscoverError> {
    let suffix = asked.suffix.as_deref();
    let names = SERVICES.map(|(service, _)| dns::srv_name(service, suffix, &asked.domain));
    let mut urls = Vec::new();
    for ((_, scheme), name) in SERVICES.iter().zip(&names) {
        for record in dns::lookup_srv(asked.server, name).await? {
            let url = format!("{scheme}://{}:{}", record.target, record.port);
            match url.parse::<Url>() {
                Ok(url) => urls.push(url),
                Err(error) => tracing::warn!(name, %error, "ignoring an SRV record"),
            }
        }
    }
    urls.sort();
    urls.dedup();
    if urls.is_empty() {
        return Err(dns::DnsError::NoRecords(names.to_vec()).into());
    }
    name_members(urls, config).await
}

/// Returns the members at `urls`, sorted by name. URLs with the scheme and an address of this member's advertised peer URLs
/// belong to this member. Each other URL becomes a member with a number as its name. Fails if no URL belongs to this member.
async fn name_members(
    urls: Vec<Url>,
    config: &Config,
) -> Result<Vec<(String, Vec<Url>)>, DiscoverError> {
    let mut own = HashSet::new();
    for url in &config.initial_advertise_peer_urls {
        let found = addresses(url).await;
        own.extend(found.into_iter().map(|at| (at, url.is_tls())));
    }
    let mut cluster: Vec<(String, Vec<Url>)> = Vec::new();
    let mut own_urls = Vec::new();
    let mut next = 0..;
    for url in urls {
        let found = addresses(&url).await;
        if found.iter().any(|at| own.contains(&(*at, url.is_tls()))) {
            own_urls.push(url);
            continue;
        }
        // Skip the number that is this member's name.
        let mut names = next.by_ref().map(|number: u32| number.to_string());
        let name = names.find(|name| *name != config.name);
        cluster.push((name.unwrap_or_default(), vec![url]));
    }
    if own_urls.is_empty() {
        let found = cluster.iter().flat_map(|(_, urls)| urls);
        let found: Vec<String> = found.map(Url::to_string).collect();
        let own = config.initial_advertise_peer_urls.iter();
        let own: Vec<String> = own.map(Url::to_string).collect();
        return Err(DiscoverError::NotInRecords {
            name: config.name.clone(),
            found: found.join(", "),
            own: own.join(", "),
        });
    }
    cluster.push((config.name.clone(), own_urls));
    cluster.sort();
    Ok(cluster)
}

/// Resolves a URL's host. If this fails, logs a warning and returns an empty list. A Unix socket has no addresses.
async fn addresses(url: &Url) -> Vec<SocketAddr> {
    let Address::Tcp(host, port) = url.address() else {
        return Vec::new();
    };
    match tokio::net::lookup_host((host.as_str(), *port)).await {
        Ok(found) => found.collect(),
        Err(error) => {
            tracing::warn!(host, %error, "failed to resolve the host of a member");
            Vec::new()
        }
    }
}
