//! The member registry: identity, URLs and role of every member, and the ids of removed members. The commands that change the
//! registry are payloads of log entries, so field numbers never change.

use std::{collections::BTreeSet, fmt};

use imbl::{OrdMap, OrdSet};

use super::{
    levels::{self, Level},
    record::{self, CorruptRecord, Emit, RecordChange},
};

/// A member's id, which Raft also uses. An id is never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MemberId(pub u64);

impl MemberId {
    /// No member. As a leader's id, it means that no leader is known.
    pub const NONE: Self = Self(0);
}

/// Formats the id as hexadecimal digits without leading zeros, as in etcd's logs, metrics and v2 JSON.
impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The identity of a member's data directory. A new, copied or emptied directory has a different store id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreLineage {
    /// The store id; 0 for no id. At startup, the member draws a random id for a new or copied directory.
    pub id: u64,
    /// The store ids of the directories from which this directory was copied, latest first.
    pub ancestors: Vec<u64>,
}

impl StoreLineage {
    /// Returns whether a member with the store id `registered` can run with this directory. The member can do so if no id is
    /// registered (0), the ids are equal, or this directory is a copy of the registered directory.
    pub fn continues(&self, registered: u64) -> bool {
        registered == 0 || self.id == registered || self.ancestors.contains(&registered)
    }
}

/// A member of the cluster.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Member {
    /// The member's id, computed as in etcd and never reused.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// The member's name; empty until the member first starts.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The URLs at which other members reach the member.
    #[prost(string, repeated, tag = "3")]
    pub peer_urls: Vec<String>,
    /// The URLs at which clients reach the member; empty until the member first starts.
    #[prost(string, repeated, tag = "4")]
    pub client_urls: Vec<String>,
    /// Whether the member receives the log without voting.
    #[prost(bool, tag = "5")]
    pub learner: bool,
    /// The store id of the member's data directory; 0 until the member first starts.
    #[prost(fixed64, tag = "6")]
    pub store_id: u64,
}

/// A member's attributes, which it publishes at each startup.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PublishAttributes {
    /// Member id.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// `--name`.
    #[prost(string, tag = "2")]
    pub name: String,
    /// `--advertise-client-urls`.
    #[prost(string, repeated, tag = "3")]
    pub client_urls: Vec<String>,
    /// The store id of the member's data directory; 0 if the id is unknown.
    #[prost(fixed64, tag = "4")]
    pub store_id: u64,
    /// Ancestors of the directory ([`StoreLineage::ancestors`]).
    #[prost(fixed64, repeated, tag = "5")]
    pub store_ancestors: Vec<u64>,
}

/// Replaces a member's peer URLs.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UpdatePeerUrls {
    /// Member id.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// The new peer URLs.
    #[prost(string, repeated, tag = "2")]
    pub peer_urls: Vec<String>,
}

/// Adds, removes or promotes one member.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ChangeMembers {
    /// The member to add.
    #[prost(message, optional, tag = "1")]
    pub add: Option<Member>,
    /// Maximum number of learners after the addition.
    #[prost(uint32, tag = "2")]
    pub learners_max: u32,
    /// Id of the member to remove; 0 if no member is removed.
    #[prost(fixed64, tag = "3")]
    pub remove: u64,
    /// Id of the learner to promote; 0 if no learner is promoted.
    #[prost(fixed64, tag = "4")]
    pub promote: u64,
    /// Whether the change may add and remove voters and promote learners. Otherwise, it may only add and remove learners.
    #[prost(bool, tag = "5")]
    pub voters: bool,
}

/// Sets the cluster version, the feature level, or both.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClusterVersion {
    /// The version, `MAJOR.MINOR.0`; an empty version changes nothing.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The feature level; 0 keeps the level, which never falls.
    #[prost(uint32, tag = "2")]
    pub level: Level,
}

impl ClusterVersion {
    /// Creates a command that sets the cluster version alone.
    pub fn of(version: impl Into<String>) -> Self {
        Self { version: version.into(), level: 0 }
    }
}

