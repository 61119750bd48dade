//! Authenticates HTTP/1 requests with Basic credentials and authorizes them by etcd 3.4's rules for v2. Routes other than v1
//! and v2 keys also accept v3 tokens. The state machine implements the rules (`witan_machine::auth::path_permissions`).
//!
//! While v2 authentication is disabled, the check of a key costs one atomic load. Client certificates are ignored, because any
//! web page can make a browser present one.

use actix_web::{
    HttpRequest,
    http::header::{AUTHORIZATION, HeaderValue},
};
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use witan_api::{
    access::{Access, AuthSwitches, HttpRoute},
    discovery,
};
use witan_auth::Credentials;
use witan_logging::LogLimit;
use witan_machine::auth::{
    Auth, User,
    path_permissions::{PathAccess, is_path_root},
};
use witan_node::{CurrentView, NodeError};

use super::Context;

const BASIC: &str = "basic ";

/// Limits log lines that any client can trigger.
static UNCHECKED_PASSWORDS: LogLimit = LogLimit::new();

const DIGITS: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// The result of checking a request's Basic credentials.
#[derive(Debug)]
enum BasicCredentials {
    Anonymous,
    /// A user who presented the correct password. Later changes of the password have no effect. Contains only the name, because
    /// the user's roles can change.
    User(String),
    Invalid,
}

impl BasicCredentials {
    /// Returns whether the caller's roles in the state `auth` grant `access` to `key`. An anonymous caller has the guest role.
    /// Invalid credentials and users that do not exist have no access.
    fn allow(&self, auth: &Auth, key: &[u8], access: PathAccess) -> bool {
        match self {
            Self::Anonymous => allows_key(auth, None, key, access),
            Self::User(name) => {
                let user = auth.user(name);
                user.is_some_and(|user| allows_key(auth, Some(user), key, access))
            }
            Self::Invalid => false,
        }
    }
}

/// Returns whether a user's roles (for `None`, the guest role) grant `access` to a v2 key. Only an administrator may
/// read discovery tokens, because anyone who knows a token can register a member.
fn allows_key(auth: &Auth, user: Option<&User>, key: &[u8], access: PathAccess) -> bool {
    if !access.write && discovery::shows_tokens(key, access.recursive) {
        return user.is_some_and(is_path_root);
    }
    auth.allows_path(user, key, access)
}

/// The caller of a request, and the access that the request requires. Watches and reads take each state from
/// [`KeyAccess::view`], because after the first check, permissions may change or authentication may be enabled.
#[derive(Debug)]
pub struct KeyAccess {
    /// The key and the access to it, or `None` if every caller has access.
    required: Option<(Bytes, PathAccess)>,
    /// The header `Authorization` of the request.
    header: Option<HeaderValue>,
    /// The caller; `None` until a state has v2 authentication enabled.
    caller: Option<BasicCredentials>,
}

impl KeyAccess {
    /// Creates the access check of a request, with a copy of the header `Authorization` that debug output does not show.
    /// `required` is the key and the access to it, or `None` if every caller has access.
    pub fn new(request: &HttpRequest, required: Option<(&[u8], PathAccess)>) -> Self {
        // A clone of the header would keep the entire head of the request in memory.
        let copy = |header: &HeaderValue| HeaderValue::from_bytes(header.as_bytes()).ok();
        let mut header = request.headers().get(AUTHORIZATION).and_then(copy);
        if let Some(header) = &mut header {
            header.set_sensitive(true); // not in debug output
        }
        let required = required.map(|(key, access)| (Bytes::copy_from_slice(key), access));
        Self { required, header, caller: None }
    }

    /// Returns whether the caller has access in this member's current state. Fails like [`KeyAccess::view`].
    pub async fn is_granted(&mut self, ctx: &Context) -> Result<bool, NodeError> {
        if self.required.is_none() || !ctx.node.v2_auth_enabled() {
            return Ok(true);
        }
        Ok(self.view(ctx).await?.is_some())
    }

    /// Returns this member's current state, or `None` if the caller has no access in it. Fails if no state is available or the
    /// password could not be checked.
    pub async fn view(&mut self, ctx: &Context) -> Result<Option<CurrentView>, NodeError> {
        loop {
            {
                let view = ctx.node.view().await?;
                match self.is_allowed(&view.machine.auth) {
                    Some(true) => return Ok(Some(view)),
                    Some(false) => return Ok(None),
                    None => {}
                }
            }
            self.caller = Some(check_header(ctx, self.header.as_ref()).await?);
        }
    }

    /// Returns whether the caller has access in the state `auth`. Fails like [`KeyAccess::view`].
    pub(super) async fn is_granted_in(
        &mut self,
        ctx: &Context,
        auth: &Auth,
    ) -> Result<bool, NodeError> {
        if self.is_allowed(auth).is_none() {
            self.caller = Some(check_header(ctx, self.header.as_ref()).await?);
        }
        Ok(self.is_allowed(auth) == Some(true))
    }

