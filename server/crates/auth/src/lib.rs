//! Authenticates requests and checks passwords.
//!
//! Permissions and password hashes are part of the state (`server/crates/machine/src/auth`). Secrets are never logged.
//!
//! Reading order: `credentials` → this file (the caller) → `password` (bcrypt's format) → `hashing` (bcrypt's cost, separate
//! threads), `verified` (cache of passwords) → `jwt` (signed tokens), `token_keys` (their keys). `witan_node` holds simple
//! tokens.

mod credentials;
mod hashing;
mod jwt;
pub mod password;
mod token_keys;
mod verified;

use bytes::Bytes;
use ring::rand::{self, SystemRandom};
use witan_base::account::Account;
use witan_config::AuthSettings;
use witan_logging::{LogLimit, shorten};
use witan_machine::{auth::Caller, limits::AUTH_NAME_BYTES_MAX};
use witan_node::Node;

pub use credentials::Credentials;
pub use hashing::{HashError, PasswordHasher};

use jwt::Jwt;

/// Number of letters before the dot of a simple token.
const TOKEN_LETTERS: usize = 16;

const ALPHABET: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Limits log lines about wrong names and passwords, because any client can cause such lines.
static WRONG_PASSWORDS: LogLimit = LogLimit::new();

/// The token is unknown, expired or invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid auth token")]
pub struct InvalidToken;

/// The reason why no token was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// This member has no private key for signing tokens.
    #[error("token signing attempted with verify-only key")]
    VerifyOnly,
    /// The system returned no random numbers.
    #[error("the system provides no random numbers")]
    NoRandomness,
}

/// Authenticates callers and checks passwords.
#[derive(Debug)]
pub struct Authenticator {
    /// The keys of signed tokens; `None` if tokens are simple.
    jwt: Option<Jwt>,
    /// Hashes passwords.
    pub hashing: PasswordHasher,
}

impl Authenticator {
    /// Creates an authenticator. Reads the key files of signed tokens. Fails with a description of the problem if
    /// `--auth-token` is invalid or the system provides no random numbers.
    pub fn new(settings: &AuthSettings) -> Result<Self, String> {
        let (name, options) = settings
            .token
            .split_once(',')
            .unwrap_or((&settings.token, ""));
        let jwt = match name {
            "simple" => None,
            "jwt" => Some(Jwt::new(options)?),
            _ => return Err("must be simple or jwt".into()),
        };
        Ok(Self {
            jwt,
            hashing: PasswordHasher::new(settings.bcrypt_cost)
                .map_err(|error| error.to_string())?,
        })
    }

    /// Returns whether a password matches the stored hash `hashed` of the user `name`. If `hashed` is `None`, because there is
    /// no such user, returns `false` after the same time. After a mismatch, logs the user name, unless too many such lines were
    /// logged. An unknown name that is longer than `AUTH_NAME_BYTES_MAX` is neither checked nor logged.
    pub async fn check_password(
        &self,
        account: &Account,
        (name, password): (&str, &str),
        hashed: Option<&Bytes>,
    ) -> Result<bool, HashError> {
        // Clients cannot create such a user. A user adopted from etcd can have a longer name.
        if hashed.is_none() && name.len() > AUTH_NAME_BYTES_MAX {
            return Ok(false);
        }
        let matches = self.hashing.matches(account, password, hashed).await?;
        if !matches && let Some(left_out) = WRONG_PASSWORDS.admit() {
            tracing::warn!(
                user = shorten(name),
                left_out,
                "invalid authentication was requested"
            );
        }
        Ok(matches)
    }

    /// Returns the caller that the credentials authenticate, or `None` if there are no credentials. A token takes precedence
    /// over a certificate, even if the token is invalid. Renews a simple token. The caller of a simple token or a certificate
    /// has the current auth revision. Does not check whether authentication is enabled or the user exists. Call
    /// [`Self::await_token`] first.
    pub fn recognize(
        &self,
        node: &Node,
        credentials: &Credentials,
    ) -> Result<Option<Caller>, InvalidToken> {
        // Read the revision before the token, because the user may be changed between the two reads.
        let revision = node.auth().revision;
        let user = match credentials.token() {
            Some(token) => match &self.jwt {
                None => node.tokens().use_token(token).ok_or(InvalidToken)?,
                Some(jwt) => {
                    let caller = credentials.verified_claims(jwt, token);
                    return caller.map(Some).ok_or(InvalidToken);
                }
            },
            None => match credentials.certificate() {
                Some(name) => name.to_owned(),
                None => return Ok(None),
            },
        };
        Ok(Some(Caller { user, revision }))
    }

