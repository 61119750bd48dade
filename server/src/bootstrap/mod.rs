//! Decides how a member starts: with a new cluster, or from its data directory. The decision is
//! pure; `boot` carries it out, after `discover` has found the members of a new cluster.

pub mod discover;

use witan_api::ids;
use witan_replica::{
    machine::{member::Member, record::CorruptRecord, view::View},
    replica::genesis,
};

use crate::{config::Config, storage::DataIdentity};

/// What a member starts from.
#[derive(Debug)]
pub enum Start {
    /// The data directory is empty: start a new cluster.
    Fresh {
        /// Identity computed from the configuration, to be written first.
        identity: DataIdentity,
        /// Initial state of the cluster.
        genesis: Box<View>,
    },
    /// The data directory determines the identity; as in etcd the flags about the initial cluster
    /// are ignored.
    Restart {
        /// Read from the directory.
        identity: DataIdentity,
        /// Whether the flags would now result in another identity.
        flags_differ: bool,
    },
}

/// Decides from the configuration and the identity in the data directory, if any.
pub fn decide(config: &Config, found: Option<DataIdentity>) -> Start {
    let members = first_members(config);
    let ids: Vec<u64> = members.iter().map(|m| m.id).collect();
    let cluster_id = ids::cluster_id(&ids);
    let own = members
        .iter()
        .zip(&config.initial_cluster)
        .find(|(_, (n, _))| *n == config.name);
    let own_id = own.map_or(0, |(member, _)| member.id);
    match found {
        Some(identity) => {
            // discovery is skipped, so that its members are not known
            let flags_differ = config.discovery.is_none()
                && (identity.cluster_id != cluster_id || identity.member_id != own_id);
            Start::Restart {
                identity,
                flags_differ,
            }
        }
        None => Start::Fresh {
            identity: DataIdentity::new(cluster_id, own_id),
            genesis: Box::new(genesis(cluster_id, members)),
        },
    }
}

fn first_members(config: &Config) -> Vec<Member> {
    let member = |(_, urls): &(String, Vec<crate::config::Url>)| {
        let mut peer_urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
        peer_urls.sort_unstable();
        let id = ids::member_id(&peer_urls, &config.initial_cluster_token, None);
        // the name is set by the member's first publication
        Member {
            id,
            peer_urls,
            ..Member::default()
        }
    };
    config.initial_cluster.iter().map(member).collect()
}

/// The initial state for a directory with an identity and nothing else, whose first start was
/// interrupted. The flags must be unchanged.
pub fn first_state(config: &Config, identity: &DataIdentity) -> Result<Box<View>, CorruptRecord> {
    match decide(config, None) {
        Start::Fresh {
            identity: now,
            genesis,
        } if now == *identity => Ok(genesis),
        Start::Fresh { .. } | Start::Restart { .. } => Err(CorruptRecord::new(
            "it has an identity but no state, and the flags give another identity",
        )),
    }
}
