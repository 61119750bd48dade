//! The v2 operations on users and roles. In etcd, users and roles are nodes in the v2 store, and the first write creates their
//! directories even if the write fails. `written` records whether the first write has happened. A change to a user and the
//! creation or deletion of a role advance the auth revision.

use std::collections::BTreeSet;

use super::{GUEST, PathAuthError, PathPatterns, RoleCreate, RoleUpdate, UserCreate, UserUpdate};
use crate::auth::{Auth, ROOT, RoleDelete, User, UserDelete};

type PathAuthResult<T = ()> = Result<T, PathAuthError>;

impl Auth {
    /// Enables v2 authentication. Fails if v2 authentication is already enabled or there is no root user. If the guest role is
    /// missing, creates it and adds 1 to `steps`, the number by which the v2 index advances.
    pub(super) fn enable_path_auth(&mut self, steps: &mut u64) -> PathAuthResult {
        if self.paths.enabled {
            return Err(PathAuthError::Enabled);
        }
        if self.user(ROOT).is_none() {
            return Err(PathAuthError::NoRoot);
        }
        self.paths.written = true;
        if self.role(GUEST).is_none() {
            self.put_path_role(GUEST, PathPatterns::unrestricted());
            *steps += 1;
        }
        self.paths.enabled = true;
        Ok(())
    }

    /// Disables v2 authentication. Fails if v2 authentication is already disabled.
    pub(super) fn disable_path_auth(&mut self) -> PathAuthResult {
        if !self.paths.enabled {
            return Err(PathAuthError::Disabled);
        }
        self.paths.enabled = false;
        Ok(())
    }

    /// Adds a user with roles, which need not exist. The root user also gets the root role. Fails if the user exists. Sets
    /// `written` in either case.
    pub(super) fn path_user_create(&mut self, asked: &UserCreate) -> PathAuthResult {
        self.paths.written = true;
        if self.user(&asked.name).is_some() {
            return Err(PathAuthError::UserExists(asked.name.clone()));
        }
        let mut roles: BTreeSet<String> = asked.roles.iter().cloned().collect();
        if asked.name == ROOT {
            roles.insert(ROOT.into());
        }
        self.put_user(User {
            name: asked.name.clone(),
            password: asked.password.clone(),
            roles: roles.into_iter().collect(),
            no_password: false,
        });
        Ok(())
    }

    /// Atomically grants and revokes a user's roles and sets the user's password. Returns the user's new roles, sorted. A new
    /// password clears `no_password`. Granted roles need not exist. Fails if the user does not exist, already has a granted
    /// role or lacks a revoked role, or if nothing changes. Also fails if root would lose the root role while v3 authentication
    /// is enabled.
    pub(super) fn path_user_update(&mut self, asked: &UserUpdate) -> PathAuthResult<Vec<String>> {
        let name = &asked.name;
        let old = self.user(name);
        let old = old.ok_or_else(|| PathAuthError::UserMissing(name.clone()))?;
        let (user, before) = (name.clone(), Auth::path_roles(old));
        let mut roles: BTreeSet<String> = before.iter().cloned().collect();
        for role in &asked.grant {
            if !roles.insert(role.clone()) {
                let role = role.clone();
                return Err(PathAuthError::RoleAlreadyGranted { role, user });
            }
        }
        for role in &asked.revoke {
            if !roles.remove(role) {
                let role = role.clone();
                return Err(PathAuthError::RoleNotGranted { role, user });
            }
        }
        let roles: Vec<String> = roles.into_iter().collect();
        if roles == before && asked.password.is_empty() {
            return Err(PathAuthError::UserUnchanged);
        }
        if self.enabled && user == ROOT && !roles.iter().any(|role| role == ROOT) {
            return Err(PathAuthError::RootProtected);
        }
        let mut new = old.clone();
        new.roles.clone_from(&roles);
        if !asked.password.is_empty() {
            new.password = asked.password.clone();
            new.no_password = false;
        }
        self.put_user(new);
        self.paths.written = true;
        Ok(roles)
    }

    /// Deletes a user. Fails if the user does not exist or is root while v2 or v3 authentication is enabled. Sets `written`
    /// even if the user does not exist.
    pub(super) fn path_user_delete(&mut self, asked: &UserDelete) -> PathAuthResult {
        if (self.paths.enabled || self.enabled) && asked.name == ROOT {
            return Err(PathAuthError::RootProtected);
        }
        self.paths.written = true;
        if self.user(&asked.name).is_none() {
            return Err(PathAuthError::UserToDeleteMissing(asked.name.clone()));
        }
        self.take_user(&asked.name);
        self.advance_revision();
        Ok(())
    }

    /// Adds a role with patterns. Fails for the root role, and if the role exists. Sets `written` even if the role exists.
    pub(super) fn path_role_create(&mut self, asked: &RoleCreate) -> PathAuthResult {
        if asked.name == ROOT {
            return Err(PathAuthError::RootRole(asked.name.clone()));
        }
        self.paths.written = true;
        if self.role(&asked.name).is_some() {
            return Err(PathAuthError::RoleExists(asked.name.clone()));
        }
        self.put_path_role(&asked.name, asked.patterns.clone());
        Ok(())
    }

    /// Grants and then revokes a role's patterns. Returns the resulting patterns. Fails for the root role or a missing role,
    /// if a pattern is already granted, and if nothing changes.
    pub(super) fn path_role_update(&mut self, asked: &RoleUpdate) -> PathAuthResult<PathPatterns> {
        if asked.name == ROOT {
            return Err(PathAuthError::RootRole(asked.name.clone()));
        }
        let old = self.patterns(&asked.name);
        let old = old.ok_or_else(|| PathAuthError::RoleMissing(asked.name.clone()))?;
        let (grant, revoke) = (&asked.grant, &asked.revoke);
        let read = merged_names(&old.read, &grant.read, &revoke.read)
            .map_err(PathAuthError::ReadAlreadyGranted)?;
        let write = merged_names(&old.write, &grant.write, &revoke.write)
            .map_err(PathAuthError::WriteAlreadyGranted)?;
        let new = PathPatterns { read, write };
        if new == old {
            return Err(PathAuthError::RoleUnchanged);
        }
        self.paths.written = true;
        self.put_path_role(&asked.name, new.clone());
        Ok(new)
    }

    /// Deletes a role and its patterns. Fails for the root role or a missing role. Sets `written` even if the role does not
    /// exist. As in etcd, users keep the role's name.
    pub(super) fn path_role_delete(&mut self, asked: &RoleDelete) -> PathAuthResult {
        let name = &asked.name;
        if name == ROOT {
            return Err(PathAuthError::RootRole(name.clone()));
        }
        self.paths.written = true;
        if self.role(name).is_none() {
            return Err(PathAuthError::RoleToDeleteMissing(name.clone()));
        }
        self.take_role(name);
        self.refresh_where(|user| user.has(name));
        self.advance_revision();
        Ok(())
    }
}

/// Returns the patterns in `old` or `grant` but not in `revoke`, sorted. Fails with the first pattern of `grant` that is in
/// `old` or occurs twice.
fn merged_names(
    old: &[String],
    grant: &[String],
    revoke: &[String],
) -> Result<Vec<String>, String> {
    let mut patterns: BTreeSet<&String> = old.iter().collect();
    for pattern in grant {
        if !patterns.insert(pattern) {
            return Err(pattern.clone());
        }
    }
    for pattern in revoke {
        patterns.remove(pattern);
    }
    Ok(patterns.into_iter().cloned().collect())
}