/// Starts or cancels a downgrade of the cluster.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Downgrade {
    /// Target version, `MAJOR.MINOR.0`; an empty target cancels the downgrade.
    #[prost(string, tag = "1")]
    pub target: String,
}

/// The current members, the ids of removed members, and the data about the cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberRegistry {
    /// The cluster id, computed once from the initial members' ids.
    pub cluster_id: u64,
    /// The cluster version `MAJOR.MINOR.0`; empty until the leader has decided the version.
    pub cluster_version: String,
    /// The downgrade target `MAJOR.MINOR.0`; empty if no downgrade is in progress.
    pub downgrade_target: String,
    /// Whether the cluster follows another cluster and refuses client writes.
    pub follows: bool,
    /// The last attempt at a cut-over; only this attempt can succeed. After the cut-over, this number identifies the source's
    /// last fence.
    pub cut_over_attempt: u32,
    /// The last copied revision of the source, after which the source must refuse writes. The revision is 0 before the
    /// cut-over, and after an operator has declared the source gone.
    pub fenced_at: i64,
    /// The id of the followed cluster; 0 if no cluster was followed or the id is unknown.
    pub source_cluster_id: u64,
    /// The feature level, or 0 while the level is the first level. See [`Self::level`].
    pub raised_level: Level,
    /// The current members by id, in the numeric order in which etcd lists them.
    pub by_id: OrdMap<MemberId, Member>,
    /// Ids of removed members, which are never reused.
    pub removed_ids: OrdSet<MemberId>,
}

/// The reason why the member registry was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// The member does not exist, or the member to add has been removed.
    #[error("member not found")]
    NotFound,
    /// Another member has one of the URLs.
    #[error("peer URL exists")]
    PeerUrlExists,
    /// A member with this id exists.
    #[error("member exists")]
    Exists,
    /// The maximum number of learners is reached.
    #[error("too many learners")]
    TooManyLearners,
    /// The member is a voter, and only a learner can be changed in this way.
    #[error("not a learner")]
    NotLearner,
    /// The change would remove the last voter.
    #[error("the last voter")]
    LastVoter,
}

/// Size in bytes of a member in addition to its name and URLs.
const MEMBER_BYTES: u64 = 256;

/// Size in bytes of a removed member's id.
const REMOVED_BYTES: u64 = 64;

/// Returns the size of a member in bytes: `MEMBER_BYTES`, its name and its URLs.
fn of_member(member: &Member) -> u64 {
    let urls = member.peer_urls.iter().chain(&member.client_urls);
    MEMBER_BYTES + urls.map(|url| url.len() as u64).sum::<u64>() + member.name.len() as u64
}

impl MemberRegistry {
    /// Returns the client URLs of all members, sorted.
    pub fn client_urls(&self) -> Vec<&str> {
        let members = self.by_id.values();
        let urls = members.flat_map(|member| &member.client_urls);
        let mut urls: Vec<&str> = urls.map(String::as_str).collect();
        urls.sort_unstable();
        urls
    }
}

impl PublishAttributes {
    /// Creates the attributes of a member that uses the data directory `store`.
    pub fn new(id: MemberId, name: String, client_urls: Vec<String>, store: StoreLineage) -> Self {
        let StoreLineage { id: store_id, ancestors: store_ancestors } = store;
        Self { id: id.0, name, client_urls, store_id, store_ancestors }
    }

    /// Returns the store lineage of the member's data directory.
    pub fn store(&self) -> StoreLineage {
        StoreLineage { id: self.store_id, ancestors: self.store_ancestors.clone() }
    }
}

impl Member {
    /// Returns the id as a [`MemberId`].
    pub fn member_id(&self) -> MemberId {
        MemberId(self.id)
    }

    /// Records the store id of the member's data directory. Returns `false` if another directory is registered and this
    /// directory is not a copy of that directory. For the store id 0, changes nothing and returns `true`.
    fn register_store(&mut self, publish: &PublishAttributes) -> bool {
        let store = publish.store();
        if store.id == 0 {
            return true;
        }
        let continues = store.continues(self.store_id);
        if continues {
            self.store_id = store.id;
        }
        continues
    }
}

