//! The operations on roles. Each successful operation advances the auth revision.

use std::sync::Arc;

use super::{
    Auth, AuthError, Permission, PermissionType, ROOT, Role, RoleAdd, RoleDelete, RoleGrant,
    RoleRevoke, User,
};
use crate::kv::KeyRange;

impl Permission {
    /// Returns the permission's type, or `None` for an unknown type from imported etcd data, which grants nothing.
    pub fn allows(&self) -> Option<PermissionType> {
        PermissionType::try_from(self.kind).ok()
    }

    /// Returns whether this release knows the permission's type.
    pub fn has_known_type(&self) -> bool {
        self.allows().is_some()
    }

    /// Returns whether the permission is for exactly this range.
    fn is_of(&self, key: &[u8], range_end: &[u8]) -> bool {
        self.key == key && self.range_end == range_end
    }

    /// Returns whether the permission's range can contain a key and has a first key that is not empty.
    fn is_valid(&self) -> bool {
        let is_empty = match KeyRange::new(&self.key, &self.range_end) {
            KeyRange::One(_) | KeyRange::From(_) => false,
            KeyRange::Between(key, end) => key >= end,
        };
        !self.key.is_empty() && !is_empty
    }
}

impl Auth {
    /// Adds a role without permissions. Fails if the name is empty or the role exists.
    pub(super) fn role_add(&mut self, asked: &RoleAdd) -> Result<(), AuthError> {
        if asked.name.is_empty() {
            return Err(AuthError::RoleEmpty);
        }
        if self.roles.contains_key(&asked.name) {
            return Err(AuthError::RoleExists);
        }
        self.put_role(Role { name: asked.name.clone(), permissions: Vec::new() });
        Ok(())
    }

    /// Deletes a role and revokes it from all users. Fails for an unknown role and for root while v3 authentication is
    /// enabled.
    pub(super) fn role_delete(&mut self, asked: &RoleDelete) -> Result<(), AuthError> {
        if self.enabled && asked.name == ROOT {
            return Err(AuthError::InvalidManagement);
        }
        self.take_role(&asked.name).ok_or(AuthError::RoleNotFound)?;
        let holders: Vec<Arc<User>> = self
            .users
            .values()
            .filter(|user| user.has(&asked.name))
            .cloned()
            .collect();
        for holder in holders {
            let mut user = User::clone(&holder);
            user.roles.retain(|role| *role != asked.name);
            self.refresh(&user);
            self.insert_user(user);
        }
        self.advance_revision();
        Ok(())
    }

    /// Adds a permission to a role, or changes the type of its permission on the same range. As in etcd, only the first of
    /// several permissions with the same first key can change its type. A grant on the range of another such permission adds a
    /// second permission. Fails if the permission is missing, the range is invalid, or the role does not exist.
    pub(super) fn role_grant(&mut self, asked: &RoleGrant) -> Result<(), AuthError> {
        let permission = asked
            .permission
            .as_ref()
            .ok_or(AuthError::PermissionNotGiven)?;
        if !permission.is_valid() {
            return Err(AuthError::InvalidManagement);
        }
        let mut role = self
            .role(&asked.role)
            .ok_or(AuthError::RoleNotFound)?
            .clone();
        let known = &mut role.permissions;
        let first = known.partition_point(|known| known.key < permission.key);
        match known.get_mut(first) {
            Some(found) if found.is_of(&permission.key, &permission.range_end) => {
                found.kind = permission.kind;
            }
            Some(_) | None => {
                let behind = known.partition_point(|known| known.key <= permission.key);
                known.insert(behind, permission.clone());
            }
        }
        self.put_role(role);
        Ok(())
    }

    /// Removes the permission on exactly this range from a role. Fails if the role or the permission does not exist.
    pub(super) fn role_revoke(&mut self, asked: &RoleRevoke) -> Result<(), AuthError> {
        let mut role = self
            .role(&asked.role)
            .ok_or(AuthError::RoleNotFound)?
            .clone();
        let before = role.permissions.len();
        role.permissions
            .retain(|known| !known.is_of(&asked.key, &asked.range_end));
        if role.permissions.len() == before {
            return Err(AuthError::PermissionNotGranted);
        }
        self.put_role(role);
        Ok(())
    }

    /// Inserts or replaces a role, recomputes the merged permissions of its users and advances the auth revision.
    pub(super) fn put_role(&mut self, role: Role) {
        let name = role.name.clone();
        self.insert_role(role);
        self.refresh_where(|user| user.has(&name));
        self.advance_revision();
    }
}
