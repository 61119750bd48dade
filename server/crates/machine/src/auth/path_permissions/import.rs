//! Merges etcd's v2 users and roles with the v3 users and roles.

use super::PathPatterns;
use crate::auth::{Auth, Role, User};

impl Auth {
    /// Adds v2 users and roles and sets whether v2 authentication is enabled, without advancing the auth revision. An existing
    /// user keeps its password and gets the additional roles, and an existing role gets the patterns. Returns the names of the
    /// users and roles that already existed.
    pub fn import_path_auth(
        &mut self,
        enabled: bool,
        users: Vec<User>,
        roles: Vec<(String, PathPatterns)>,
    ) -> Vec<String> {
        let mut shared = Vec::new();
        self.paths.enabled = enabled;
        self.paths.written = true;
        for (name, patterns) in roles {
            if self.role(&name).is_some() {
                shared.push(name.clone());
            } else {
                self.insert_role(Role { name: name.clone(), permissions: Vec::new() });
            }
            self.insert_patterns(name, patterns);
        }
        for mut user in users {
            if let Some(known) = self.user(&user.name) {
                shared.push(user.name.clone());
                let roles = [known.roles.clone(), user.roles].concat();
                user = User { roles, ..known.clone() };
            }
            user.roles.sort_unstable();
            user.roles.dedup();
            self.insert_user(user);
        }
        self.refresh_where(|_| true);
        shared
    }
}
