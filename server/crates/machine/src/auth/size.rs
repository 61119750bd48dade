//! Counts the memory of users, roles and permissions against the quota, and limits the lengths of their strings. All changes to
//! the maps go through this module, so the count is always correct. Checkpoints do not contain the count.

use std::sync::Arc;

use super::{
    Auth, AuthCommand, AuthOperation, Permission, Role, UnifiedPermissions, User,
    path_permissions::{PathAuthCommand, PathAuthOperation, PathPatterns},
};
use crate::limits::{AUTH_NAME_BYTES_MAX, LONG_TEXT_BYTES_MAX};

/// Size in bytes of a user, a role or a role's patterns, in addition to their strings.
const RECORD_BYTES: u64 = 256;

/// Size in bytes of a granted role, a permission, a pattern or a derived range, in addition to their strings.
const ITEM_BYTES: u64 = 64;

impl Auth {
    /// Returns the size in bytes of all users and roles and of the data derived from them.
    pub fn size_bytes(&self) -> u64 {
        self.bytes
    }

    /// Inserts or replaces a user and updates the size. Does not change merged permissions or the auth revision.
    pub(super) fn insert_user(&mut self, user: User) {
        self.bytes += of_user(&user);
        let before = self.users.insert(user.name.clone(), Arc::new(user));
        self.bytes -= before.map_or(0, |user| of_user(&user));
    }

    /// Removes a user and its merged permissions and updates the size. Returns the user, or `None` if the user does not exist.
    pub(super) fn take_user(&mut self, name: &str) -> Option<Arc<User>> {
        let user = self.users.remove(name)?;
        self.bytes -= of_user(&user);
        let grants = self.grants.remove(name);
        self.bytes -= grants.map_or(0, |grants| of_grants(&grants));
        Some(user)
    }

    /// Inserts or replaces a role and updates the size. Does not change merged permissions or the auth revision.
    pub(super) fn insert_role(&mut self, role: Role) {
        self.bytes += of_role(&role);
        let before = self.roles.insert(role.name.clone(), Arc::new(role));
        self.bytes -= before.map_or(0, |role| of_role(&role));
    }

    /// Removes a role and its patterns and updates the size. Returns the role, or `None` if the role does not exist.
    pub(super) fn take_role(&mut self, name: &str) -> Option<Arc<Role>> {
        let role = self.roles.remove(name)?;
        self.bytes -= of_role(&role);
        let patterns = self.paths.patterns.remove(name);
        self.bytes -= patterns.map_or(0, |patterns| of_patterns(name, &patterns));
        Some(role)
    }

    /// Inserts or replaces a role's patterns and updates the size.
    pub(super) fn insert_patterns(&mut self, name: String, patterns: PathPatterns) {
        self.bytes += of_patterns(&name, &patterns);
        let before = self.paths.patterns.insert(name.clone(), Arc::new(patterns));
        self.bytes -= before.map_or(0, |before| of_patterns(&name, &before));
    }

    /// Inserts or replaces a user's merged permissions and updates the size.
    pub(super) fn insert_grants(&mut self, name: String, grants: UnifiedPermissions) {
        self.bytes += of_grants(&grants);
        let before = self.grants.insert(name, Arc::new(grants));
        self.bytes -= before.map_or(0, |grants| of_grants(&grants));
    }
}

/// Returns the size of a user for the quota in bytes.
fn of_user(user: &User) -> u64 {
    RECORD_BYTES + bytes(&[user.name.len(), user.password.len()]) + of_texts(&user.roles)
}

/// Returns the size of a role and its permissions for the quota in bytes.
fn of_role(role: &Role) -> u64 {
    let permissions = role.permissions.iter().map(of_permission);
    RECORD_BYTES + bytes(&[role.name.len()]) + permissions.sum::<u64>()
}

/// Returns the size of a permission for the quota in bytes.
fn of_permission(permission: &Permission) -> u64 {
    ITEM_BYTES + bytes(&[permission.key.len(), permission.range_end.len()])
}

