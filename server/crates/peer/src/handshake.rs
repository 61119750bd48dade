//! The handshake of a stream between members. The opener sends its identity, the target member and the kind of stream, and the
//! other side accepts or refuses the stream. The other side also compares both members' store ids with the registered ids,
//! because a member with an emptied directory keeps its member id.
//!
//! The handshake follows the TLS handshake and precedes all messages.

use std::fmt;

use bytes::Buf as _;
use witan_base::version;
use witan_machine::{
    levels::{self, Level},
    member::{MemberId, MemberRegistry, StoreLineage},
};
use witan_replica::{host::Lane, replica::PeerEvent};
use witan_storage::ANCESTORS_MAX;

/// The first bytes of every stream between members. No HTTP request starts with them.
pub(super) const MAGIC: [u8; 7] = *b"\x89WITANP";

/// Version of the protocol. It follows [`MAGIC`] on the wire.
pub(super) const PROTOCOL: u8 = 1;

/// Maximum size in bytes of a handshake, its response, a pong or a request body; a longer message is refused. A handshake omits
/// URLs that do not fit.
pub(super) const HANDSHAKE_BYTES_MAX: usize = 2 << 10;

/// Separates the release from its feature level in a handshake. The level is build metadata of the version.
const LEVEL_MARK: &str = "+level.";

/// The kind of a stream. It determines the messages that the stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum StreamKind {
    /// Heartbeats, votes, and other short, urgent messages.
    Control = 1,
    /// Entries and forwarded proposals.
    Bulk = 2,
    Snapshot = 3,
}

impl StreamKind {
    /// Returns the kind that a byte encodes, or `None` if this release does not know it.
    fn of(byte: u8) -> Option<Self> {
        [Self::Control, Self::Bulk, Self::Snapshot]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// Returns the kind's name in logs.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Bulk => "bulk",
            Self::Snapshot => "snapshot",
        }
    }

    /// Returns the lane whose messages the stream carries.
    pub(super) fn lane(self) -> Lane {
        match self {
            Self::Control => Lane::Control,
            Self::Bulk | Self::Snapshot => Lane::Bulk,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    pub(super) cluster_id: u64,
    pub(super) from: MemberId,
    pub(super) to: MemberId,
    /// The lineage of the opener's data directory.
    pub(super) store: StoreLineage,
    /// The target's store id as the opener knows it, or 0 if the opener does not know it.
    pub(super) to_store: u64,
    pub(super) kind: StreamKind,
    /// The opener's release with its feature level, such as `0.1.0+level.1` ([`announced_release`]).
    pub(super) release: String,
    /// The opener's peer URLs, for a target that does not know the opener yet.
    pub(super) peer_urls: Vec<String>,
}

/// Returns the release that handshakes announce.
pub(super) fn announced_release() -> String {
    format!("{}{LEVEL_MARK}{}", version::WITAN, levels::OWN)
}

/// Size in bytes of the handshake's fixed fields, including the number of ancestors of the opener's data directory.
const FIXED_BYTES: usize = 42;

impl Handshake {
    /// Encodes the contents of a handshake's frame. Omits ancestors beyond `ANCESTORS_MAX`, and URLs that do not fit.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_BYTES + self.release.len());
        let ancestors = &self.store.ancestors[..self.store.ancestors.len().min(ANCESTORS_MAX)];
        let (cluster_id, store_id) = (self.cluster_id, self.store.id);
        for id in [cluster_id, self.from.0, self.to.0, store_id, self.to_store] {
            out.extend_from_slice(&id.to_be_bytes());
        }
        out.push(self.kind as u8);
        out.push(u8::try_from(ancestors.len()).unwrap_or_default());
        for id in ancestors {
            out.extend_from_slice(&id.to_be_bytes());
        }
        out.extend_from_slice(self.release.as_bytes());
        for url in &self.peer_urls {
            if out.len() + 1 + url.len() <= HANDSHAKE_BYTES_MAX {
                out.push(0);
                out.extend_from_slice(url.as_bytes());
            }
        }
        out
    }

    /// Decodes the contents of a handshake's frame, or returns `None` if the contents are invalid.
    pub(super) fn decode(contents: &[u8]) -> Option<Self> {
        if contents.len() > HANDSHAKE_BYTES_MAX {
            return None;
        }
        let (mut fixed, mut rest) = contents.split_at_checked(FIXED_BYTES)?;
        let [cluster_id, from, to, store_id, to_store] = [(); 5].map(|()| fixed.get_u64());
        let (kind, count) = (fixed.get_u8(), usize::from(fixed.get_u8()));
        if count > ANCESTORS_MAX || rest.len() < 8 * count {
            return None;
        }
        let ancestors = (0..count).map(|_| rest.get_u64()).collect();
        let mut texts = std::str::from_utf8(rest)
            .ok()?
            .split('\0')
            .map(str::to_owned);
        Some(Self {
            cluster_id,
            from: MemberId(from),
            to: MemberId(to),
            store: StoreLineage { id: store_id, ancestors },
            to_store,
            kind: StreamKind::of(kind)?,
            release: texts.next()?,
            peer_urls: texts.collect(),
        })
    }

    /// Checks whether the member `own` with the data directory `store` accepts this stream. Fails with the refusal that the
    /// caller must send.
    pub(super) fn check(
        &self,
        (own, store): (MemberId, &StoreLineage),
        members: &MemberRegistry,
    ) -> Result<(), Refusal> {
        if self.cluster_id != members.cluster_id {
            return Err(Refusal::ClusterId(members.cluster_id));
        }
        if self.to != own {
            return Err(Refusal::WrongTarget(own));
        }
        if self.from == own {
            return Err(Refusal::ForeignIdentity);
        }
        if members.removed_ids.contains(&self.from) {
            return Err(Refusal::Removed);
        }
        if self.level() < members.level() {
            return Err(Refusal::Level(members.level()));
        }
        let known = members.by_id.get(&self.from).ok_or(Refusal::Unknown)?;
        if !self.store.continues(known.store_id) {
            return Err(Refusal::Store(known.store_id));
        }
        if !store.continues(self.to_store) {
            return Err(Refusal::TargetStore(store.id));
        }
        Ok(())
    }

    /// Returns the feature level of the opener's release. A release that announces no valid level has the first level.
    fn level(&self) -> Level {
        let level = self.release.rsplit_once(LEVEL_MARK);
        let level = level.and_then(|(_, level)| level.parse().ok());
        level.unwrap_or(levels::FIRST)
    }

    /// Returns whether the opener uses a copy of its registered data directory, or `false` for an unknown opener. Call this
    /// after [`Self::check`], because any other data directory would otherwise be regarded as a copy.
    pub(super) fn is_copy(&self, members: &MemberRegistry) -> bool {
        let known = members.by_id.get(&self.from);
        known.is_some_and(|known| known.store_id != 0 && known.store_id != self.store.id)
    }
}