    /// Returns whether the caller has access in the state `auth`, or `None` if the caller must be identified first.
    fn is_allowed(&self, auth: &Auth) -> Option<bool> {
        let Some((key, access)) = &self.required else {
            return Some(true);
        };
        if !auth.path_auth_enabled() {
            return Some(true);
        }
        let caller = self.caller.as_ref()?;
        Some(caller.allow(auth, key, *access))
    }
}

/// Returns whether the caller, authenticated by a password or a v3 token, may use an HTTP/1 route. Returns true for v1 and v2
/// keys, whose handlers check access themselves. Fails like [`check_header`]. If the request can change the cluster, also fails
/// if there is no quorum.
pub(super) async fn authorize_route(
    ctx: &Context,
    request: &HttpRequest,
    route: &HttpRoute,
) -> Result<bool, NodeError> {
    let method = request.method().as_str();
    let access = route.access(method);
    let on = AuthSwitches { v2: ctx.node.v2_auth_enabled(), v3: ctx.node.auth_enabled() };
    if access == Access::V2Keys || !access.needs_authentication(on) {
        return Ok(true);
    }
    if !has_rights(ctx, request, access).await? {
        return Ok(false);
    }
    if !route.changes_cluster(method) {
        return Ok(true);
    }
    // This member's state can lag behind. After a linearizable read, the state contains all earlier changes of users and roles.
    drop(ctx.node.read().await?);
    has_rights(ctx, request, access).await
}

/// Returns whether the caller's password or v3 token grants `access` in this member's state. Fails like [`check_header`].
async fn has_rights(
    ctx: &Context,
    request: &HttpRequest,
    access: Access,
) -> Result<bool, NodeError> {
    let header = request.headers().get(AUTHORIZATION);
    let rights = match check_header(ctx, header).await? {
        BasicCredentials::User(name) => {
            let view = ctx.node.view().await?;
            let user = view.machine.auth.user(&name);
            Rights { user: user.is_some(), root: user.is_some_and(is_path_root) }
        }
        BasicCredentials::Invalid => bearer(ctx, header).await?,
        BasicCredentials::Anonymous => Rights::default(),
    };
    Ok(match access {
        Access::Public | Access::V2Keys => true,
        Access::V3User => rights.user,
        // No HTTP/1 route gives users access to their own data.
        Access::V3Keys | Access::V3Root | Access::OwnUser | Access::Root => rights.root,
    })
}

/// The rights of a caller outside the key spaces.
#[derive(Default)]
struct Rights {
    user: bool,
    root: bool,
}

/// Returns the rights of the user whose token the `Authorization` header contains, or no rights if it contains no valid token.
/// First waits for earlier commits if another member may have issued the token. Fails if no state is available.
async fn bearer(ctx: &Context, header: Option<&HeaderValue>) -> Result<Rights, NodeError> {
    let token = header.map(|value| value.to_str().unwrap_or_default());
    let credentials = Credentials::of_token(token);
    ctx.authenticator.await_token(&ctx.node, &credentials).await;
    let view = ctx.node.view().await?;
    let Ok(Some(caller)) = ctx.authenticator.recognize(&ctx.node, &credentials) else {
        return Ok(Rights::default());
    };
    let auth = &view.machine.auth;
    Ok(Rights {
        user: auth.user(&caller.user).is_some(),
        root: auth.check_admin(Some(&caller)).is_ok(),
    })
}

/// Checks the Basic credentials in a header against this member's state. Returns `Anonymous` if the header is missing or empty,
/// and `Invalid` if the credentials are malformed or wrong. Fails if no state is available. If the password could not be
/// checked, fails with `TooMany` and logs some of these failures.
async fn check_header(
    ctx: &Context,
    header: Option<&HeaderValue>,
) -> Result<BasicCredentials, NodeError> {
    let Some(header) = header.filter(|header| !header.is_empty()) else {
        return Ok(BasicCredentials::Anonymous);
    };
    let Some((name, password)) = basic(header.as_bytes()) else {
        return Ok(BasicCredentials::Invalid);
    };
    let hashed = {
        let view = ctx.node.view().await?;
        // The check takes as long for a user without a password as for an unknown user.
        let user = view.machine.auth.user(&name);
        let user = user.filter(|user| !user.no_password);
        user.map(|user| user.password.clone())
    };
    let authenticator = &ctx.authenticator;
    let given = (name.as_str(), password.as_str());
    let checked = authenticator.check_password(ctx.account(), given, hashed.as_ref());
    match checked.await {
        Ok(true) => Ok(BasicCredentials::User(name)),
        Ok(false) => Ok(BasicCredentials::Invalid),
        Err(error) => {
            if let Some(left_out) = UNCHECKED_PASSWORDS.admit() {
                tracing::warn!(
                    left_out,
                    %error,
                    "failed to check the password of a request"
                );
            }
            Err(NodeError::TooMany)
        }
    }
}

