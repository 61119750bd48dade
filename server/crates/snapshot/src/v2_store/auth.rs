//! v2 users and roles (`/2`).

use serde::Deserialize;
use witan_machine::auth::{Auth, User, path_permissions::PathPatterns};

use super::{V2Store, V2StoreError, decode};

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredUser {
    password: String,
    roles: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredRole {
    permissions: StoredPermissions,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredPermissions {
    kv: StoredPatterns,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredPatterns {
    read: Option<Vec<String>>,
    write: Option<Vec<String>>,
}

impl V2Store {
    /// Adds the v2 users and roles to `auth` and restores whether v2 authentication is enabled. A user or role that exists in
    /// v2 and v3 is merged. Returns the merged names, roles first (see [`Auth::import_path_auth`]). If v2 authentication was
    /// never set up, changes nothing. Fails, without a change, if a user or role cannot be decoded.
    pub fn import_auth(&self, auth: &mut Auth) -> Result<Vec<String>, V2StoreError> {
        let Some(enabled) = self.value("/2/enabled") else {
            return Ok(Vec::new());
        };
        let users = self.files("/2/users")?.into_iter().map(|(name, value)| {
            let stored: StoredUser = decode(&name, &value)?;
            Ok(User {
                name,
                password: stored.password.into(),
                roles: stored.roles.unwrap_or_default(),
                no_password: false,
            })
        });
        let roles = self.files("/2/roles")?.into_iter().map(|(name, value)| {
            let StoredRole { permissions: StoredPermissions { kv } } = decode(&name, &value)?;
            let read = kv.read.unwrap_or_default();
            let write = kv.write.unwrap_or_default();
            Ok((name, PathPatterns { read, write }))
        });
        let users = users.collect::<Result<_, V2StoreError>>()?;
        let roles = roles.collect::<Result<_, V2StoreError>>()?;
        Ok(auth.import_path_auth(enabled == "true", users, roles))
    }
}
