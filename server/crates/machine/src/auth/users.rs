//! The operations on users. Each change of a user advances the auth revision.

use super::{
    Auth, AuthError, ROOT, User, UserAdd, UserDelete, UserGrant, UserPassword, UserRevoke,
};

impl Auth {
    /// Adds a user without roles and advances the auth revision. Fails if the name is empty or the user exists.
    pub(super) fn user_add(&mut self, asked: &UserAdd) -> Result<(), AuthError> {
        if asked.name.is_empty() {
            return Err(AuthError::UserEmpty);
        }
        if self.users.contains_key(&asked.name) {
            return Err(AuthError::UserExists);
        }
        self.put_user(User {
            name: asked.name.clone(),
            password: asked.password.clone(),
            roles: Vec::new(),
            no_password: asked.no_password,
        });
        Ok(())
    }

    /// Deletes a user and advances the auth revision. Fails if the user does not exist or is root while v2 or v3 authentication
    /// is enabled.
    pub(super) fn user_delete(&mut self, asked: &UserDelete) -> Result<(), AuthError> {
        if (self.enabled || self.paths.enabled) && asked.name == ROOT {
            return Err(AuthError::InvalidManagement);
        }
        self.take_user(&asked.name).ok_or(AuthError::UserNotFound)?;
        self.advance_revision();
        Ok(())
    }

    /// Replaces a user's password hash, unless the user authenticates only by certificate. Advances the auth revision in either
    /// case. Fails for an unknown user.
    pub(super) fn user_password(&mut self, asked: &UserPassword) -> Result<(), AuthError> {
        let mut user = self
            .user(&asked.name)
            .ok_or(AuthError::UserNotFound)?
            .clone();
        if !user.no_password {
            user.password = asked.password.clone();
        }
        self.put_user(user);
        Ok(())
    }

    /// Grants a role to a user. Fails if the user or the role does not exist; only the root role need not exist. Granting a
    /// role again changes nothing, not even the auth revision.
    pub(super) fn user_grant(&mut self, asked: &UserGrant) -> Result<(), AuthError> {
        let mut user = self
            .user(&asked.user)
            .ok_or(AuthError::UserNotFound)?
            .clone();
        if asked.role != ROOT && !self.roles.contains_key(&asked.role) {
            return Err(AuthError::RoleNotFound);
        }
        if let Err(place) = user.roles.binary_search(&asked.role) {
            user.roles.insert(place, asked.role.clone());
            self.put_user(user);
        }
        Ok(())
    }

    /// Revokes a role from a user. Fails if the user does not exist or does not have the role. Also fails for root's root role
    /// while v3 authentication is enabled.
    pub(super) fn user_revoke(&mut self, asked: &UserRevoke) -> Result<(), AuthError> {
        if self.enabled && asked.user == ROOT && asked.role == ROOT {
            return Err(AuthError::InvalidManagement);
        }
        let mut user = self
            .user(&asked.user)
            .ok_or(AuthError::UserNotFound)?
            .clone();
        if !user.has(&asked.role) {
            return Err(AuthError::RoleNotGranted);
        }
        user.roles.retain(|role| *role != asked.role);
        self.put_user(user);
        Ok(())
    }

    /// Inserts or replaces a user, recomputes its merged permissions and advances the auth revision.
    pub(super) fn put_user(&mut self, user: User) {
        self.refresh(&user);
        self.insert_user(user);
        self.advance_revision();
    }
}
