//! The members and the cluster version (`/0`). Changes advance the v2 index even in releases of etcd that also store the
//! members in the backend.

use serde::{Deserialize, Serialize};
use witan_machine::{
    command::{ChangeMembers, ClusterVersion, PublishAttributes, UpdatePeerUrls},
    member::{Member, MemberId, MemberRegistry},
};
use witan_tree::{Create, Delete, Set, TreeOperation, Update};

use super::{V2Store, V2StoreError, decode};

pub(super) const MEMBERS: &str = "/0/members";
pub(super) const ATTRIBUTES: &str = "attributes";
pub(super) const VERSION: &str = "/0/version";
const RAFT_ATTRIBUTES: &str = "raftAttributes";
const REMOVED: &str = "/0/removed_members";

/// etcd's `RaftAttributes`, which membership changes set.
#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct RaftAttributes {
    #[serde(rename = "peerURLs")]
    peer_urls: Option<Vec<String>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
}

/// etcd's `Attributes`, which a member publishes about itself.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Attributes {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "clientURLs", skip_serializing_if = "Option::is_none")]
    client_urls: Option<Vec<String>>,
}

/// Parses the JSON of a member's name and client URLs.
pub(super) fn parse_attributes(id: u64, json: &[u8]) -> Result<PublishAttributes, V2StoreError> {
    let read: Attributes = serde_json::from_slice(json)
        .map_err(|error| V2StoreError(format!("attributes of member {id:x}: {error}")))?;
    let client_urls = read.client_urls.unwrap_or_default();
    Ok(PublishAttributes {
        id,
        name: read.name,
        client_urls,
        ..PublishAttributes::default()
    })
}

/// Returns the path of a member's directory in the store.
fn path_of(id: u64) -> String {
    format!("{MEMBERS}/{id:x}")
}

/// Encodes a member's peer URLs and role as JSON, as etcd does.
fn raft_attributes(peer_urls: &[String], is_learner: bool) -> Vec<u8> {
    let peer_urls = Some(peer_urls.to_vec());
    let value = serde_json::to_vec(&RaftAttributes { peer_urls, is_learner });
    value.expect("strings serialize to JSON")
}

impl V2Store {
    /// Returns the members, the ids of removed members, and the cluster version. The cluster id stays 0, because the store does
    /// not contain it. Fails if a member's id is invalid, or if a file of a member is unknown or cannot be decoded.
    pub fn members(&self) -> Result<MemberRegistry, V2StoreError> {
        let id_of = |text: &str| {
            let id = u64::from_str_radix(text, 16);
            id.map_err(|_| V2StoreError(format!("\"{text}\" is not a member id")))
        };
        let mut registry = MemberRegistry::default();
        for (path, value) in self.files(MEMBERS)? {
            let (id, file) = path.split_once('/').unwrap_or((&path, ""));
            let id = id_of(id)?;
            let new = || Member { id, ..Member::default() };
            let member = registry.by_id.entry(MemberId(id)).or_insert_with(new);
            if file == RAFT_ATTRIBUTES {
                let read: RaftAttributes = decode(&path, &value)?;
                member.peer_urls = read.peer_urls.unwrap_or_default();
                member.learner = read.is_learner;
            } else if file == ATTRIBUTES {
                let read = parse_attributes(id, &value)?;
                (member.name, member.client_urls) = (read.name, read.client_urls);
            } else {
                return Err(V2StoreError(format!("unknown member file \"{path}\"")));
            }
        }
        for (id, _) in self.files(REMOVED)? {
            registry.removed_ids.insert(MemberId(id_of(&id)?));
        }
        let version = self.value(VERSION).unwrap_or_default();
        registry.cluster_version = String::from_utf8_lossy(&version).into_owned();
        Ok(registry)
    }

    /// Executes a configuration change from the log. Has no effect if the member to change is missing, or if the member to add
    /// exists or was removed.
    pub fn change_members(&mut self, change: &ChangeMembers) {
        if let Some(member) = &change.add {
            self.add_member(member);
        } else if change.promote != 0 {
            self.update_member(change.promote, |known| known.is_learner = false);
        } else {
            let path = path_of(change.remove).into();
            let removed = self.write(TreeOperation::Delete(Delete {
                path,
                dir: true,
                recursive: true,
            }));
            let path = format!("{REMOVED}/{:x}", change.remove).into();
            if removed {
                self.write(TreeOperation::Create(Create { path, ..Create::default() }));
            }
        }
    }

    /// Creates the node with a member's raft attributes. Does nothing if the member exists or was removed.
    fn add_member(&mut self, member: &Member) {
        let removed = format!("{REMOVED}/{:x}", member.id);
        if self.value(&removed).is_none() {
            let path = format!("{}/{RAFT_ATTRIBUTES}", path_of(member.id)).into();
            let value = raft_attributes(&member.peer_urls, member.learner).into();
            self.write(TreeOperation::Create(Create {
                path,
                value,
                ..Create::default()
            }));
        }
    }

    /// Executes an update of a member's peer URLs from the log. Has no effect if the member is missing.
    pub fn set_peer_urls(&mut self, change: &UpdatePeerUrls) {
        self.update_member(change.id, |known| {
            known.peer_urls = Some(change.peer_urls.clone());
        });
    }

    /// Applies `change` to a member's raft attributes. Attributes that cannot be decoded are treated as empty. Does nothing if
    /// the member is missing.
    fn update_member(&mut self, id: u64, change: impl FnOnce(&mut RaftAttributes)) {
        let path = format!("{}/{RAFT_ATTRIBUTES}", path_of(id));
        let known = self.value(&path).unwrap_or_default();
        let mut known: RaftAttributes = serde_json::from_slice(&known).unwrap_or_default();
        change(&mut known);
        let value = raft_attributes(&known.peer_urls.unwrap_or_default(), known.is_learner).into();
        self.write(TreeOperation::Update(Update {
            path: path.into(),
            value,
            ..Update::default()
        }));
    }

    /// Executes a v3 request that sets a member's attributes (logged since etcd 3.5), unless the member is missing.
    pub fn publish(&mut self, change: &PublishAttributes) {
        if self.has_member(change.id) {
            let attributes = Attributes {
                name: change.name.clone(),
                client_urls: Some(change.client_urls.clone()).filter(|urls| !urls.is_empty()),
            };
            let value = serde_json::to_vec(&attributes).expect("strings serialize to JSON");
            let path = format!("{}/{ATTRIBUTES}", path_of(change.id)).into();
            self.write(TreeOperation::Set(Set {
                path,
                value: value.into(),
                ..Set::default()
            }));
        }
    }

    /// Executes a v3 request that sets the cluster version (`ClusterVersionSet`, since etcd 3.5).
    pub fn set_cluster_version(&mut self, change: &ClusterVersion) {
        let (path, value) = (VERSION.into(), change.version.clone().into());
        self.write(TreeOperation::Set(Set { path, value, ..Set::default() }));
    }

    pub(super) fn has_member(&self, id: u64) -> bool {
        self.tree.get(path_of(id).as_bytes(), false, 0).is_ok()
    }
}