/// The reason why a stream is refused. In these comments, "this member" is the member that refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This member uses another version of the protocol.
    Protocol(u8),
    /// The opener belongs to another cluster.
    ClusterId(u64),
    /// A member other than the target listens at this address.
    WrongTarget(MemberId),
    /// The opener claims to be the member that it connects to.
    ForeignIdentity,
    /// The opener was removed from the cluster.
    Removed,
    /// The opener is not in the cluster, or its addition is not applied here yet.
    Unknown,
    Malformed,
    /// The opener's certificate is not valid for its peer URLs, but the certificate of another open stream of that member is.
    Certificate,
    /// Another data directory is registered for the opener.
    Store(u64),
    /// This member does not use its registered data directory.
    TargetStore(u64),
    /// The opener uses a copy of a data directory, and a stream from the original is open.
    Copy,
    /// The cluster has this feature level, which the opener's release does not support.
    Level(Level),
}

impl Refusal {
    /// Returns a refusal's code and value on the wire, its name in metrics and logs, and the event that reports it to the
    /// replica. The value is 0 for most refusals, and only permanent refusals have an event.
    fn parts(self) -> (u8, u64, &'static str, Option<PeerEvent>) {
        match self {
            Self::Protocol(version) => (1, version.into(), "protocol", None),
            Self::ClusterId(id) => (2, id, "cluster_id", None),
            Self::WrongTarget(id) => (3, id.0, "wrong_target", None),
            Self::ForeignIdentity => (4, 0, "foreign_identity", None),
            Self::Removed => (5, 0, "removed", Some(PeerEvent::RemovedHere)),
            Self::Unknown => (6, 0, "unknown_member", None),
            Self::Malformed => (7, 0, "malformed", None),
            Self::Certificate => (9, 0, "certificate", None),
            Self::Store(id) => (10, id, "store", Some(PeerEvent::ReplacedHere)),
            Self::TargetStore(id) => (11, id, "target_store", None),
            Self::Copy => (12, 0, "copy", None),
            Self::Level(level) => (13, level.into(), "level", Some(PeerEvent::LevelTooLowHere)),
        }
    }

