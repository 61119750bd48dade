//! A v3 command is executed exactly if the alarms, the users and the roles of the entries before it admit it,
//! on every member and after every restart. What they are is replayed from the log, not asked of a member.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use witan_replica::{
    machine::{
        Reply,
        alarm::{AlarmAction, AlarmCommand, AlarmType},
        auth::{
            AuthError, AuthOperation, AuthReply, Caller, Permission, PermissionType, ROOT,
            RoleGrant,
        },
        command::{Command, Entry},
        kv::{KvCommand, KvError, KvOperation, KvReply, Put, Txn, TxnOp, TxnOpKind},
        view::View,
    },
    wire,
};

use super::{Fact, Invariant, Scene};

/// A range of keys that a command reads or writes.
struct Access {
    key: Bytes,
    range_end: Bytes,
    writes: bool,
}

#[derive(Debug, Default)]
pub(super) struct CommandsAdmitted {
    /// Highest index that was looked at.
    seen: u64,
    alarms: BTreeSet<(i32, u64)>,
    enabled: bool,
    /// Changes of users and roles so far, and one.
    revision: Option<u64>,
    roles_of: BTreeMap<String, BTreeSet<String>>,
    permissions: BTreeMap<String, Vec<Permission>>,
}

impl Invariant for CommandsAdmitted {
    fn name(&self) -> &'static str {
        "commands_admitted"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Fact::Executed {
            member,
            batch,
            view,
            ..
        } = fact
        else {
            return Ok(());
        };
        let seen = self.seen;
        for applied in batch.iter().filter(|applied| applied.index > seen) {
            let index = applied.index;
            let record = scene.disk(*member).and_then(|disk| disk.entry(index));
            // a change of membership has its command elsewhere, and nothing here depends on it
            let entry =
                record.and_then(|record| wire::decode_entry(&record.payload.slice(1..)).ok());
            self.seen = index;
            if let Some(entry) = entry {
                self.replay(&entry, &applied.outcome.reply)
                    .map_err(|what| format!("entry {index} on m{member}: {what}"))?;
            }
        }
        match batch.last() {
            Some(last) if last.index == self.seen => self.compare(view, *member),
            Some(_) | None => Ok(()),
        }
    }
}

