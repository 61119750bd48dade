//! All commands in the log. The structs are payloads of log entries, encoded with prost after a version byte (`wire`). No
//! public protocol contains these structs. Field numbers never change.

use prost::Message as _;

use super::{alarm, auth, follow, kv, lease};

pub use super::member::{
    ChangeMembers, ClusterVersion, Downgrade, PublishAttributes, UpdatePeerUrls,
};

/// The payload of a log entry.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// The proposing member, its time and its ticket for the proposal.
    #[prost(message, optional, tag = "1")]
    pub stamp: Option<Stamp>,
    /// The command.
    #[prost(oneof = "Command", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13")]
    pub command: Option<Command>,
    /// The caller, if the request was authenticated.
    #[prost(message, optional, tag = "12")]
    pub caller: Option<auth::Caller>,
}

impl Entry {
    /// Creates a command's entry without a stamp, which the proposer adds.
    pub fn unstamped(command: Command, caller: Option<auth::Caller>) -> Box<Self> {
        Box::new(Self { stamp: None, command: Some(command), caller })
    }

    /// Returns whether applying the entry can change the member registry, apart from the attempts at a cut-over and the fence.
    pub fn changes_members(&self) -> bool {
        match &self.command {
            Some(
                Command::Publish(_)
                | Command::ClusterVersion(_)
                | Command::PeerUrls(_)
                | Command::Members(_)
                | Command::Downgrade(_),
            ) => true,
            Some(Command::Follow(command)) => command.ends_following(),
            Some(
                Command::Kv(_)
                | Command::Tree(_)
                | Command::Alarm(_)
                | Command::Lease(_)
                | Command::Auth(_),
            )
            | None => false,
        }
    }
}

/// An entry that its proposer has not stamped yet, with the encoded length of its command.
#[derive(Debug)]
pub struct UnstampedEntry {
    entry: Box<Entry>,
    command_bytes: usize,
}

impl UnstampedEntry {
    /// Creates the entry of a command and its caller; `None` is an unauthenticated caller.
    pub fn new(command: Command, caller: Option<auth::Caller>) -> Self {
        Entry::unstamped(command, caller).into()
    }

    /// Returns the entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Returns the length of the encoded command in bytes.
    pub fn command_bytes(&self) -> usize {
        self.command_bytes
    }

    /// Stamps the entry. Returns the entry and the length of its encoding in bytes.
    pub fn stamp(self, stamp: Stamp) -> (Box<Entry>, usize) {
        let Self { mut entry, command_bytes } = self;
        let head = Entry {
            stamp: Some(stamp),
            command: None,
            caller: entry.caller.take(),
        };
        let bytes = head.encoded_len() + command_bytes;
        (entry.stamp, entry.caller) = (head.stamp, head.caller);
        (entry, bytes)
    }
}

impl From<Box<Entry>> for UnstampedEntry {
    /// Computes the encoded length of the entry's command, which takes time in proportion to the command.
    fn from(entry: Box<Entry>) -> Self {
        let command_bytes = entry.command.as_ref().map_or(0, Command::encoded_len);
        Self { entry, command_bytes }
    }
}

/// Values that the proposer reads from its environment (I9).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Stamp {
    /// Unix time of the proposer in nanoseconds.
    #[prost(sint64, tag = "1")]
    pub now_ns: i64,
    /// The proposing member's id.
    #[prost(fixed64, tag = "2")]
    pub member: u64,
    /// The proposal's ticket, which is unique within the proposing process.
    #[prost(uint64, tag = "3")]
    pub ticket: u64,
    /// Distinguishes the proposing process from the member's earlier processes, whose tickets can have the same numbers.
    #[prost(fixed32, tag = "4")]
    pub incarnation: u32,
}

/// A command on one part of the state.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Command {
    /// A command on the v3 key space.
    #[prost(message, tag = "2")]
    Kv(kv::KvCommand),
    /// A command on the v2 tree.
    #[prost(message, tag = "3")]
    Tree(witan_tree::TreeCommand),
    /// Publishes a started member's name and client URLs.
    #[prost(message, tag = "4")]
    Publish(PublishAttributes),
    /// Records the version or the feature level that all members support. The leader proposes this command.
    #[prost(message, tag = "5")]
    ClusterVersion(ClusterVersion),
    /// Raises or lowers an alarm, or makes every member hash its state.
    #[prost(message, tag = "6")]
    Alarm(alarm::AlarmCommand),
    /// Changes a member's peer URLs.
    #[prost(message, tag = "7")]
    PeerUrls(UpdatePeerUrls),
    /// A command on leases.
    #[prost(message, tag = "8")]
    Lease(lease::LeaseCommand),
    /// A command on users and roles.
    #[prost(message, tag = "9")]
    Auth(auth::AuthCommand),
    /// Adds, removes or promotes a member. Only this command changes the Raft configuration.
    #[prost(message, tag = "10")]
    Members(ChangeMembers),
    /// Starts or cancels a downgrade.
    #[prost(message, tag = "11")]
    Downgrade(Downgrade),
    /// A command for following another cluster.
    #[prost(message, tag = "13")]
    Follow(follow::FollowCommand),
}

impl Command {
    /// Returns whether a member needs this command at startup. Such commands are accepted even if the disk is full.
    pub fn is_required_at_start(&self) -> bool {
        match self {
            Self::Publish(_) | Self::ClusterVersion(_) => true,
            Self::Kv(_)
            | Self::Lease(_)
            | Self::Tree(_)
            | Self::Alarm(_)
            | Self::PeerUrls(_)
            | Self::Auth(_)
            | Self::Members(_)
            | Self::Downgrade(_)
            | Self::Follow(_) => false,
        }
    }
}

impl From<kv::KvOperation> for Command {
    fn from(verb: kv::KvOperation) -> Self {
        Self::Kv(kv::KvCommand { operation: Some(verb) })
    }
}

impl From<lease::LeaseOperation> for Command {
    fn from(verb: lease::LeaseOperation) -> Self {
        Self::Lease(lease::LeaseCommand { operation: Some(verb) })
    }
}

impl From<auth::AuthOperation> for Command {
    /// Creates a command that requires an administrator while v2 or v3 authentication is enabled.
    fn from(verb: auth::AuthOperation) -> Self {
        Self::Auth(auth::AuthCommand { operation: Some(verb), by_either: true })
    }
}

impl From<auth::path_permissions::PathAuthOperation> for Command {
    fn from(verb: auth::path_permissions::PathAuthOperation) -> Self {
        auth::AuthOperation::Paths(auth::path_permissions::PathAuthCommand {
            operation: Some(verb),
        })
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamped_entry_has_the_length_of_its_encoding() {
        let put = kv::Put { key: vec![b'k'; 300].into(), ..kv::Put::default() };
        let stamp = Stamp { now_ns: -1, member: 7, ticket: 1 << 40, incarnation: 9 };
        for caller in [None, Some(auth::Caller::default())] {
            let entry = UnstampedEntry::new(put.clone().into(), caller.clone());
            let (entry, bytes) = entry.stamp(stamp);
            assert_eq!(bytes, entry.encoded_len());
            assert_eq!((entry.stamp, &entry.caller), (Some(stamp), &caller));
        }
    }
}
