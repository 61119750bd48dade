//! The operator's calls to members: the trait `Members` and its implementation `GrpcMembers`.
//!
//! The operator queries each member directly to detect disagreements. A silent member delays a pass by one timeout at most.
//!
//! Reading order: this file (the trait, errors) → `grpc` (the implementation; `grpc/kv`: the KV service) → `session` (login,
//! timeouts) → `running` (releases) → `page` (HTTP/1 pages).

mod grpc;
pub mod page;
mod running;
pub mod session;

use std::{future::Future, sync::Arc};

use tonic::Status;
use witan_api::{backup::KeysHash, v3::etcdserverpb as pb};

pub use grpc::GrpcMembers;
pub use running::RunningRelease;

/// Name of the user with all permissions and of its role.
const ROOT: &str = "root";

/// The operator's client certificate and the CA certificates that it trusts.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// CA certificates for verifying members (PEM).
    pub authorities: Vec<u8>,
    /// The operator's certificate (PEM).
    pub certificate: Vec<u8>,
    /// Key of the operator's certificate (PEM).
    pub key: Vec<u8>,
}

impl ClientTls {
    /// Reads `ca.crt`, `tls.crt` and `tls.key` of a secret. `file` returns a file by name. Returns `None` if a file is missing.
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

/// The user and the password with which the operator logs in.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Name of the user.
    pub user: String,
    /// Password of the user, exactly as in the secret or file. See [`Login::entered`].
    pub password: String,
}

impl Login {
    /// Creates the login of the user root; `None` if the password is not UTF-8.
    pub fn root(password: &[u8]) -> Option<Self> {
        let password = String::from_utf8(password.to_vec()).ok()?;
        Some(Self { user: ROOT.to_owned(), password })
    }

    /// Returns the password without line breaks at its end. Users enter it in this form, but a secret created from a file often
    /// has line breaks.
    pub fn entered(&self) -> &str {
        self.password.trim_end_matches(['\r', '\n'])
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// The client address of a member and the credentials for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name of the member and of its pod.
    pub member: String,
    /// Host and port, such as `10.1.2.3:2379`.
    pub authority: String,
    /// The host name that the member's certificate must contain.
    pub server_name: String,
    /// The operator's certificate; `None` if the member uses no TLS for clients.
    pub tls: Option<Arc<ClientTls>>,
    /// The operator's user; `None` if the cluster has no authentication.
    pub login: Option<Login>,
}

impl Address {
    /// Returns the URL for a path on the member.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority)
    }
}

/// One member's report about itself and its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Id of the member's cluster.
    pub cluster_id: u64,
    /// Id of the member.
    pub member_id: u64,
    /// Id of the leader that the member knows; 0 if it knows none.
    pub leader_id: u64,
    /// The etcd version that the member reports.
    pub version: String,
    /// The release and the feature levels that the member reports.
    pub running: RunningRelease,
    /// Size of the member's store in bytes.
    pub db_size: u64,
    /// The storage quota in bytes; `None` if there is no quota.
    pub quota: Option<u64>,
    /// Revision of the key space; 1 while it is empty.
    pub revision: i64,
    /// Index of the last committed log entry that the member knows.
    pub raft_index: u64,
    /// Index of the last log entry that the member has applied.
    pub raft_applied_index: u64,
    /// Whether a quorum confirmed the list of members.
    pub linearizable: bool,
    /// The members in the member's list.
    pub members: Vec<pb::Member>,
    /// The raised alarms.
    pub alarms: Vec<pb::AlarmMember>,
    /// Whether authentication is enabled; `None` if the operator cannot know because it has no password.
    pub users: Option<bool>,
}

/// One member's response to a survey.
#[derive(Debug)]
pub struct Answer {
    /// Name of the member.
    pub member: String,
    /// The report, or why the member sent none.
    pub report: Result<Report, CallError>,
}

/// The reason why a call to a member failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the fields")]
pub enum CallError {
    /// No member has an address.
    #[error("no member of the cluster has an address")]
    NoMember,
    /// The member's URL or the operator's certificates cannot be used.
    #[error("cannot prepare a connection to member {member}: {source}")]
    Connection {
        member: String,
        #[source]
        source: tonic::transport::Error,
    },
    /// The member refused the call, or did not answer.
    #[error("{call} of member {member} failed: {}: {}", status.code(), status.message())]
    Refused {
        member: String,
        call: &'static str,
        status: Box<Status>,
    },
}

impl CallError {
    /// Returns whether the member itself refused the call. After any other error, the call may have taken effect.
    pub fn is_refusal(&self) -> bool {
        match self {
            CallError::NoMember | CallError::Connection { .. } => false,
            // etcd sends the code `Unknown` for this timeout.
            CallError::Refused { .. } if self.says("leader transfer took too long") => false,
            CallError::Refused { status, .. } => !matches!(
                status.code(),
                tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled
            ),
        }
    }

    /// Returns whether the member refused the call with a message that contains `text`.
    pub fn says(&self, text: &str) -> bool {
        matches!(self, CallError::Refused { status, .. } if status.message().contains(text))
    }
}

/// A change to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a learner with these peer URLs.
    AddLearner(Vec<String>),
    /// Promotes a learner to a voter.
    Promote(u64),
    /// Removes a member from the cluster.
    Remove(u64),
    /// Replaces the peer URLs of a member.
    PeerUrls(u64, Vec<String>),
    /// Transfers leadership to a voter. Only the leader accepts this call.
    MoveLeader(u64),
    /// Disarms the CORRUPT alarm of a member.
    DisarmCorrupt(u64),
    /// Compacts the key space up to a revision.
    Compact(i64),
    /// Disarms the NOSPACE alarm of a member.
    DisarmNoSpace(u64),
    /// Enables authentication, after adding the user and the role root.
    EnableAuth(Login),
    /// Disables authentication.
    DisableAuth,
}

/// Calls to members.
pub trait Members: Send + Sync + 'static {
    /// Requests a report from each address concurrently. Returns one answer per address, in the same order.
    fn survey(&self, of: &[Address]) -> impl Future<Output = Vec<Answer>> + Send;

    /// Sends a change to each member of `through` until one accepts or refuses it. If no member does, returns the last error.
    /// Fails with [`CallError::NoMember`] if `through` is empty.
    fn change(
        &self,
        through: &[Address],
        change: &Change,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Returns the hash of a member's keys at a revision. Fails if the member has compacted the revision or has not reached it.
    fn keys_hash(
        &self,
        of: &Address,
        revision: i64,
    ) -> impl Future<Output = Result<KeysHash, CallError>> + Send;
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::{CallError, Login};

    #[test]
    fn a_call_that_may_have_taken_effect_is_not_refused() {
        let late = "etcdserver: request timed out, leader transfer took too long";
        for (code, text, refuses) in [
            (Code::Unknown, late, false),
            (Code::Unavailable, "etcdserver: request timed out", false),
            (Code::FailedPrecondition, "etcdserver: not leader", true),
        ] {
            let refused = CallError::Refused {
                member: "orders-0".to_owned(),
                call: "MoveLeader",
                status: Box::new(Status::new(code, text)),
            };
            assert_eq!(refused.is_refusal(), refuses, "{text}");
        }
    }

    #[test]
    fn an_entered_password_has_no_line_breaks_at_its_end() {
        for password in ["secret", "secret\n", "secret\r\n"] {
            let login = Login::root(password.as_bytes()).expect("a login");
            assert_eq!(login.entered(), "secret", "{password:?}");
        }
        assert_eq!(Login::root(b"\xff"), None);
    }
}