/// Parses a Basic `Authorization` header into a name and a password. Returns `None` if the scheme differs, or the value is not
/// base64 of UTF-8 text with a colon.
fn basic(header: &[u8]) -> Option<(String, String)> {
    let (scheme, digits) = header.split_at_checked(BASIC.len())?;
    if !scheme.eq_ignore_ascii_case(BASIC.as_bytes()) {
        return None;
    }
    let text = String::from_utf8(DIGITS.decode(digits).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use witan_machine::auth::path_permissions::{GUEST, PathPatterns};

    use super::*;

    const READ: PathAccess = PathAccess { write: false, recursive: false };

    /// Returns a state in which the guest can read `/g` and the user `alice` can read `/a`.
    fn state(enabled: bool) -> Auth {
        let reads = |path: &str| PathPatterns { read: vec![path.into()], write: Vec::new() };
        let alice = User {
            name: "alice".into(),
            roles: vec!["app".into()],
            ..User::default()
        };
        let mut auth = Auth::default();
        let roles = vec![(GUEST.into(), reads("/g")), ("app".into(), reads("/a"))];
        auth.import_path_auth(enabled, vec![alice], roles);
        auth
    }

    #[test]
    fn each_state_is_checked() {
        let access = |key: &'static [u8], caller: Option<BasicCredentials>| KeyAccess {
            required: Some((key.into(), READ)),
            header: None,
            caller,
        };
        let alice = || Some(BasicCredentials::User("alice".into()));
        let mut gone = Auth::default();
        gone.import_path_auth(true, Vec::new(), Vec::new());
        let (off, on) = (state(false), state(true));
        for (access, expect) in [
            (access(b"/a", None), [Some(true), None, None]),
            (access(b"/a", alice()), [true, true, false].map(Some)),
            (access(b"/g", alice()), [true, false, false].map(Some)),
            (
                access(b"/g", Some(BasicCredentials::Anonymous)),
                [true, true, false].map(Some),
            ),
            (
                access(b"/g", Some(BasicCredentials::Invalid)),
                [true, false, false].map(Some),
            ),
        ] {
            let seen = [&off, &on, &gone].map(|auth| access.is_allowed(auth));
            assert_eq!(seen, expect, "{access:?}");
        }
        let open = KeyAccess { required: None, header: None, caller: None };
        assert_eq!(open.is_allowed(&gone), Some(true));
    }

    /// The roles of a user can change while the server hashes the password.
    #[test]
    fn access_depends_on_the_roles_in_the_given_state() {
        let caller = BasicCredentials::User("alice".into());
        let auth = state(true);
        assert!(caller.allow(&auth, b"/a", READ));
        let alice = User { name: "alice".into(), ..User::default() };
        let reads = PathPatterns { read: vec!["/a".into()], write: Vec::new() };
        let mut revoked = Auth::default();
        revoked.import_path_auth(true, vec![alice], vec![("app".into(), reads)]);
        assert!(!caller.allow(&revoked, b"/a", READ));
    }

    #[test]
    fn only_an_administrator_sees_discovery_tokens() {
        let all = PathPatterns { read: vec!["/*".into()], write: vec!["/*".into()] };
        let root = User { name: "root".into(), ..User::default() };
        let mut auth = Auth::default();
        auth.import_path_auth(true, vec![root], vec![(GUEST.into(), all)]);
        let root = auth.user("root");
        for (key, recursive, guest) in [
            ("/_etcd/registry", false, false),
            ("/_etcd", true, false),
            ("/_etcd/registry/token", true, true),
            ("/", true, true),
        ] {
            let may = |user, write| {
                allows_key(&auth, user, key.as_bytes(), PathAccess { write, recursive })
            };
            let seen = [may(None, false), may(root, false), may(None, true)];
            assert_eq!(seen, [guest, true, true], "{key}");
        }
    }

    #[test]
    fn the_first_colon_separates_name_and_password() {
        let pair = |name: &str, password: &str| Some((name.into(), password.into()));
        assert_eq!(basic(b"Basic cm9vdDpwdw=="), pair("root", "pw"));
        assert_eq!(basic(b"bAsIc cm9vdDpwdw=="), pair("root", "pw"));
        assert_eq!(basic(b"Basic YTpiOmM="), pair("a", "b:c"));
        for wrong in [
            "",
            "Basic",
            "Basic cm9vdDpwdw",
            "Bearer abc",
            "Basic cm9vdA==",
        ] {
            assert_eq!(basic(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
