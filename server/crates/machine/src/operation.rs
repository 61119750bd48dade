//! The operations that can be proposed, each with the types of its output and its error.
//!
//! Commands and replies pass through queues as closed enums ([`Command`], [`Reply`]). Only this table converts an operation to
//! a command and extracts its output from a reply.

use std::convert::Infallible;

use super::{
    Reply,
    alarm::{self, Alarm},
    auth::{self, path_permissions},
    command::{
        ChangeMembers, ClusterVersion, Command, Downgrade, PublishAttributes, UpdatePeerUrls,
    },
    follow::{FollowCommand, FollowError, FollowOperation},
    kv::{self, OpReply},
    lease, member,
};

/// An operation that becomes a command and has a typed result.
pub trait Operation: Into<Command> {
    /// The operation's output.
    type Output;
    /// The error of a refused operation.
    type Error;

    /// Extracts this operation's result from a reply. Returns `None` if the reply belongs to another operation.
    fn output(reply: Reply) -> Option<Result<Self::Output, Self::Error>>;
}

/// Implements one operation with its command and its replies.
macro_rules! operation {
    (
        $operation:ty => $output:ty, $error:ty;
        $this:ident => $command:expr;
        $($reply:pat => $result:expr),+
    ) => {
        impl From<$operation> for Command {
            fn from($this: $operation) -> Self {
                $command
            }
        }

        impl Operation for $operation {
            type Output = $output;
            type Error = $error;

            fn output(reply: Reply) -> Option<Result<$output, $error>> {
                match reply {
                    $($reply => Some($result),)+
                    _ => None,
                }
            }
        }
    };
}

/// Implements operations on one section of the state, whose replies are results.
macro_rules! operations {
    (
        $section:ident, $module:ident, $list:ident, $error:ident;
        $($verb:ident($operation:ty) => $output:ty, $reply:pat => $result:expr;)+
    ) => {$(
        operation! {
            $operation => $output, $module::$error;
            verb => $module::$list::$verb(verb).into();
            Reply::$section(Ok($reply)) => Ok($result),
            Reply::$section(Err(error)) => Err(error)
        }
    )+};
}

operations! {
    Kv, kv, KvOperation, KvError;
    Put(kv::Put) => kv::PutReply, kv::KvReply::Op(OpReply::Put(put)) => put;
    Delete(kv::DeleteRange) => kv::DeleteReply, kv::KvReply::Op(OpReply::Delete(delete)) => delete;
    Txn(kv::Txn) => kv::TxnReply, kv::KvReply::Op(OpReply::Txn(txn)) => txn;
    Compact(kv::Compact) => (), kv::KvReply::Compact => ();
    Sweep(kv::Sweep) => (), kv::KvReply::Compact => ();
}

operations! {
    Lease, lease, LeaseOperation, LeaseError;
    Grant(lease::LeaseGrant) => lease::Granted, lease::LeaseReply::Granted(granted) => granted;
    Revoke(lease::LeaseRevoke) => (), lease::LeaseReply::Revoked => ();
    Checkpoint(lease::LeaseCheckpoint) => (), lease::LeaseReply::Checkpointed => ();
}

operation! {
    witan_tree::TreeOperation => witan_tree::Event, witan_tree::TreeError;
    verb => Command::Tree(witan_tree::TreeCommand { operation: Some(verb) });
    Reply::Tree(Ok(witan_tree::TreeReply::Event(event))) => Ok(*event),
    Reply::Tree(Err(error)) => Err(error)
}

operations! {
    Auth, auth, AuthOperation, AuthError;
    Enable(auth::Enable) => (), auth::AuthReply::Done => ();
    Disable(auth::Disable) => (), auth::AuthReply::Disabled => ();
    Authenticate(auth::Authenticate) => (), auth::AuthReply::Authenticated { .. } => ();
    UserAdd(auth::UserAdd) => (), auth::AuthReply::Done => ();
    UserDelete(auth::UserDelete) => (), auth::AuthReply::TokensRevoked { .. } => ();
    UserPassword(auth::UserPassword) => (), auth::AuthReply::TokensRevoked { .. } => ();
    UserGrant(auth::UserGrant) => (), auth::AuthReply::Done => ();
    UserRevoke(auth::UserRevoke) => (), auth::AuthReply::Done => ();
    RoleAdd(auth::RoleAdd) => (), auth::AuthReply::Done => ();
    RoleDelete(auth::RoleDelete) => (), auth::AuthReply::Done => ();
    RoleGrant(auth::RoleGrant) => (), auth::AuthReply::Done => ();
    RoleRevoke(auth::RoleRevoke) => (), auth::AuthReply::Done => ();
}

/// A v2 operation on users and roles. Some v2 operations have the same fields as v3 operations but different results.
#[derive(Clone, Debug)]
pub struct ByPath<V>(pub V);

/// Implements v2 operations on users and roles.
macro_rules! by_path {
    ($($verb:ident($operation:ty) => $output:ty, $answer:pat => $result:expr;)+) => {$(
        operation! {
            ByPath<$operation> => $output, path_permissions::PathAuthError;
            verb => path_permissions::PathAuthOperation::$verb(verb.0).into();
            Reply::Auth(Ok(auth::AuthReply::Paths(path_permissions::PathAuthOutcome { answer: Ok($answer), .. }))) => Ok($result),
            Reply::Auth(Ok(auth::AuthReply::Paths(path_permissions::PathAuthOutcome { answer: Err(refusal), .. }))) => Err(refusal)
        }
    )+};
}

by_path! {
    Enable(auth::Enable) => (), path_permissions::PathAuthReply::Done => ();
    Disable(auth::Disable) => (), path_permissions::PathAuthReply::Done => ();
    UserCreate(path_permissions::UserCreate) => (), path_permissions::PathAuthReply::Done => ();
    UserUpdate(path_permissions::UserUpdate) => Vec<String>, path_permissions::PathAuthReply::Roles(roles) => roles;
    UserDelete(auth::UserDelete) => (), path_permissions::PathAuthReply::Done => ();
    RoleCreate(path_permissions::RoleCreate) => (), path_permissions::PathAuthReply::Done => ();
    RoleUpdate(path_permissions::RoleUpdate) => path_permissions::PathPatterns, path_permissions::PathAuthReply::Patterns(patterns) => patterns;
    RoleDelete(auth::RoleDelete) => (), path_permissions::PathAuthReply::Done => ();
}

operation! {
    PublishAttributes => (), Infallible;
    publish => Command::Publish(publish);
    Reply::Published => Ok(())
}
operation! {
    ClusterVersion => (), Infallible;
    version => Command::ClusterVersion(version);
    Reply::ClusterVersionSet => Ok(())
}
operation! {
    Downgrade => (), Infallible;
    downgrade => Command::Downgrade(downgrade);
    Reply::DowngradeSet => Ok(())
}
operation! {
    UpdatePeerUrls => (), member::MembershipError;
    change => Command::PeerUrls(change);
    Reply::MembershipChanged(done) => done
}
operation! {
    ChangeMembers => (), member::MembershipError;
    change => Command::Members(change);
    Reply::MembershipChanged(done) => done
}
operation! {
    FollowOperation => (), FollowError;
    verb => Command::Follow(FollowCommand { operation: Some(verb) });
    Reply::Followed(done) => done
}
operation! {
    alarm::AlarmCommand => Option<Alarm>, Infallible;
    change => Command::Alarm(change);
    Reply::Alarm(alarm) => Ok(alarm)
}
