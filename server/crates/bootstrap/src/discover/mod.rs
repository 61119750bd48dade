//! Finds the initial members of a new cluster before the data directory is opened: `--discovery`, `--discovery-endpoints`,
//! `--discovery-srv`. The result is used as `--initial-cluster`. A member with data skips discovery. A member that joins a
//! running cluster uses only SRV records.
//!
//! Reading order: this file → `registry` (register and wait, for all registries) → `v2`, `v3` (the registries) → `srv`, `dns` →
//! `error`.

mod dns;
mod error;
mod registry;
mod srv;
mod v2;
mod v3;

use std::collections::HashSet;

use witan_api::ids;
use witan_config::{ClusterState, Config, Discovery, Url, members};
use witan_machine::member::MemberId;
use witan_storage::DataIdentity;

pub use dns::{DnsError, SrvRecord, lookup_srv, srv_name};
pub use error::DiscoverError;

use registry::Registration;

/// Returns the configuration with the discovered members and their cluster token. A member that has a state (`has_state`) or
/// uses no discovery keeps its configuration. So does a member that joins an existing cluster, unless it uses SRV records. If
/// the directory has the identity `found` but no state, the member's first startup was interrupted, possibly after its
/// registration. Fails if two members have the same name or URL.
pub async fn complete(
    config: Config,
    found: Option<DataIdentity>,
    has_state: bool,
) -> Result<Config, DiscoverError> {
    let begins = config.initial_cluster_state == ClusterState::New;
    // SRV records also list the members of a running cluster. A registry lists only the first members.
    let applies = |kind: &Discovery| begins || matches!(kind, Discovery::Srv(_));
    let discovery = config.discovery.clone();
    let Some(discovery) = discovery.filter(|kind| !has_state && applies(kind)) else {
        return Ok(config);
    };
    let (cluster, token) = match &discovery {
        Discovery::V2(asked) => {
            let mut registry = v2::Registry::new(asked)?;
            let own = own_registration(&config, found, &asked.url);
            let text = registry::join(&mut registry, &own).await?;
            (registered(text)?, asked.url.clone())
        }
        Discovery::V3(asked) => {
            let mut registry = v3::Registry::new(asked)?;
            let own = own_registration(&config, found, &asked.token);
            let text = registry::join(&mut registry, &own).await?;
            (registered(text)?, asked.token.clone())
        }
        Discovery::Srv(asked) => {
            let cluster = srv::members(asked, &config).await?;
            (cluster, config.initial_cluster_token.clone())
        }
    };
    check_distinct(&cluster)?;
    tracing::info!(
        members = format_members(&cluster),
        "found the initial members of the cluster"
    );
    Ok(Config {
        initial_cluster: cluster,
        initial_cluster_token: token,
        ..config
    })
}

/// Builds this member's registration. `found` is the identity in the data directory.
fn own_registration(config: &Config, found: Option<DataIdentity>, token: &str) -> Registration {
    let urls = &config.initial_advertise_peer_urls;
    let peer_urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
    let id = MemberId(ids::member_id(&peer_urls, token, None));
    Registration {
        id,
        value: format_members(&[(config.name.clone(), urls.clone())]),
        // A member writes its identity only after its registration.
        exists: found.is_some_and(|found| found.member_id == id),
    }
}

/// Formats members as `NAME=URL,…`, like `--initial-cluster`.
fn format_members(cluster: &[(String, Vec<Url>)]) -> String {
    let parts = cluster
        .iter()
        .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")));
    parts.collect::<Vec<_>>().join(",")
}

/// Parses registered values (`NAME=URL,…`) into members sorted by name, each with sorted URLs. Fails for an invalid value.
fn registered(values: Vec<String>) -> Result<Vec<(String, Vec<Url>)>, DiscoverError> {
    let mut cluster = Vec::new();
    for value in values {
        match members(&value) {
            Ok(of_value) => cluster.extend(of_value),
            Err(source) => {
                return Err(DiscoverError::Registrations { registered: value, source });
            }
        }
    }
    cluster.iter_mut().for_each(|(_, urls)| urls.sort());
    cluster.sort();
    Ok(cluster)
}

/// Fails if a name or a URL occurs twice.
fn check_distinct(cluster: &[(String, Vec<Url>)]) -> Result<(), DiscoverError> {
    let (mut names, mut urls) = (HashSet::new(), HashSet::new());
    let distinct = cluster.iter().all(|(name, of_member)| {
        names.insert(name) && of_member.iter().all(|url| urls.insert(url))
    });
    match distinct {
        true => Ok(()),
        false => Err(DiscoverError::NotDistinct(format_members(cluster))),
    }
}

#[cfg(test)]
mod tests {
    use witan_config::{SrvDiscovery, V2Discovery};

    use super::*;

    #[tokio::test]
    async fn a_member_without_state_discovers_its_cluster() {
        let asked = V2Discovery { url: "not a URL".into(), proxy: None };
        let config = Config { discovery: Some(Discovery::V2(asked)), ..Config::default() };
        let found = Some(DataIdentity::new(1, MemberId(7)));
        for (found, has_state, asks) in [
            (None, false, true),
            // The process was killed after it had written the identity.
            (found, false, true),
            (found, true, false),
        ] {
            let completed = complete(config.clone(), found, has_state).await;
            assert_eq!(completed.is_err(), asks, "{found:?} {has_state}");
        }
    }

    #[tokio::test]
    async fn a_joining_member_uses_only_srv_records() {
        let v2 = V2Discovery { url: "not a URL".into(), proxy: None };
        // The name is too long for DNS.
        let srv = SrvDiscovery { domain: "x".repeat(64), suffix: None, server: None };
        for (discovery, asks) in [(Discovery::V2(v2), false), (Discovery::Srv(srv), true)] {
            let config = Config {
                discovery: Some(discovery),
                initial_cluster_state: ClusterState::Existing,
                ..Config::default()
            };
            let completed = complete(config.clone(), None, false).await;
            assert_eq!(completed.is_err(), asks, "{:?}", config.discovery);
            assert!(complete(config, None, true).await.is_ok());
        }
    }

    #[test]
    fn a_registration_exists_if_the_data_directory_has_its_id() {
        let config = Config::default();
        let of = |found| own_registration(&config, found, "token");
        let id = of(None).id;
        let identity = |id| Some(DataIdentity::new(1, id));
        assert!(!of(None).exists && !of(identity(MemberId(7))).exists);
        assert!(of(identity(id)).exists);
    }

    #[test]
    fn registrations_become_separate_members() {
        let of = |values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            let cluster = registered(values).map_err(|error| error.to_string())?;
            check_distinct(&cluster).map_err(|error| error.to_string())?;
            Ok::<_, String>(format_members(&cluster))
        };
        assert_eq!(
            of(&["b=http://b:1", "a=http://a:2,a=http://a:1"]).unwrap(),
            "a=http://a:1,a=http://a:2,b=http://b:1"
        );
        for (values, part) in [
            (["a=http://a:1", "a=http://b:1"], "duplicate names"),
            (["a=http://a:1", "b=http://a:1"], "duplicate names"),
            (["a=http://a:1", "http://b:1"], "not NAME=URL"),
            (["a=http://a:1", "b=ftp://b:1"], "URL scheme"),
        ] {
            let refusal = of(&values).unwrap_err();
            assert!(refusal.contains(part), "{values:?}: {refusal}");
        }
    }
}