    /// If this member might not have applied the entry that issued a simple token, waits until it has applied all entries
    /// committed so far, or until that fails. Does nothing for other credentials.
    pub async fn await_token(&self, node: &Node, credentials: &Credentials) {
        let token = credentials.token().filter(|_| self.jwt.is_none());
        if token.is_some_and(|token| node.tokens().is_ahead(token)) {
            // If waiting fails, the token stays unknown. The box keeps the futures of calls small.
            let _ = Box::pin(node.read_index()).await;
        }
    }

    /// Returns the random prefix for a new simple token, or an empty string if tokens are signed. Fails if the system provides
    /// no random numbers.
    pub fn token_prefix(&self) -> Result<String, TokenError> {
        match self.jwt {
            None => Self::letters(),
            Some(_) => Ok(String::new()),
        }
    }

    /// Issues a token for a user who authenticated at the auth revision `revision`. A simple token consists of `prefix` and
    /// `index`, the log index of the authentication. Fails with `VerifyOnly` if tokens are signed and there is no private key.
    pub fn token(
        &self,
        user: &str,
        revision: u64,
        (prefix, index): (&str, u64),
    ) -> Result<String, TokenError> {
        match &self.jwt {
            None => Ok(format!("{prefix}.{index}")),
            Some(jwt) => {
                let signed = jwt.sign(user, revision, witan_node::now_s());
                // With a private key, signing succeeded at startup.
                signed.and_then(Result::ok).ok_or(TokenError::VerifyOnly)
            }
        }
    }

    /// Returns `TOKEN_LETTERS` random letters. Fails if the system provides no random numbers.
    fn letters() -> Result<String, TokenError> {
        let mut letters = String::with_capacity(TOKEN_LETTERS);
        while letters.len() < TOKEN_LETTERS {
            let drawn = rand::generate::<[u8; TOKEN_LETTERS]>(&SystemRandom::new());
            let drawn = drawn.map_err(|_| TokenError::NoRandomness)?.expose();
            // Reject values at or above the largest multiple of the alphabet's size, which would bias the letters.
            let fair = drawn.iter().filter(|byte| **byte < 4 * 52);
            let fair = fair.map(|byte| char::from(ALPHABET[usize::from(byte % 52)]));
            letters.extend(fair.take(TOKEN_LETTERS - letters.len()));
        }
        Ok(letters)
    }
}

#[cfg(test)]
mod tests {
    use witan_base::{
        account::{Resource, Totals},
        metrics::Register,
    };
    use witan_config::Config;

    use super::*;

    #[tokio::test]
    async fn overlong_user_names_are_refused_without_hashing() {
        let guard = Authenticator::new(&Config::default().settings.auth).unwrap();
        let account = Totals::register(&Register::default(), u64::MAX).open();
        // No further password can be hashed.
        let _waiting = account.hold(Resource::Passwords, Resource::Passwords.limit() / 2);
        let long = "x".repeat(AUTH_NAME_BYTES_MAX + 1);
        let adopted = Bytes::from_static(b"a hash");
        for (name, hashed, answer) in [
            (long.as_str(), None, Ok(false)),
            (&long[1..], None, Err(HashError::TooMany)),
            (long.as_str(), Some(&adopted), Err(HashError::TooMany)),
        ] {
            let checked = guard.check_password(&account, (name, "wrong"), hashed);
            assert_eq!(checked.await, answer, "{} bytes", name.len());
        }
    }

    #[test]
    fn token_prefixes_are_letters_and_differ() {
        let guard = Authenticator::new(&Config::default().settings.auth).unwrap();
        let (one, other) = (guard.token_prefix().unwrap(), guard.token_prefix().unwrap());
        assert_ne!(one, other);
        for prefix in [one, other] {
            assert_eq!(prefix.len(), TOKEN_LETTERS);
            assert!(prefix.bytes().all(|b| b.is_ascii_alphabetic()), "{prefix}");
        }
    }
}