    /// Returns the refusal's name in metrics and logs.
    pub(super) fn label(self) -> &'static str {
        self.parts().2
    }

    /// Returns the event that reports the refusal to the replica, or `None` if the replica does not need to know.
    pub(super) fn event(self) -> Option<PeerEvent> {
        self.parts().3
    }

    /// Returns the refusal with this code and value on the wire, or `None` if the code is unknown. Limits a value to the range
    /// of its type.
    fn of((code, value): (u8, u64)) -> Option<Self> {
        let refusals = [
            Self::Protocol(u8::try_from(value).unwrap_or(u8::MAX)),
            Self::ClusterId(value),
            Self::WrongTarget(MemberId(value)),
            Self::ForeignIdentity,
            Self::Removed,
            Self::Unknown,
            Self::Malformed,
            Self::Certificate,
            Self::Store(value),
            Self::TargetStore(value),
            Self::Copy,
            Self::Level(Level::try_from(value).unwrap_or(Level::MAX)),
        ];
        refusals
            .into_iter()
            .find(|refusal| refusal.parts().0 == code)
    }
}

/// Explains the refusal in the opener's log: "it" is the member that refuses, and "this member" is the opener.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(version) => write!(
                f,
                "it uses version {version} of the peer protocol, but this member uses version {PROTOCOL}"
            ),
            Self::ClusterId(id) => write!(
                f,
                "cluster ID mismatch: it belongs to cluster {id:x}; check --initial-cluster and \
                 --initial-cluster-token of both members"
            ),
            Self::WrongTarget(id) => write!(
                f,
                "member {id} listens at this address; check the peer URLs of the expected member"
            ),
            Self::ForeignIdentity => f.write_str(
                "it has the identity of this member; two processes must not use the same data directory or peer URL",
            ),
            Self::Removed => f.write_str("this member was removed from the cluster"),
            Self::Unknown => f.write_str("it does not know this member, or has not applied its addition yet"),
            Self::Malformed => f.write_str("it could not read the handshake"),
            Self::Certificate => f.write_str(
                "it has a stream from another process with the identity of this member; the certificate of that process is \
                 valid for a host of the peer URLs, but the certificate of this process is not; check --peer-cert-file and \
                 the data directory",
            ),
            Self::Store(id) => write!(
                f,
                "it knows this member with another data directory (store {id:016x}): the data directory of this process \
                 was emptied, or a copy has replaced it; remove this member from the cluster and add it again with an \
                 empty directory"
            ),
            Self::TargetStore(id) => write!(
                f,
                "it does not use the data directory of its member (store {id:016x}): the directory was emptied, or a \
                 copy has replaced it; remove that member from the cluster and add it again with an empty directory"
            ),
            Self::Copy => f.write_str(
                "the data directory of this process is a copy, and another process of this member uses the original; \
                 stop one of the two processes",
            ),
            Self::Level(level) => write!(
                f,
                "the cluster has feature level {level}, but this release has feature level {}; start a release with \
                 feature level {level}",
                levels::OWN
            ),
        }
    }
}

/// The other side's response to a handshake.
pub(super) type Answer = Result<(), Refusal>;

/// Encodes the response to a handshake. The message of a refusal is not sent.
pub(super) fn encode_answer(answer: Answer) -> Vec<u8> {
    let (code, value, ..) = answer.err().map_or((0, 0, "", None), Refusal::parts);
    let mut out = vec![code];
    out.extend_from_slice(&value.to_be_bytes());
    out
}

/// Decodes the contents of a response's frame. Returns `None` if the contents are invalid or the refusal's code is unknown.
/// Ignores fields that later versions append.
pub(super) fn decode_answer(contents: &[u8]) -> Option<Answer> {
    let (code, rest) = contents.split_first()?;
    let value = u64::from_be_bytes(*rest.first_chunk()?);
    match code {
        0 => Some(Ok(())),
        _ => Refusal::of((*code, value)).map(Err),
    }
}

#[cfg(test)]
mod tests {
    use witan_machine::member::Member;

    use super::*;

    /// Returns a cluster with the members 1 and 2, whose store ids are 10 and 20, and the removed member 3.
    fn members() -> MemberRegistry {
        let mut members = MemberRegistry { cluster_id: 7, ..MemberRegistry::default() };
        for id in [1, 2] {
            let member = Member { id, store_id: 10 * id, ..Member::default() };
            members.by_id.insert(member.member_id(), member);
        }
        members.removed_ids.insert(MemberId(3));
        members
    }

    fn store(id: u64, ancestors: &[u64]) -> StoreLineage {
        StoreLineage { id, ancestors: ancestors.to_vec() }
    }

