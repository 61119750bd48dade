//! The member book: identity, URLs and role of every member, and the ids of those removed.

use imbl::{OrdMap, OrdSet};

use super::{
    command::{PeerUrls, Publish},
    record::{Change, Corrupt},
};

/// One member as the cluster knows it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Member {
    /// Computed as etcd computes it; never reused.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Empty until the member has started for the first time.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Where other members reach it.
    #[prost(string, repeated, tag = "3")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    #[prost(string, repeated, tag = "4")]
    pub client_urls: Vec<String>,
    /// Receives the log, does not vote.
    #[prost(bool, tag = "5")]
    pub learner: bool,
}

/// All members by id, in the numeric order in which etcd lists them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    /// Computed once from the first members' ids.
    pub cluster_id: u64,
    /// `MAJOR.MINOR.0`, empty until the leader has decided it.
    pub cluster_version: String,
    /// `MAJOR.MINOR.0` that the cluster is to be brought down to, empty for none.
    pub downgrade_target: String,
    /// Present members.
    pub book: OrdMap<u64, Member>,
    /// Ids that were removed and may never come back.
    pub removed: OrdSet<u64>,
}

/// Why the member book was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such member, or no more.
    #[error("member not found")]
    NotFound,
    /// Another member has such a URL.
    #[error("peer URL exists")]
    PeerUrlExists,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(fixed64, tag = "1")]
    cluster_id: u64,
    #[prost(string, tag = "2")]
    cluster_version: String,
    #[prost(message, repeated, tag = "3")]
    book: Vec<Member>,
    #[prost(fixed64, repeated, tag = "4")]
    removed: Vec<u64>,
    #[prost(string, tag = "5")]
    downgrade_target: String,
}

impl Members {
    /// A member that is unknown (removed meanwhile) is left unknown.
    pub(crate) fn publish(&mut self, publish: &Publish) {
        if let Some(member) = self.book.get_mut(&publish.id) {
            member.name.clone_from(&publish.name);
            member.client_urls.clone_from(&publish.client_urls);
        }
    }

    /// Refused if the member is not there, or if another one has such a URL.
    pub(crate) fn set_peer_urls(&mut self, asked: &PeerUrls) -> Result<(), Error> {
        let taken = |member: &Member| {
            let mut urls = member.peer_urls.iter();
            member.id != asked.id && urls.any(|url| asked.peer_urls.contains(url))
        };
        if self.book.values().any(taken) {
            return Err(Error::PeerUrlExists);
        }
        let member = self.book.get_mut(&asked.id).ok_or(Error::NotFound)?;
        member.peer_urls.clone_from(&asked.peer_urls);
        Ok(())
    }

    pub(crate) fn changes(&self, since: Option<&Members>, emit: &mut dyn FnMut(Change)) {
        if since == Some(self) {
            return;
        }
        let stored = Stored {
            cluster_id: self.cluster_id,
            cluster_version: self.cluster_version.clone(),
            book: self.book.values().cloned().collect(),
            removed: self.removed.iter().copied().collect(),
            downgrade_target: self.downgrade_target.clone(),
        };
        emit(Change::Put {
            key: Vec::new(),
            value: prost::Message::encode_to_vec(&stored),
        });
    }

    pub(crate) fn load(&mut self, _key: &[u8], value: &[u8]) -> Result<(), Corrupt> {
        let stored: Stored =
            prost::Message::decode(value).map_err(|e| Corrupt::new(format!("members: {e}")))?;
        self.cluster_id = stored.cluster_id;
        self.cluster_version = stored.cluster_version;
        self.book = stored.book.into_iter().map(|m| (m.id, m)).collect();
        self.removed = stored.removed.into_iter().collect();
        self.downgrade_target = stored.downgrade_target;
        Ok(())
    }
}
