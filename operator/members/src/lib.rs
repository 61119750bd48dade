//! The operator's calls to members: the trait `Members`, which `GrpcMembers` implements.
//!
//! Each member is queried directly, so that disagreements are visible. A silent member delays a pass by one timeout at most.
//!
//! `plan` decides what follows from the answers.

mod grpc;
pub mod page;
pub mod session;

use std::{future::Future, sync::Arc};

use tonic::Status;
use witan_api::{backup::KeysHash, v3::etcdserverpb as pb};

pub use grpc::GrpcMembers;

/// The name of the role with all permissions, and of its user.
const ROOT: &str = "root";

/// The operator's client certificate, and the authorities that it trusts.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// The authorities that sign members' certificates, PEM.
    pub authorities: Vec<u8>,
    /// The operator's certificate, PEM.
    pub certificate: Vec<u8>,
    /// Its key, PEM.
    pub key: Vec<u8>,
}

impl ClientTls {
    /// Reads the files of a secret by name; `None` if one is missing.
    pub fn read<'a>(file: impl Fn(&str) -> Option<&'a [u8]>) -> Option<Self> {
        Some(Self {
            authorities: file("ca.crt")?.to_vec(),
            certificate: file("tls.crt")?.to_vec(),
            key: file("tls.key")?.to_vec(),
        })
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// The user that the operator logs in as while authentication is on.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Name of the user, `root`.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl Login {
    /// Makes the login of the user root; `None` if the password is not UTF-8.
    pub fn root(password: &[u8]) -> Option<Self> {
        let password = String::from_utf8(password.to_vec()).ok()?;
        Some(Self { user: ROOT.to_owned(), password })
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// The client address of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name of the member, which is also its pod's name.
    pub member: String,
    /// Host and port, such as `10.1.2.3:2379`.
    pub authority: String,
    /// The name in its certificate.
    pub server_name: String,
    /// Set if the member uses TLS for clients.
    pub tls: Option<Arc<ClientTls>>,
    /// Set if the cluster has authentication.
    pub login: Option<Login>,
}

impl Address {
    /// Returns the URL of a page.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority)
    }
}

/// The report of one member about itself and its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The cluster it belongs to.
    pub cluster_id: u64,
    /// Its id.
    pub member_id: u64,
    /// The leader it follows; 0 without one.
    pub leader_id: u64,
    /// Its version.
    pub version: String,
    /// Size of its store in bytes.
    pub db_size: u64,
    /// Bytes that its state can take; `None` without a quota.
    pub quota: Option<u64>,
    /// The revision of its key space; 1 while it is empty.
    pub revision: i64,
    /// Index of the last entry of its log.
    pub raft_index: u64,
    /// Index of the last applied entry.
    pub raft_applied_index: u64,
    /// Whether a quorum confirmed the list of members.
    pub linearizable: bool,
    /// The members that it lists.
    pub members: Vec<pb::Member>,
    /// The raised alarms.
    pub alarms: Vec<pb::AlarmMember>,
    /// Whether authentication is on; `None` if the operator has no password, without which it cannot tell.
    pub users: Option<bool>,
}

/// The answer of one member.
#[derive(Debug)]
pub struct Answer {
    /// Its name.
    pub member: String,
    /// Its report, or why there is none.
    pub report: Result<Report, CallError>,
}

/// Why a call to a member failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts name the fields")]
pub enum CallError {
    /// No member has an address.
    #[error("no member of the cluster has an address to ask")]
    NoMember,
    /// The operator's certificates cannot be used.
    #[error("cannot prepare a connection to member {member}: {source}")]
    Connection {
        member: String,
        #[source]
        source: tonic::transport::Error,
    },
    /// The member refused, or did not answer.
    #[error("{call} of member {member} failed: {}: {}", status.code(), status.message())]
    Refused {
        member: String,
        call: &'static str,
        status: Box<Status>,
    },
}

impl CallError {
    /// Returns whether the member itself refused the call. After any other error the call may have taken effect.
    pub fn is_refusal(&self) -> bool {
        match self {
            CallError::NoMember | CallError::Connection { .. } => false,
            CallError::Refused { status, .. } => !matches!(
                status.code(),
                tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled
            ),
        }
    }

    /// Returns whether the member refused with a message that contains this text.
    pub fn says(&self, text: &str) -> bool {
        matches!(self, CallError::Refused { status, .. } if status.message().contains(text))
    }
}

/// A change of a cluster. A change that was already made is not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a learner with these peer URLs.
    AddLearner(Vec<String>),
    /// Makes a learner a voter.
    Promote(u64),
    /// Removes a member from the cluster.
    Remove(u64),
    /// Replaces the peer URLs of a member.
    PeerUrls(u64, Vec<String>),
    /// Transfers leadership to a voter. Only the leader accepts this call.
    MoveLeader(u64),
    /// Lowers the alarm CORRUPT of a member.
    DisarmCorrupt(u64),
    /// Compacts keys up to a revision.
    Compact(i64),
    /// Lowers the alarm NOSPACE of a member.
    DisarmNoSpace(u64),
    /// Turns authentication on, after adding the user root and its role.
    EnableAuth(Login),
    /// Turns authentication off.
    DisableAuth,
}

/// Calls to members.
pub trait Members: Send + Sync + 'static {
    /// Requests a report from each address concurrently, and returns one answer for each.
    fn survey(&self, of: &[Address]) -> impl Future<Output = Vec<Answer>> + Send;

    /// Makes a change through the first member of `through` that answers.
    fn change(
        &self,
        through: &[Address],
        change: &Change,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Requests the hash of a member's keys at a revision.
    fn keys_hash(
        &self,
        of: &Address,
        revision: i64,
    ) -> impl Future<Output = Result<KeysHash, CallError>> + Send;
}