    /// Returns the handshake of a bulk stream from a member to member 1, with the registered store ids.
    fn hello(from: u64) -> Handshake {
        Handshake {
            cluster_id: 7,
            from: MemberId(from),
            to: MemberId(1),
            store: store(10 * from, &[]),
            to_store: 10,
            kind: StreamKind::Bulk,
            release: "0.1.0".into(),
            peer_urls: vec!["http://a:1".into(), "https://b:2".into()],
        }
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let members = members();
        let other_cluster = Handshake { cluster_id: 8, ..hello(2) };
        let other_target = Handshake { to: MemberId(2), ..hello(2) };
        let with_store = |store| Handshake { store, ..hello(2) };
        let to_store = |to_store| Handshake { to_store, ..hello(2) };
        for (hello, answer) in [
            (hello(2), Ok(())),
            (with_store(store(21, &[])), Err(Refusal::Store(20))),
            (with_store(store(22, &[21])), Err(Refusal::Store(20))),
            (with_store(store(22, &[21, 20])), Ok(())),
            (to_store(11), Err(Refusal::TargetStore(10))),
            // The opener knows the store id of this member's original, or no store id.
            (to_store(9), Ok(())),
            (to_store(0), Ok(())),
            (other_cluster, Err(Refusal::ClusterId(7))),
            (other_target, Err(Refusal::WrongTarget(MemberId(1)))),
            (hello(1), Err(Refusal::ForeignIdentity)),
            (hello(3), Err(Refusal::Removed)),
            (hello(4), Err(Refusal::Unknown)),
        ] {
            let own = (MemberId(1), &store(10, &[9]));
            assert_eq!(hello.check(own, &members), answer, "{hello:?}");
            assert_eq!(Handshake::decode(&hello.encode()), Some(hello));
            assert_eq!(decode_answer(&encode_answer(answer)), Some(answer));
        }
    }

    #[test]
    fn a_release_below_the_level_of_the_cluster_is_refused() {
        let mut members = members();
        let of = |release: &str, from| Handshake { release: release.into(), ..hello(from) };
        let refused = Err(Refusal::Level(3));
        for (raised_level, hello, answer) in [
            (0, of("0.1.0", 2), Ok(())),
            (3, of("0.1.0", 2), refused),
            (3, of("0.2.0+level.2", 2), refused),
            (3, of("0.3.0-dev+level.3", 2), Ok(())),
            (3, of("0.3.0+level.x", 2), refused),
            // The opener is a member that joins.
            (3, of("0.1.0", 4), refused),
            (3, of("0.4.0+level.4", 4), Err(Refusal::Unknown)),
            (3, of("0.1.0", 3), Err(Refusal::Removed)),
        ] {
            members.raised_level = raised_level;
            let own = (MemberId(1), &store(10, &[]));
            assert_eq!(hello.check(own, &members), answer, "{hello:?}");
            assert_eq!(decode_answer(&encode_answer(answer)), Some(answer));
        }
        let text = Refusal::Level(3).to_string();
        assert!(
            text.ends_with("start a release with feature level 3"),
            "{text}"
        );
        let own = Handshake { release: announced_release(), ..hello(2) };
        assert_eq!(own.level(), levels::OWN);
        let release = own.release.split_once('+').map(|(release, _)| release);
        assert_eq!(release, Some(version::WITAN));
    }

    #[test]
    fn truncated_and_oversized_handshakes_are_invalid() {
        let whole = hello(2).encode();
        for length in 0..FIXED_BYTES {
            assert_eq!(Handshake::decode(&whole[..length]), None, "{length} bytes");
        }
        let long = Handshake { release: "x".repeat(HANDSHAKE_BYTES_MAX), ..hello(2) };
        assert_eq!(Handshake::decode(&long.encode()), None);
        let url = |bytes: usize| "x".repeat(bytes - 1);
        let urls = |peer_urls| Handshake { peer_urls, ..hello(2) };
        let left = HANDSHAKE_BYTES_MAX - urls(vec![]).encode().len();
        let too_long = urls(vec![url(left - 8), url(9), url(8)]);
        let fits = urls(vec![url(left - 8), url(8)]);
        assert_eq!(Handshake::decode(&too_long.encode()), Some(fits.clone()));
        let more = [&fits.encode()[..], b"\0"].concat();
        assert_eq!(Handshake::decode(&more), None);
        let mut many = hello(2).encode();
        many[FIXED_BYTES - 1] = 17;
        assert_eq!(Handshake::decode(&many), None);
        let unknown = [99; 9];
        assert_eq!(decode_answer(&unknown), None);
    }
}
