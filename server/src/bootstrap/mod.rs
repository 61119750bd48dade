//! Decides how a member starts: with a new cluster, with a running one (`join`), or from its data
//! directory. The decision is pure; `boot` carries it out, after `discover` has found the members of a new
//! cluster. `etcd` recognizes members of etcd among them.

pub mod discover;
pub mod etcd;
pub mod join;

use witan_api::ids;
use witan_config::{ClusterState, Config};
use witan_machine::{
    member::{Member, MemberId},
    record::CorruptRecord,
    view::View,
};
use witan_replica::replica::genesis;
use witan_storage::DataIdentity;

use join::JoinedCluster;

/// The state that a member starts from.
#[derive(Debug)]
pub enum Start {
    /// The data directory is empty: start a new cluster, or join one.
    Fresh {
        /// Identity computed from the configuration, or known to the cluster, to be written first.
        identity: DataIdentity,
        /// Initial state of the cluster, or none yet.
        state: Box<View>,
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

/// Decides from the configuration, the identity in the data directory, if any, and the running cluster that
/// this member joins, if any.
pub fn decide(
    config: &Config,
    found: Option<DataIdentity>,
    joined: Option<&JoinedCluster>,
) -> Start {
    let (identity, state) = beginning(config, joined);
    match found {
        // the flags do not say which id a member has that joined, and discovery is skipped
        Some(found) => Start::Restart {
            flags_differ: found != identity
                && config.initial_cluster_state == ClusterState::New
                && config.discovery.is_none(),
            identity: found,
        },
        None => Start::Fresh { identity, state },
    }
}

/// Returns the identity and the first state of a member without data.
fn beginning(config: &Config, joined: Option<&JoinedCluster>) -> (DataIdentity, Box<View>) {
    if let Some(joined) = joined {
        return (joined.identity, joined.state());
    }
    let members = first_members(config);
    let ids: Vec<u64> = members.iter().map(|m| m.id).collect();
    let cluster_id = ids::cluster_id(&ids);
    let identity = DataIdentity::new(cluster_id, own_id(config));
    (identity, Box::new(genesis(cluster_id, members)))
}

/// Returns the id of this member in a new cluster; 0 if `--initial-cluster` does not name it.
fn own_id(config: &Config) -> MemberId {
    let members = first_members(config);
    let mut named = members.iter().zip(&config.initial_cluster);
    let own = named.find(|(_, (name, _))| *name == config.name);
    own.map_or(MemberId::NONE, |(member, _)| member.member_id())
}

/// Returns the members of `--initial-cluster` with their computed ids. They have no names until they publish
/// themselves.
fn first_members(config: &Config) -> Vec<Member> {
    let member = |(_, urls): &(String, Vec<witan_config::Url>)| {
        let mut peer_urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
        peer_urls.sort_unstable();
        let id = ids::member_id(&peer_urls, &config.initial_cluster_token, None);
        // the name is set by the member's first publication
        Member { id, peer_urls, ..Member::default() }
    };
    config.initial_cluster.iter().map(member).collect()
}

/// Returns the initial state for a directory with an identity and nothing else, whose first start was
/// interrupted. The flags must be unchanged.
pub fn first_state(
    config: &Config,
    found: &DataIdentity,
    joined: Option<&JoinedCluster>,
) -> Result<Box<View>, CorruptRecord> {
    let (identity, state) = beginning(config, joined);
    if identity == *found {
        return Ok(state);
    }
    Err(CorruptRecord::new(
        "it has an identity but no state, and the flags give another identity",
    ))
}