impl ChangeMembers {
    /// Returns the number of bytes that the change may add to `MemberRegistry::size_bytes`. Removals and promotions add
    /// nothing.
    pub fn growth(&self) -> u64 {
        self.add.as_ref().map_or(0, of_member)
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredRegistry {
    #[prost(fixed64, tag = "1")]
    cluster_id: u64,
    #[prost(string, tag = "2")]
    cluster_version: String,
    #[prost(message, repeated, tag = "3")]
    members: Vec<Member>,
    #[prost(fixed64, repeated, tag = "4")]
    removed: Vec<u64>,
    #[prost(string, tag = "5")]
    downgrade_target: String,
    #[prost(bool, tag = "6")]
    follows: bool,
    #[prost(uint32, tag = "7")]
    cut_over_attempt: u32,
    #[prost(fixed64, tag = "8")]
    source_cluster_id: u64,
    #[prost(int64, tag = "9")]
    fenced_at: i64,
    /// 0 at the first level, so that the record is the same as in the first release.
    #[prost(uint32, tag = "10")]
    raised_level: Level,
}

impl MemberRegistry {
    /// Returns the cluster's feature level, which all members support.
    pub fn level(&self) -> Level {
        self.raised_level.max(levels::FIRST)
    }

    /// Sets the cluster version, the feature level, or both. Returns whether the cluster version was set.
    pub(crate) fn decide_version(&mut self, decided: &ClusterVersion) -> bool {
        self.raised_level = self.raised_level.max(decided.level);
        let sets_version = !decided.version.is_empty();
        if sets_version {
            self.cluster_version.clone_from(&decided.version);
        }
        sets_version
    }

    /// Records a member's name, client URLs and store id. Ignores unknown or removed members and replaced data directories.
    pub(crate) fn publish(&mut self, publish: &PublishAttributes) {
        let Some(member) = self.by_id.get_mut(&MemberId(publish.id)) else {
            return;
        };
        if member.register_store(publish) {
            member.name.clone_from(&publish.name);
            member.client_urls.clone_from(&publish.client_urls);
        }
    }

    /// Records only a member's store id. Ignores unknown members and replaced data directories.
    pub fn register_store(&mut self, publish: &PublishAttributes) {
        if let Some(member) = self.by_id.get_mut(&MemberId(publish.id)) {
            member.register_store(publish);
        }
    }

    /// Replaces a member's peer URLs. Fails if the member does not exist, or if another member has one of the URLs.
    pub(crate) fn set_peer_urls(&mut self, asked: &UpdatePeerUrls) -> Result<(), MembershipError> {
        // Use a set, because the list can fill an entire request, and all URLs of the other members are looked up.
        let wanted: BTreeSet<&String> = asked.peer_urls.iter().collect();
        let taken = |member: &Member| {
            let mut urls = member.peer_urls.iter();
            member.id != asked.id && urls.any(|url| wanted.contains(url))
        };
        if self.by_id.values().any(taken) {
            return Err(MembershipError::PeerUrlExists);
        }
        let member = self
            .by_id
            .get_mut(&MemberId(asked.id))
            .ok_or(MembershipError::NotFound)?;
        member.peer_urls.clone_from(&asked.peer_urls);
        Ok(())
    }

    /// Adds, promotes or removes a member, with checks in etcd's order. An addition takes precedence over a promotion, and a
    /// promotion over a removal.
    pub(crate) fn change(&mut self, asked: &ChangeMembers) -> Result<(), MembershipError> {
        match &asked.add {
            Some(member) => self.add(member, asked),
            None if asked.promote != 0 => self.promote(asked),
            None => self.remove(asked),
        }
    }

    /// Adds a member. Fails if its id exists or was removed (`NotFound`), or another member has one of its peer URLs. Also
    /// fails for a voter if `voters` is not set and for a learner if there are `learners_max` learners.
    fn add(&mut self, member: &Member, asked: &ChangeMembers) -> Result<(), MembershipError> {
        if self.removed_ids.contains(&member.member_id()) {
            return Err(MembershipError::NotFound);
        }
        if self.by_id.contains_key(&member.member_id()) {
            return Err(MembershipError::Exists);
        }
        let wanted: BTreeSet<&String> = member.peer_urls.iter().collect();
        let shares = |known: &Member| {
            let mut urls = known.peer_urls.iter();
            urls.any(|url| wanted.contains(url))
        };
        if self.by_id.values().any(shares) {
            return Err(MembershipError::PeerUrlExists);
        }
        if !member.learner && !asked.voters {
            return Err(MembershipError::NotLearner);
        }
        let learners = self.by_id.values().filter(|known| known.learner).count();
        if member.learner && learners >= asked.learners_max as usize {
            return Err(MembershipError::TooManyLearners);
        }
        self.by_id.insert(member.member_id(), member.clone());
        Ok(())
    }

    /// Promotes a learner to a voter. Fails for an unknown member and for a voter, and if `voters` is not set.
    fn promote(&mut self, asked: &ChangeMembers) -> Result<(), MembershipError> {
        let member = self.by_id.get_mut(&MemberId(asked.promote));
        let member = member.ok_or(MembershipError::NotFound)?;
        if !member.learner || !asked.voters {
            return Err(MembershipError::NotLearner);
        }
        member.learner = false;
        Ok(())
    }

    /// Removes a member and records its id as removed. Fails for an unknown member, a voter if `voters` is not set, and the
    /// last voter.
    fn remove(&mut self, asked: &ChangeMembers) -> Result<(), MembershipError> {
        let id = MemberId(asked.remove);
        let member = self.by_id.get(&id).ok_or(MembershipError::NotFound)?;
        if !member.learner && !asked.voters {
            return Err(MembershipError::NotLearner);
        }
        let others = self.by_id.values().filter(|other| other.member_id() != id);
        if !member.learner && others.filter(|other| !other.learner).count() == 0 {
            return Err(MembershipError::LastVoter);
        }
        self.by_id.remove(&id);
        self.removed_ids.insert(id);
        Ok(())
    }

    /// Returns whether a member is a learner, which does not vote. Returns `false` for an unknown member.
    pub fn is_learner(&self, id: MemberId) -> bool {
        self.by_id.get(&id).is_some_and(|member| member.learner)
    }

    /// Returns whether a member votes. Returns `false` for an unknown member.
    pub fn is_voter(&self, id: MemberId) -> bool {
        self.by_id.get(&id).is_some_and(|member| !member.learner)
    }

    /// Returns the size in bytes of all members and removed ids, for the quota.
    pub fn size_bytes(&self) -> u64 {
        let members = self.by_id.values().map(of_member);
        members.sum::<u64>() + REMOVED_BYTES * self.removed_ids.len() as u64
    }

    /// Emits the registry's single record, unless the registry equals `since`. Always emits the record if `since` is `None`.
    pub(crate) fn changes(&self, since: Option<&MemberRegistry>, emit: &mut Emit<'_>) {
        if since == Some(self) {
            return;
        }
        let stored = StoredRegistry {
            cluster_id: self.cluster_id,
            cluster_version: self.cluster_version.clone(),
            members: self.by_id.values().cloned().collect(),
            removed: self.removed_ids.iter().map(|id| id.0).collect(),
            downgrade_target: self.downgrade_target.clone(),
            follows: self.follows,
            cut_over_attempt: self.cut_over_attempt,
            source_cluster_id: self.source_cluster_id,
            fenced_at: self.fenced_at,
            raised_level: self.raised_level,
        };
        emit(RecordChange::Put {
            key: Vec::new(),
            value: prost::Message::encode_to_vec(&stored),
        });
    }

    /// Replaces the registry with the registry in a checkpoint record. Fails if this release cannot read the record.
    pub(crate) fn load(&mut self, value: &[u8]) -> Result<(), CorruptRecord> {
        let stored: StoredRegistry = record::decode("members", value)?;
        self.cluster_id = stored.cluster_id;
        self.cluster_version = stored.cluster_version;
        self.by_id = stored
            .members
            .into_iter()
            .map(|m| (m.member_id(), m))
            .collect();
        self.removed_ids = stored.removed.into_iter().map(MemberId).collect();
        self.downgrade_target = stored.downgrade_target;
        self.follows = stored.follows;
        self.cut_over_attempt = stored.cut_over_attempt;
        self.source_cluster_id = stored.source_cluster_id;
        self.fenced_at = stored.fenced_at;
        self.raised_level = stored.raised_level;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a member without a name, whose only peer URL is `url`.
    fn member(id: u64, url: &str, learner: bool) -> Member {
        Member {
            id,
            peer_urls: vec![url.into()],
            learner,
            ..Member::default()
        }
    }

    fn add(member: Member, learners_max: u32) -> ChangeMembers {
        ChangeMembers { add: Some(member), learners_max, ..ChangeMembers::default() }
    }

    fn remove(remove: u64) -> ChangeMembers {
        ChangeMembers { remove, ..ChangeMembers::default() }
    }

    fn learner(id: u64, url: &str) -> ChangeMembers {
        add(member(id, url, true), 1)
    }

    /// Applies changes to a cluster whose only member is member 1.
    fn changed(changes: Vec<(ChangeMembers, Result<(), MembershipError>)>) -> MemberRegistry {
        let mut members = MemberRegistry::default();
        members.by_id.insert(MemberId(1), member(1, "a", false));
        for (change, expected) in changes {
            assert_eq!(members.change(&change), expected, "{change:?}");
        }
        members
    }

    #[test]
    fn a_change_without_voters_adds_and_removes_only_learners() {
        changed(vec![
            (learner(1, "b"), Err(MembershipError::Exists)),
            (learner(2, "a"), Err(MembershipError::PeerUrlExists)),
            (
                add(member(2, "b", false), 1),
                Err(MembershipError::NotLearner),
            ),
            (learner(2, "b"), Ok(())),
            (learner(3, "c"), Err(MembershipError::TooManyLearners)),
            (remove(1), Err(MembershipError::NotLearner)),
            (remove(4), Err(MembershipError::NotFound)),
            (remove(2), Ok(())),
            (remove(2), Err(MembershipError::NotFound)),
            // Ids are never reused.
            (learner(2, "b"), Err(MembershipError::NotFound)),
            (learner(3, "b"), Ok(())),
        ]);
    }

    #[test]
    fn only_a_copy_replaces_a_registered_store() {
        let mut members = changed(vec![]);
        let mut published = |store_id, store_ancestors: &[u64]| {
            members.publish(&PublishAttributes {
                id: 1,
                name: format!("{store_id}"),
                store_id,
                store_ancestors: store_ancestors.to_vec(),
                ..PublishAttributes::default()
            });
            let member = &members.by_id[&MemberId(1)];
            (member.store_id, member.name.clone())
        };
        let of = |store: u64, name: &str| (store, name.to_owned());
        assert_eq!(published(7, &[]), of(7, "7"));
        // An emptied directory and a copy of it.
        assert_eq!(published(8, &[]), of(7, "7"));
        assert_eq!(published(9, &[8]), of(7, "7"));
        // A copy of a copy, then the original.
        assert_eq!(published(10, &[11, 7]), of(10, "10"));
        assert_eq!(published(7, &[]), of(10, "10"));
        // A log that was adopted from etcd has no store id.
        assert_eq!(published(0, &[]), of(10, "0"));
    }

    #[test]
    fn voters_can_be_added_and_removed_except_the_last_one() {
        let voters = |change| ChangeMembers { voters: true, ..change };
        let promoted = |promote| voters(ChangeMembers { promote, ..ChangeMembers::default() });
        let begun = vec![
            (voters(remove(1)), Err(MembershipError::LastVoter)),
            (voters(add(member(2, "b", false), 0)), Ok(())),
            (learner(3, "c"), Ok(())),
            (promoted(4), Err(MembershipError::NotFound)),
            (promoted(2), Err(MembershipError::NotLearner)),
            (promoted(3), Ok(())),
        ];
        assert!(!changed(begun.clone()).by_id[&MemberId(3)].learner);
        let ended = vec![
            (voters(remove(1)), Ok(())),
            (voters(remove(2)), Ok(())),
            (voters(remove(3)), Err(MembershipError::LastVoter)),
        ];
        changed([begun, ended].concat());
    }
}
