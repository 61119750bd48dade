//! A command on v3 keys is executed if and only if the alarms, users and roles before its entry permit it. This holds on every
//! member and after every restart. Only administrators change users and roles. The alarms, users and roles are replayed from
//! the log, independently of the members.

mod access;

use std::collections::{BTreeMap, BTreeSet};

use access::{Access, accesses, attaches, covers, puts};
use witan_machine::{
    Reply,
    alarm::{AlarmAction, AlarmCommand, AlarmType},
    auth::{AuthError, AuthOperation, AuthReply, Caller, Permission, ROOT, RoleGrant},
    command::{Command, Entry},
    kv::{KvCommand, KvError, KvOperation, KvReply},
    view::View,
};

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct CommandsAdmitted {
    /// Highest index that was checked.
    seen: u64,
    rules: Rules,
    /// The rules before each entry that changed them, by index.
    before: BTreeMap<u64, Rules>,
}

/// Alarms, users and roles.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rules {
    alarms: BTreeSet<(i32, u64)>,
    enabled: bool,
    /// The auth revision; `None` before the first change.
    revision: Option<u64>,
    roles_of: BTreeMap<String, BTreeSet<String>>,
    permissions: BTreeMap<String, Vec<Permission>>,
}

impl Invariant for CommandsAdmitted {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Forced { kept, .. } = fact {
            self.seen = self.seen.min(*kept);
            let forgotten = self.before.split_off(&(kept + 1));
            if let Some(rules) = forgotten.into_values().next() {
                self.rules = rules;
            }
        }
        let Fact::Executed { member, batch, view, .. } = fact else {
            return Ok(());
        };
        let seen = self.seen;
        for applied in batch.iter().filter(|applied| applied.index > seen) {
            let index = applied.index;
            self.seen = index;
            // Membership changes do not affect these rules.
            if let Some(entry) = scene.command(*member, index) {
                let before = self.rules.clone();
                self.rules
                    .replay(&entry, &applied.outcome.reply)
                    .map_err(|what| format!("entry {index} on m{member}: {what}"))?;
                if self.rules != before {
                    self.before.insert(index, before);
                }
            }
        }
        match batch.last() {
            Some(last) if last.index == self.seen => self
                .rules
                .compare(view)
                .map_err(|what| format!("m{member} after entry {}: {what}", self.seen)),
            Some(_) | None => Ok(()),
        }
    }
}