/// Returns the size of the v2 patterns of the role `name` for the quota in bytes.
fn of_patterns(name: &str, patterns: &PathPatterns) -> u64 {
    RECORD_BYTES + bytes(&[name.len()]) + of_texts(&patterns.read) + of_texts(&patterns.write)
}

/// Returns the size in bytes of merged permissions, which share their keys with the roles.
fn of_grants(grants: &UnifiedPermissions) -> u64 {
    ITEM_BYTES * (grants.read.len() + grants.write.len()) as u64
}

/// Returns the size of these strings in bytes, including `ITEM_BYTES` for each.
fn of_texts(texts: &[String]) -> u64 {
    texts
        .iter()
        .map(|text| ITEM_BYTES + text.len() as u64)
        .sum()
}

fn bytes(lengths: &[usize]) -> u64 {
    lengths.iter().sum::<usize>() as u64
}

/// The sizes that an operation would add to users and roles.
#[derive(Default)]
struct Additions {
    /// Estimated growth of `Auth::size_bytes` in bytes, without derived data.
    growth: u64,
    /// Length of the longest new name or password hash, which `AUTH_NAME_BYTES_MAX` limits.
    text: usize,
    /// Length of the longest new key or pattern, which `LONG_TEXT_BYTES_MAX` limits.
    key: usize,
}

impl AuthCommand {
    /// Estimates the growth of `Auth::size_bytes` in bytes, without derived data. Returns 0 for password changes and removals.
    pub fn growth(&self) -> u64 {
        self.additions().growth
    }

    /// Returns whether a new name or password hash exceeds `AUTH_NAME_BYTES_MAX` or a new key or pattern exceeds
    /// `LONG_TEXT_BYTES_MAX`.
    pub fn is_too_long(&self) -> bool {
        let Additions { text, key, .. } = self.additions();
        text > AUTH_NAME_BYTES_MAX || key > LONG_TEXT_BYTES_MAX
    }

    /// Returns the sizes that the command would add. All sizes are 0 for a command that only removes data.
    fn additions(&self) -> Additions {
        match &self.operation {
            Some(AuthOperation::UserAdd(asked)) => added_user(&asked.name, &asked.password, &[]),
            Some(AuthOperation::UserPassword(asked)) => {
                Additions { text: asked.password.len(), ..Additions::default() }
            }
            Some(AuthOperation::UserGrant(asked)) => {
                let growth = ITEM_BYTES + bytes(&[asked.role.len()]);
                Additions { growth, ..Additions::default() }
            }
            Some(AuthOperation::RoleAdd(asked)) => {
                let name = asked.name.len();
                Additions { growth: RECORD_BYTES + bytes(&[name]), text: name, key: 0 }
            }
            Some(AuthOperation::RoleGrant(asked)) => match &asked.permission {
                Some(permission) => Additions {
                    growth: of_permission(permission),
                    text: 0,
                    key: permission.key.len().max(permission.range_end.len()),
                },
                None => Additions::default(),
            },
            Some(AuthOperation::Paths(command)) => path_additions(command),
            Some(
                AuthOperation::Enable(_)
                | AuthOperation::Disable(_)
                | AuthOperation::Authenticate(_)
                | AuthOperation::UserDelete(_)
                | AuthOperation::UserRevoke(_)
                | AuthOperation::RoleDelete(_)
                | AuthOperation::RoleRevoke(_),
            )
            | None => Additions::default(),
        }
    }
}

/// Returns the sizes that a v2 command would add. Ignores the password hash of a user's update.
fn path_additions(command: &PathAuthCommand) -> Additions {
    match &command.operation {
        Some(PathAuthOperation::UserCreate(asked)) => {
            added_user(&asked.name, &asked.password, &asked.roles)
        }
        Some(PathAuthOperation::UserUpdate(asked)) => Additions {
            growth: of_texts(&asked.grant),
            text: longest(&asked.grant),
            key: 0,
        },
        Some(PathAuthOperation::RoleCreate(asked)) => {
            let (name, patterns) = (&asked.name, &asked.patterns);
            let growth = RECORD_BYTES + bytes(&[name.len()]) + of_patterns(name, patterns);
            Additions { growth, text: name.len(), key: longest_pattern(patterns) }
        }
        Some(PathAuthOperation::RoleUpdate(asked)) => Additions {
            growth: of_texts(&asked.grant.read) + of_texts(&asked.grant.write),
            text: 0,
            key: longest_pattern(&asked.grant),
        },
        Some(
            PathAuthOperation::Enable(_)
            | PathAuthOperation::Disable(_)
            | PathAuthOperation::UserDelete(_)
            | PathAuthOperation::RoleDelete(_),
        )
        | None => Additions::default(),
    }
}

