//! Authenticates and authorizes HTTP/1 requests with Basic credentials, by etcd 3.4's rules for v2. The state machine
//! implements the rules (`witan_machine::auth::path_permissions`).
//!
//! While v2 authentication is disabled, a request for a key costs one atomic load. A password that was not verified recently is
//! hashed (`witan_auth`). Client certificates are ignored, because any web page can make a browser present one.

use actix_web::{HttpRequest, HttpResponse, http::header::AUTHORIZATION};
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use witan_api::access::{Access, AuthSwitches};
use witan_auth::Credentials;
use witan_logging::LogLimit;
use witan_machine::{
    StateMachine,
    auth::{
        Auth, User,
        path_permissions::{PathAccess, is_path_root},
    },
};
use witan_node::NodeError;

pub use witan_api::v2::auth::INSUFFICIENT;

use super::{Context, reply};

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
enum BasicCredentials {
    Anonymous,
    User(User),
    Invalid,
}

impl BasicCredentials {
    /// Returns whether the user's roles grant the access `wish` to `key`.
    fn allow(&self, auth: &Auth, key: &[u8], wish: PathAccess) -> bool {
        match self {
            Self::Anonymous => auth.allows_path(None, key, wish),
            Self::User(user) => auth.allows_path(Some(user), key, wish),
            Self::Invalid => false,
        }
    }
}

/// Returns whether the caller's roles grant the access `wish` to a v2 key, or true while v2 authentication is disabled.
pub async fn authorize_key(
    ctx: &Context,
    request: &HttpRequest,
    key: &[u8],
    wish: PathAccess,
) -> Result<bool, NodeError> {
    if !ctx.node.v2_auth_enabled() {
        return Ok(true);
    }
    let shown = basic_credentials(ctx, request).await?;
    let view = ctx.node.view().await?;
    Ok(shown.allow(&view.machine.auth, key, wish))
}

/// Like [`authorize_key`], but checks against `machine`, the state that the request is about to read.
pub(super) async fn authorize_key_in(
    ctx: &Context,
    request: &HttpRequest,
    machine: &StateMachine,
    (key, wish): (&[u8], PathAccess),
) -> Result<bool, NodeError> {
    if !ctx.node.v2_auth_enabled() {
        return Ok(true);
    }
    let shown = basic_credentials(ctx, request).await?;
    Ok(shown.allow(&machine.auth, key, wish))
}

/// Returns whether the caller, authenticated by a password or a v3 token, may use an HTTP/1 route. Returns true for v2 keys,
/// whose handlers check access themselves.
pub(super) async fn authorize_route(
    ctx: &Context,
    request: &HttpRequest,
    access: Access,
) -> Result<bool, NodeError> {
    let on = AuthSwitches { v2: ctx.node.v2_auth_enabled(), v3: ctx.node.auth_enabled() };
    if access == Access::V2Keys || !access.needs_authentication(on) {
        return Ok(true);
    }
    let rights = match basic_credentials(ctx, request).await? {
        BasicCredentials::User(user) => Rights { user: true, root: is_path_root(&user) },
        BasicCredentials::Invalid => bearer(ctx, request).await?,
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

/// Returns the rights of the user whose token the `Authorization` header contains, or no rights without a valid token.
async fn bearer(ctx: &Context, request: &HttpRequest) -> Result<Rights, NodeError> {
    let header = request.headers().get(AUTHORIZATION);
    let token = header.map(|value| value.to_str().unwrap_or_default());
    let shown = Credentials::of_token(token);
    ctx.authenticator.await_token(&ctx.node, &shown).await;
    let view = ctx.node.view().await?;
    let Ok(Some(caller)) = ctx.authenticator.recognize(&ctx.node, &shown) else {
        return Ok(Rights::default());
    };
    let auth = &view.machine.auth;
    Ok(Rights {
        user: auth.user(&caller.user).is_some(),
        root: auth.check_admin(Some(&caller)).is_ok(),
    })
}

/// Builds the 401 response of routes other than keys: a JSON object with the message.
pub(super) fn unauthorized() -> HttpResponse {
    reply::error_message(HttpResponse::Unauthorized(), INSUFFICIENT.into())
}

/// Checks a request's Basic credentials. Returns `Anonymous` without a header, and `Invalid` if the credentials are malformed
/// or wrong. Fails if no view is available or the password could not be checked.
async fn basic_credentials(
    ctx: &Context,
    request: &HttpRequest,
) -> Result<BasicCredentials, NodeError> {
    let header = request.headers().get(AUTHORIZATION);
    let Some(header) = header.filter(|header| !header.is_empty()) else {
        return Ok(BasicCredentials::Anonymous);
    };
    let Some((name, password)) = basic(header.as_bytes()) else {
        return Ok(BasicCredentials::Invalid);
    };
    let user = ctx.node.view().await?.machine.auth.user(&name).cloned();
    // The response takes as long for a user without a password as for an unknown user.
    let hashed = user.as_ref().filter(|user| !user.no_password);
    let hashed = hashed.map(|user| &user.password);
    let checked = ctx
        .authenticator
        .check_password(ctx.account(), (&name, &password), hashed);
    match checked.await {
        Ok(true) => Ok(user.map_or(BasicCredentials::Invalid, BasicCredentials::User)),
        Ok(false) => Ok(BasicCredentials::Invalid),
        Err(error) => {
            if let Some(left_out) = UNCHECKED_PASSWORDS.admit() {
                tracing::warn!(
                    left_out,
                    %error,
                    "failed to check the password of a v2 request"
                );
            }
            Err(NodeError::TooMany)
        }
    }
}

/// Parses a Basic `Authorization` header into name and password. Returns `None` if the scheme differs, or the value is not
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
    use super::*;

    #[test]
    fn names_and_passwords_are_taken_apart_at_the_first_colon() {
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