impl CommandsAdmitted {
    /// Holds the answer of an entry against the state before it, and changes that as the answer says.
    fn replay(&mut self, entry: &Entry, reply: &Reply) -> Result<(), String> {
        let caller = entry.caller.as_ref();
        match (&entry.command, reply) {
            (Some(Command::Kv(command)), Reply::Kv(reply)) => {
                self.admits(command, caller, reply.as_ref().err(), reply)
            }
            (Some(Command::Alarm(command)), Reply::Alarm(_)) => {
                self.alarm(command);
                Ok(())
            }
            (Some(Command::Auth(command)), Reply::Auth(Ok(reply))) => match &command.operation {
                Some(operation) => self.change(operation, caller, reply),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn admits(
        &self,
        command: &KvCommand,
        caller: Option<&Caller>,
        error: Option<&KvError>,
        reply: &Result<KvReply, KvError>,
    ) -> Result<(), String> {
        let Some(operation) = &command.operation else {
            return Ok(());
        };
        let no_space = self.raised(AlarmType::NoSpace) && puts(operation);
        if no_space != (error == Some(&KvError::NoSpace)) {
            return Err(format!("with the alarms {:?}: {reply:?}", self.alarms));
        }
        let denied = match error {
            Some(KvError::NoSpace) => return Ok(()),
            Some(KvError::Denied(denied)) => Some(denied),
            Some(_) | None => None,
        };
        let expected = self.denial(operation, caller);
        // who ends a lease must be allowed to delete its keys, which are not known here
        let by_lease = expected.is_none() && attaches(operation);
        if denied == expected.as_ref() || by_lease && denied == Some(&AuthError::PermissionDenied) {
            return Ok(());
        }
        Err(format!(
            "{caller:?} is answered {denied:?} instead of {expected:?} to {operation:?}; roles {:?}, \
             permissions {:?}, auth revision {}",
            self.roles_of,
            self.permissions,
            self.revision()
        ))
    }

    /// Why the caller may not do it.
    fn denial(&self, operation: &KvOperation, caller: Option<&Caller>) -> Option<AuthError> {
        let accesses = accesses(operation);
        if !self.enabled || accesses.is_empty() {
            return None;
        }
        let Some(caller) = caller.filter(|caller| caller.revision > 0) else {
            return Some(AuthError::UserEmpty);
        };
        if caller.revision < self.revision() {
            return Some(AuthError::OldRevision);
        }
        let Some(roles) = self.roles_of.get(&caller.user) else {
            return Some(AuthError::PermissionDenied);
        };
        let permissions = roles.iter().filter_map(|role| self.permissions.get(role));
        let permissions: Vec<&Permission> = permissions.flatten().collect();
        let may = |access: &Access| roles.contains(ROOT) || covers(&permissions, access);
        (!accesses.iter().all(may)).then_some(AuthError::PermissionDenied)
    }

    fn alarm(&mut self, command: &AlarmCommand) {
        let alarm = (command.kind, command.member);
        match AlarmAction::try_from(command.action) {
            Ok(AlarmAction::Activate) => self.alarms.insert(alarm),
            Ok(AlarmAction::Deactivate) => self.alarms.remove(&alarm),
            Ok(AlarmAction::HashState) | Err(_) => false,
        };
    }

    fn raised(&self, kind: AlarmType) -> bool {
        self.alarms.iter().any(|(raised, _)| *raised == kind as i32)
    }

    fn revision(&self) -> u64 {
        self.revision.unwrap_or(1)
    }

    /// An operation on users or roles was done.
    fn change(
        &mut self,
        operation: &AuthOperation,
        caller: Option<&Caller>,
        reply: &AuthReply,
    ) -> Result<(), String> {
        let administers = caller
            .and_then(|caller| self.roles_of.get(&caller.user))
            .is_some_and(|roles| roles.contains(ROOT));
        if matches!(operation, AuthOperation::Authenticate(_)) {
            return Ok(());
        }
        if self.enabled && !administers {
            return Err(format!("{caller:?} has done {operation:?}: {reply:?}"));
        }
        let changes = match operation {
            AuthOperation::Enable(_) => {
                self.enabled = true;
                false
            }
            AuthOperation::Disable(_) => std::mem::take(&mut self.enabled),
            AuthOperation::UserGrant(asked) => {
                let roles = self.roles_of.entry(asked.user.clone()).or_default();
                roles.insert(asked.role.clone())
            }
            AuthOperation::UserAdd(_)
            | AuthOperation::UserDelete(_)
            | AuthOperation::UserPassword(_)
            | AuthOperation::UserRevoke(_)
            | AuthOperation::RoleAdd(_)
            | AuthOperation::RoleDelete(_)
            | AuthOperation::RoleGrant(_)
            | AuthOperation::RoleRevoke(_)
            | AuthOperation::Authenticate(_)
            | AuthOperation::Paths(_) => {
                self.change_always(operation);
                true
            }
        };
        self.revision = Some(self.revision() + u64::from(changes));
        Ok(())
    }

    /// The operations that never leave users and roles as they are.
    fn change_always(&mut self, operation: &AuthOperation) {
        match operation {
            AuthOperation::UserAdd(asked) => {
                self.roles_of.insert(asked.name.clone(), BTreeSet::new());
            }
            AuthOperation::UserDelete(asked) => {
                self.roles_of.remove(&asked.name);
            }
            AuthOperation::UserRevoke(asked) => {
                let roles = self.roles_of.entry(asked.user.clone()).or_default();
                roles.remove(&asked.role);
            }
            AuthOperation::RoleAdd(asked) => {
                self.permissions.insert(asked.name.clone(), Vec::new());
            }
            AuthOperation::RoleDelete(asked) => {
                self.permissions.remove(&asked.name);
                for roles in self.roles_of.values_mut() {
                    roles.remove(&asked.name);
                }
            }
            AuthOperation::RoleGrant(RoleGrant {
                role,
                permission: Some(granted),
            }) => {
                let permissions = self.permissions.entry(role.clone()).or_default();
                permissions.retain(|known| !is_of(known, &granted.key, &granted.range_end));
                permissions.push(granted.clone());
            }
            AuthOperation::RoleRevoke(asked) => {
                let permissions = self.permissions.entry(asked.role.clone()).or_default();
                permissions.retain(|known| !is_of(known, &asked.key, &asked.range_end));
            }
            AuthOperation::Enable(_)
            | AuthOperation::Disable(_)
            | AuthOperation::UserGrant(_)
            | AuthOperation::UserPassword(_)
            | AuthOperation::RoleGrant(_)
            | AuthOperation::Authenticate(_)
            | AuthOperation::Paths(_) => {}
        }
    }

    /// The member knows the same users and roles.
    fn compare(&self, view: &View, member: u64) -> Result<(), String> {
        let auth = &view.machine.auth;
        let users = auth.users().map(|user| {
            let roles = user.roles.iter().cloned().collect();
            (user.name.clone(), roles)
        });
        let roles = auth.roles().map(|role| &role.name);
        let same = auth.enabled() == self.enabled
            && auth.revision() == self.revision()
            && users.eq(self.roles_of.clone())
            && roles.eq(self.permissions.keys());
        match same {
            true => Ok(()),
            false => Err(format!(
                "m{member} has {auth:?} after entry {}, by the log: enabled {}, revision {}, users {:?}, \
                 roles {:?}",
                self.seen,
                self.enabled,
                self.revision(),
                self.roles_of,
                self.permissions
            )),
        }
    }
}

fn is_of(permission: &Permission, key: &[u8], range_end: &[u8]) -> bool {
    permission.key == key && permission.range_end == range_end
}

fn puts(operation: &KvOperation) -> bool {
    match operation {
        KvOperation::Put(_) => true,
        KvOperation::Txn(txn) => operations(txn).any(|op| matches!(op, TxnOpKind::Put(_))),
        KvOperation::Delete(_) | KvOperation::Compact(_) | KvOperation::Sweep(_) => false,
    }
}

fn attaches(operation: &KvOperation) -> bool {
    matches!(operation, KvOperation::Put(Put { lease, .. }) if *lease != 0)
}

/// The operations of both branches; clients of a run nest none.
fn operations(txn: &Txn) -> impl Iterator<Item = &TxnOpKind> {
    let ops = txn.success.iter().chain(&txn.failure);
    ops.filter_map(|TxnOp { kind }| kind.as_ref())
}

fn accesses(operation: &KvOperation) -> Vec<Access> {
    let access = |key: &Bytes, range_end: &Bytes, writes| Access {
        key: key.clone(),
        range_end: range_end.clone(),
        writes,
    };
    let one = Bytes::new();
    let mut all = Vec::new();
    let put = |put: &Put, all: &mut Vec<Access>| {
        all.push(access(&put.key, &one, true));
        if put.prev_kv {
            all.push(access(&put.key, &one, false));
        }
    };
    match operation {
        KvOperation::Put(asked) => put(asked, &mut all),
        KvOperation::Delete(asked) => {
            all.push(access(&asked.key, &asked.range_end, true));
            if asked.prev_kv {
                all.push(access(&asked.key, &asked.range_end, false));
            }
        }
        KvOperation::Txn(txn) => {
            for compare in &txn.compare {
                all.push(access(&compare.key, &compare.range_end, false));
            }
            for op in operations(txn) {
                match op {
                    TxnOpKind::Put(asked) => put(asked, &mut all),
                    TxnOpKind::Range(range) => {
                        all.push(access(&range.key, &range.range_end, false));
                    }
                    TxnOpKind::Delete(_) | TxnOpKind::Txn(_) => {}
                }
            }
        }
        KvOperation::Compact(_) | KvOperation::Sweep(_) => {}
    }
    all
}

/// Whether the permissions together reach over the whole range.
fn covers(permissions: &[&Permission], access: &Access) -> bool {
    // a single key ends before its successor, and a range without an end above all keys
    let end_of = |key: &Bytes, range_end: &Bytes| match range_end.as_ref() {
        [] => Some([key.as_ref(), b"\0"].concat()),
        [0] => None,
        end => Some(end.to_vec()),
    };
    let kind = match access.writes {
        true => PermissionType::Write,
        false => PermissionType::Read,
    };
    let counts = |permission: &&&Permission| {
        [kind as i32, PermissionType::ReadWrite as i32].contains(&permission.kind)
    };
    let wanted = end_of(&access.key, &access.range_end);
    let mut reached = access.key.to_vec();
    // a range that ends before it begins counts as its first key
    loop {
        let here = permissions.iter().filter(counts).filter(|permission| {
            let end = end_of(&permission.key, &permission.range_end);
            permission.key <= reached && end.is_none_or(|end| reached < end)
        });
        let ends: Vec<_> = here.map(|p| end_of(&p.key, &p.range_end)).collect();
        if ends.contains(&None) {
            return true;
        }
        match ends.into_iter().flatten().max() {
            Some(end) => reached = end,
            None => return false,
        }
        if wanted.as_ref().is_some_and(|wanted| reached >= *wanted) {
            return true;
        }
    }
}
