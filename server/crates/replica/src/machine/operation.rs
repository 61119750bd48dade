//! What can be proposed, each operation with the type of its output and of its error.
//!
//! A command and its reply cross queues as closed enums ([`Command`], [`Reply`]). This table is the one
//! place that packs an operation into the first and takes its output out of the second. What a verb does
//! does not live here.

use std::convert::Infallible;

use super::{
    Reply,
    alarm::{self, Alarm},
    auth::{self, paths},
    command::{ChangeMembers, ClusterVersion, Command, Downgrade, PeerUrls, Publish},
    kv::{self, OpReply},
    lease, member, tree,
};

/// A command with a typed answer.
pub trait Operation: Into<Command> {
    /// What it answers.
    type Output;
    /// Why it is refused.
    type Error;

    /// Takes the answer out of a reply; `None` if that is the reply of another operation.
    fn output(reply: Reply) -> Option<Result<Self::Output, Self::Error>>;
}

/// One operation: its command, and the replies that are its own.
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

/// Operations that are verbs of one room, whose replies are results.
macro_rules! operations {
    (
        $room:ident, $module:ident;
        $($verb:ident($operation:ty) => $output:ty, $reply:pat => $result:expr;)+
    ) => {$(
        operation! {
            $operation => $output, $module::Error;
            verb => $module::Verb::$verb(verb).into();
            Reply::$room(Ok($reply)) => Ok($result),
            Reply::$room(Err(error)) => Err(error)
        }
    )+};
}

operations! {
    Kv, kv;
    Put(kv::Put) => kv::PutReply, kv::Reply::Op(OpReply::Put(put)) => put;
    Delete(kv::DeleteRange) => kv::DeleteReply, kv::Reply::Op(OpReply::Delete(delete)) => delete;
    Txn(kv::Txn) => kv::TxnReply, kv::Reply::Op(OpReply::Txn(txn)) => txn;
    Compact(kv::Compact) => (), kv::Reply::Compact => ();
    Sweep(kv::Sweep) => (), kv::Reply::Compact => ();
}

operations! {
    Lease, lease;
    Grant(lease::Grant) => lease::Granted, lease::Reply::Granted(granted) => granted;
    Revoke(lease::Revoke) => (), lease::Reply::Revoked => ();
    Checkpoint(lease::Checkpoint) => (), lease::Reply::Noted => ();
}

operation! {
    tree::Mutation => tree::Event, tree::Error;
    mutation => tree::Verb::from(mutation).into();
    Reply::Tree(Ok(tree::Reply::Event(event))) => Ok(*event),
    Reply::Tree(Err(error)) => Err(error)
}

operations! {
    Auth, auth;
    Enable(auth::Enable) => (), auth::Reply::Done => ();
    Disable(auth::Disable) => (), auth::Reply::Disabled => ();
    Authenticate(auth::Authenticate) => (), auth::Reply::Authenticated { .. } => ();
    UserAdd(auth::UserAdd) => (), auth::Reply::Done => ();
    UserDelete(auth::UserDelete) => (), auth::Reply::Expelled { .. } => ();
    UserPassword(auth::UserPassword) => (), auth::Reply::Expelled { .. } => ();
    UserGrant(auth::UserGrant) => (), auth::Reply::Done => ();
    UserRevoke(auth::UserRevoke) => (), auth::Reply::Done => ();
    RoleAdd(auth::RoleAdd) => (), auth::Reply::Done => ();
    RoleDelete(auth::RoleDelete) => (), auth::Reply::Done => ();
    RoleGrant(auth::RoleGrant) => (), auth::Reply::Done => ();
    RoleRevoke(auth::RoleRevoke) => (), auth::Reply::Done => ();
}

/// A verb of v2 about users and roles: some have the same fields as v3's, and other answers.
#[derive(Clone, Debug)]
pub struct ByPath<V>(pub V);

/// Operations of v2 about users and roles.
macro_rules! by_path {
    ($($verb:ident($operation:ty) => $output:ty, $answer:pat => $result:expr;)+) => {$(
        operation! {
            ByPath<$operation> => $output, paths::Refusal;
            verb => paths::Verb::$verb(verb.0).into();
            Reply::Auth(Ok(auth::Reply::Paths(paths::Done { answer: Ok($answer), .. }))) => Ok($result),
            Reply::Auth(Ok(auth::Reply::Paths(paths::Done { answer: Err(refusal), .. }))) => Err(refusal)
        }
    )+};
}

by_path! {
    Enable(auth::Enable) => (), paths::Answer::Done => ();
    Disable(auth::Disable) => (), paths::Answer::Done => ();
    UserCreate(paths::UserCreate) => (), paths::Answer::Done => ();
    UserUpdate(paths::UserUpdate) => Vec<String>, paths::Answer::Roles(roles) => roles;
    UserDelete(auth::UserDelete) => (), paths::Answer::Done => ();
    RoleCreate(paths::RoleCreate) => (), paths::Answer::Done => ();
    RoleUpdate(paths::RoleUpdate) => paths::Patterns, paths::Answer::Patterns(patterns) => patterns;
    RoleDelete(auth::RoleDelete) => (), paths::Answer::Done => ();
}

operation! {
    Publish => (), Infallible;
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
    PeerUrls => (), member::Error;
    change => Command::PeerUrls(change);
    Reply::PeerUrlsSet(done) => done
}
operation! {
    ChangeMembers => (), member::Error;
    change => Command::Members(change);
    Reply::PeerUrlsSet(done) => done
}
operation! {
    alarm::Command => Option<Alarm>, Infallible;
    change => Command::Alarm(change);
    Reply::Alarm(alarm) => Ok(alarm)
}
