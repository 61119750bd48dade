//! Decides how a member without data starts: it starts a new cluster or joins a running one.
//!
//! Not here: taking over etcd's data (`witan_adopt`) and copying another cluster (`witan_follow`).
//!
//! Reading order: `discover` (finds the initial members of a new cluster) → this file (the first state) → `join` (queries the
//! members of a running cluster) → `etcd` (refuses clusters with etcd members).

pub mod discover;
mod etcd;
pub mod join;

use std::{collections::hash_map::RandomState, hash::BuildHasher as _};

use witan_api::ids;
use witan_config::Config;
use witan_machine::{
    member::{Member, MemberId},
    view::View,
};
use witan_node::now_ns;
use witan_replica::replica::genesis;
use witan_storage::DataIdentity;

pub use etcd::EtcdMember;

/// The identity and the first state of a member without data.
pub type FirstState = (DataIdentity, Box<View>);

/// Returns the identity and the first state of a member that starts a new cluster.
pub fn new_cluster(config: &Config) -> FirstState {
    let members = first_members(config);
    let ids: Vec<u64> = members.iter().map(|m| m.id).collect();
    let cluster_id = ids::cluster_id(&ids);
    let identity = DataIdentity::new(cluster_id, own_id(config));
    (identity, Box::new(genesis(cluster_id, members)))
}

/// Returns a random id for a cluster that follows another cluster, so that other members refuse an initial member that lost its
/// data. `begun` is the identity that the flags give. If the first startup was interrupted and the directory already has an
/// identity (`found`) of the same member, returns the cluster id in `found`.
pub fn followed_cluster_id(begun: DataIdentity, found: Option<DataIdentity>) -> u64 {
    if let Some(found) = found.filter(|found| found.member_id == begun.member_id) {
        return found.cluster_id;
    }
    let drawn = RandomState::new().hash_one(now_ns());
    ids::drawn_cluster_id(&[begun.member_id.0], drawn)
}

/// Returns the id of this member in a new cluster, or [`MemberId::NONE`] if `--initial-cluster` does not contain it.
fn own_id(config: &Config) -> MemberId {
    let members = first_members(config);
    let mut named = members.iter().zip(&config.initial_cluster);
    let own = named.find(|(_, (name, _))| *name == config.name);
    own.map_or(MemberId::NONE, |(member, _)| member.member_id())
}

/// Returns the members of `--initial-cluster` with their computed ids and without names.
fn first_members(config: &Config) -> Vec<Member> {
    let member = |(_, urls): &(String, Vec<witan_config::Url>)| {
        let mut peer_urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
        peer_urls.sort_unstable();
        let id = ids::member_id(&peer_urls, &config.initial_cluster_token, None);
        // The member publishes its name later.
        Member { id, peer_urls, ..Member::default() }
    };
    config.initial_cluster.iter().map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process can crash between writing the directory's identity and writing the first state.
    #[test]
    fn a_cluster_that_follows_draws_its_id_once() {
        let begun = DataIdentity::new(1, MemberId(7));
        let drawn = followed_cluster_id(begun, None);
        assert_ne!(drawn, followed_cluster_id(begun, None));
        let found = DataIdentity::new(drawn, MemberId(7));
        assert_eq!(followed_cluster_id(begun, Some(found)), drawn);
        let other = DataIdentity::new(drawn, MemberId(8));
        assert_ne!(followed_cluster_id(begun, Some(other)), drawn);
    }
}
