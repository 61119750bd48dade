//! Users and roles of etcd's v2, added to those of v3.

use super::PathPatterns;
use crate::auth::{Auth, Role, User};

impl Auth {
    /// Adds users and roles of v2, and switches v2's authentication; the auth revision stays. Users and the names of
    /// roles are shared with v3: of a user that is there already the password stays and the roles are united.
    /// Returns the names that were there already, for their owners then have what both had.
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
