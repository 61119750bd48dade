//! Who sends a request of v2, and whether that user may: Basic authentication and etcd 3.4's rules.
//! The rules themselves are the state's (`witan_replica::machine::auth::paths`).
//!
//! While auth of v2 is off, a request of the key space costs one load here. A password is hashed for
//! each request that shows one, as in etcd: what a remembered one would save, a changed one must not
//! outlive. A certificate proves nothing here: any page could make a browser show it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::AUTHORIZATION, header::CONTENT_TYPE},
};
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use witan_api::v2::{auth::INSUFFICIENT, members::Message};
use witan_replica::machine::auth::{
    User,
    paths::{Wish, is_path_root},
};

use crate::{
    api::{Context, go, reply},
    node::Fault,
};

const BASIC: &str = "basic ";

const DIGITS: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// What a request says of who sends it.
enum Shown {
    Nobody,
    User(User),
    /// What proves nobody.
    Wrong,
}

/// Whether the sender may do that to a key of the tree.
pub(in crate::api) async fn may(
    ctx: &Context,
    request: &HttpRequest,
    key: &[u8],
    wish: Wish,
) -> Result<bool, Fault> {
    if !ctx.node.paths_enabled() {
        return Ok(true);
    }
    let shown = shown(ctx, request).await?;
    let view = ctx.node.view().await?;
    let auth = &view.machine.auth;
    Ok(match shown {
        Shown::Nobody => auth.allows_path(None, key, wish),
        Shown::User(user) => auth.allows_path(Some(&user), key, wish),
        Shown::Wrong => false,
    })
}

/// Whether the sender may change members, as far as auth of v2 asks.
pub(in crate::api::v2) async fn may_manage_members(
    ctx: &Context,
    request: &HttpRequest,
) -> Result<bool, Fault> {
    if !ctx.node.paths_enabled() {
        return Ok(true);
    }
    is_root(ctx, request).await
}

/// Whether the sender may see and change users. They are v3's too, so that its switch counts as well.
pub(super) async fn may_manage(ctx: &Context, request: &HttpRequest) -> Result<bool, Fault> {
    if !ctx.node.paths_enabled() && !ctx.node.auth_enabled() {
        return Ok(true);
    }
    is_root(ctx, request).await
}

/// 401 as everything but the key space answers it.
pub(in crate::api::v2) fn refuse() -> HttpResponse {
    let message = INSUFFICIENT.to_owned();
    HttpResponse::build(StatusCode::UNAUTHORIZED)
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(go::json(&Message { message }))
}

async fn is_root(ctx: &Context, request: &HttpRequest) -> Result<bool, Fault> {
    Ok(match shown(ctx, request).await? {
        Shown::User(user) => is_path_root(&user),
        Shown::Nobody | Shown::Wrong => false,
    })
}

async fn shown(ctx: &Context, request: &HttpRequest) -> Result<Shown, Fault> {
    let header = request.headers().get(AUTHORIZATION);
    let Some(header) = header.filter(|header| !header.is_empty()) else {
        return Ok(Shown::Nobody);
    };
    let Some((name, password)) = basic(header.as_bytes()) else {
        return Ok(Shown::Wrong);
    };
    let view = ctx.node.view().await?;
    let Some(user) = view.machine.auth.user(&name).cloned() else {
        tracing::warn!(user = name, "v2 request of an unknown user");
        return Ok(Shown::Wrong);
    };
    drop(view);
    let matches = ctx.guard.hashing.matches(password, user.password.clone());
    match matches.await {
        Ok(true) if !user.no_password => Ok(Shown::User(user)),
        Ok(_) => {
            tracing::warn!(user = name, "v2 request with a wrong password");
            Ok(Shown::Wrong)
        }
        Err(error) => {
            tracing::warn!(%error, "the password of a v2 request was not checked");
            Ok(Shown::Wrong)
        }
    }
}

/// Name and password.
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