/// Returns the sizes that a new user with these roles would add.
fn added_user(name: &str, password: &[u8], roles: &[String]) -> Additions {
    Additions {
        growth: RECORD_BYTES + bytes(&[name.len(), password.len()]) + of_texts(roles),
        text: name.len().max(password.len()).max(longest(roles)),
        key: 0,
    }
}

/// Returns the length of the longest read or write pattern in bytes, or 0 if there are no patterns.
fn longest_pattern(patterns: &PathPatterns) -> usize {
    longest(&patterns.read).max(longest(&patterns.write))
}

/// Returns the length of the longest string in bytes, or 0 for an empty list.
fn longest(texts: &[String]) -> usize {
    texts.iter().map(String::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{
        PermissionType, RoleAdd, RoleDelete, RoleGrant, UserAdd, UserDelete, UserGrant,
    };

    /// Applies an operation. Panics if it fails or the size grows by more than the predicted growth and one item.
    fn apply_within_growth(auth: &mut Auth, verb: AuthOperation) {
        let command = AuthCommand { operation: Some(verb), ..AuthCommand::default() };
        let before = auth.size_bytes();
        let growth = command.growth();
        auth.apply(&command, None).unwrap();
        let grown = auth.size_bytes().saturating_sub(before);
        assert!(grown <= growth + ITEM_BYTES, "{grown} {growth}");
    }

    #[test]
    fn the_size_grows_with_additions_and_shrinks_with_removals() {
        let mut auth = Auth::default();
        for number in 0..9 {
            let (user, role) = (format!("user{number}"), format!("role{number}"));
            let name = role.clone();
            apply_within_growth(&mut auth, AuthOperation::RoleAdd(RoleAdd { name }));
            let permission = Some(Permission {
                kind: PermissionType::Read as i32,
                key: vec![b'k'; 1000].into(),
                range_end: "z".into(),
            });
            let grant = RoleGrant { role: role.clone(), permission };
            apply_within_growth(&mut auth, AuthOperation::RoleGrant(grant));
            let add = UserAdd {
                name: user.clone(),
                password: vec![b'h'; 60].into(),
                no_password: false,
            };
            apply_within_growth(&mut auth, AuthOperation::UserAdd(add));
            apply_within_growth(
                &mut auth,
                AuthOperation::UserGrant(UserGrant { user, role }),
            );
        }
        assert!(auth.size_bytes() > 9 * (1000 + 60));
        let (users, roles) = (auth.users().cloned(), auth.roles().cloned());
        let restored = Auth::restored(false, 9, users, roles);
        assert_eq!(restored.size_bytes(), auth.size_bytes());
        assert_eq!(Auth::restored(false, 0, [], []).revision(), 1);
        for number in 0..9 {
            let name = format!("role{number}");
            apply_within_growth(&mut auth, AuthOperation::RoleDelete(RoleDelete { name }));
            let name = format!("user{number}");
            apply_within_growth(&mut auth, AuthOperation::UserDelete(UserDelete { name }));
        }
        assert_eq!(auth.size_bytes(), 0);
    }

    #[test]
    fn texts_above_the_limit_are_too_long() {
        let add = |bytes| AuthCommand {
            operation: Some(AuthOperation::RoleAdd(RoleAdd { name: "n".repeat(bytes) })),
            ..AuthCommand::default()
        };
        assert!(!add(AUTH_NAME_BYTES_MAX).is_too_long());
        assert!(add(AUTH_NAME_BYTES_MAX + 1).is_too_long());
    }
}