impl Rules {
    /// Compares the result of an entry with the rules before it and applies the entry to the rules.
    fn replay(&mut self, entry: &Entry, reply: &Reply) -> Result<(), String> {
        let caller = entry.caller.as_ref();
        match (&entry.command, reply) {
            (Some(Command::Kv(command)), Reply::Kv(reply)) => self.admits(command, caller, reply),
            (Some(Command::Alarm(command)), Reply::Alarm(_)) => {
                self.alarm(command);
                Ok(())
            }
            (Some(Command::Auth(command)), Reply::Auth(reply)) => match &command.operation {
                Some(operation) => self.administer(operation, caller, reply),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Checks that a command was denied or refused exactly if the rules require it.
    fn admits(
        &self,
        command: &KvCommand,
        caller: Option<&Caller>,
        reply: &Result<KvReply, KvError>,
    ) -> Result<(), String> {
        let Some(operation) = &command.operation else {
            return Ok(());
        };
        let error = reply.as_ref().err();
        let no_space = self.raised(AlarmType::NoSpace) && puts(operation);
        if no_space != (error == Some(&KvError::NoSpace)) || error == Some(&KvError::Corrupt) {
            return Err(format!("with the alarms {:?}: {reply:?}", self.alarms));
        }
        let denied = match error {
            Some(KvError::NoSpace) => return Ok(()),
            Some(KvError::Denied(denied)) => Some(denied),
            Some(_) | None => None,
        };
        let expected = self.denial(operation, caller);
        // A put also needs permission to write every key of its lease, which is not replayed here.
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

    /// Returns the reason why the caller is denied the operation, or `None` if the operation is permitted.
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

    /// Checks that an operation on users or roles succeeds only if authentication is off or its caller is an administrator.
    /// Such an operation must not be denied. Applies a successful operation.
    fn administer(
        &mut self,
        operation: &AuthOperation,
        caller: Option<&Caller>,
        reply: &Result<AuthReply, AuthError>,
    ) -> Result<(), String> {
        if matches!(operation, AuthOperation::Authenticate(_)) {
            return Ok(());
        }
        let roles = caller.and_then(|caller| self.roles_of.get(&caller.user));
        let may = !self.enabled || roles.is_some_and(|roles| roles.contains(ROOT));
        let denied = matches!(
            reply,
            Err(AuthError::PermissionDenied | AuthError::UserEmpty | AuthError::OldRevision)
        );
        match reply {
            Ok(_) if may => {
                self.change(operation);
                Ok(())
            }
            Err(_) if !(may && denied) => Ok(()),
            Ok(_) | Err(_) => Err(format!("{caller:?} is answered {reply:?} to {operation:?}")),
        }
    }

    /// Applies a successful operation on users or roles.
    fn change(&mut self, operation: &AuthOperation) {
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
            AuthOperation::UserAdd(asked) => {
                self.roles_of.insert(asked.name.clone(), BTreeSet::new());
                true
            }
            AuthOperation::UserDelete(asked) => {
                self.roles_of.remove(&asked.name);
                true
            }
            AuthOperation::UserRevoke(asked) => {
                let roles = self.roles_of.entry(asked.user.clone()).or_default();
                roles.remove(&asked.role);
                true
            }
            AuthOperation::RoleAdd(asked) => {
                self.permissions.insert(asked.name.clone(), Vec::new());
                true
            }
            AuthOperation::RoleDelete(asked) => {
                self.permissions.remove(&asked.name);
                for roles in self.roles_of.values_mut() {
                    roles.remove(&asked.name);
                }
                true
            }
            AuthOperation::RoleGrant(RoleGrant { role, permission: Some(granted) }) => {
                let permissions = self.permissions.entry(role.clone()).or_default();
                permissions.retain(|known| !is_of(known, &granted.key, &granted.range_end));
                permissions.push(granted.clone());
                true
            }
            AuthOperation::RoleRevoke(asked) => {
                let permissions = self.permissions.entry(asked.role.clone()).or_default();
                permissions.retain(|known| !is_of(known, &asked.key, &asked.range_end));
                true
            }
            AuthOperation::UserPassword(_)
            | AuthOperation::RoleGrant(_)
            | AuthOperation::Authenticate(_)
            | AuthOperation::Paths(_) => true,
        };
        self.revision = Some(self.revision() + u64::from(changes));
    }

    /// Checks that the member has the same alarms, users, roles and permissions.
    fn compare(&self, view: &View) -> Result<(), String> {
        let auth = &view.machine.auth;
        let users = auth.users().map(|user| {
            let roles = user.roles.iter().cloned().collect();
            (user.name.clone(), roles)
        });
        let roles = auth
            .roles()
            .map(|role| (&role.name, sorted(&role.permissions)));
        let expected = self.permissions.iter();
        let expected = expected.map(|(role, permissions)| (role, sorted(permissions)));
        let alarms = view.machine.alarms.list(None);
        let same = auth.enabled() == self.enabled
            && auth.revision() == self.revision()
            && users.eq(self.roles_of.clone())
            && roles.eq(expected)
            && alarms
                .map(|alarm| (alarm.kind, alarm.member.0))
                .eq(self.alarms.clone());
        match same {
            true => Ok(()),
            false => Err(format!(
                "the state has {auth:?} and {:?}, the log {self:?}",
                view.machine.alarms
            )),
        }
    }
}

fn sorted(permissions: &[Permission]) -> Vec<(&[u8], &[u8], i32)> {
    let parts = permissions.iter();
    let parts = parts.map(|p| (p.key.as_ref(), p.range_end.as_ref(), p.kind));
    let mut parts: Vec<_> = parts.collect();
    parts.sort_unstable();
    parts
}

/// Returns whether the permission is for exactly this range.
fn is_of(permission: &Permission, key: &[u8], range_end: &[u8]) -> bool {
    permission.key == key && permission.range_end == range_end
}
