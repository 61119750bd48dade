//! Authentication: the user of a request, and the check of passwords.
//!
//! Not here: permissions of users and the hashes of passwords, which are in the state
//! (`server/crates/machine/src/auth`). Secrets are neither logged nor printed by `Debug`.
//!
//! Reading order: `credentials` (token or certificate of a request) → this file (the caller) → `password` (bcrypt's
//! format) → `hashing` (bcrypt on its own threads) with `verified` (cache of verified passwords) → `jwt` (signed tokens) with `keys` (their keys).

mod credentials;
mod hashing;
mod jwt;
mod keys;
pub mod password;
mod verified;

use ring::rand::{SecureRandom as _, SystemRandom};
use witan_config::AuthSettings;
use witan_machine::auth::Caller;
use witan_node::Node;

pub use credentials::Credentials;
pub use hashing::{HashError, PasswordHasher};

/// Letters before the dot of a simple token.
const TOKEN_LETTERS: usize = 16;

/// The letters of a simple token.
const ALPHABET: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The token is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid auth token")]
pub struct InvalidToken;

/// Why no token was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// This member has no private key to sign tokens.
    #[error("token signing attempted with verify-only key")]
    VerifyOnly,
    /// The system gave no random numbers.
    #[error("the system does not provide random numbers")]
    NoRandomness,
}

/// The kind of tokens, from `--auth-token`.
#[derive(Debug)]
enum TokenKind {
    Simple,
    Jwt(Box<jwt::Jwt>),
}

/// Authenticates callers and checks passwords.
#[derive(Debug)]
pub struct Authenticator {
    kind: TokenKind,
    /// Hashes and compares passwords.
    pub hashing: PasswordHasher,
    random: SystemRandom,
}

impl Authenticator {
    /// Makes an authenticator from the settings; the error explains what is wrong with
    /// `--auth-token`.
    pub fn new(settings: &AuthSettings) -> Result<Self, String> {
        let (name, options) = settings
            .token
            .split_once(',')
            .unwrap_or((&settings.token, ""));
        let kind = match name {
            "simple" => TokenKind::Simple,
            "jwt" => TokenKind::Jwt(Box::new(jwt::Jwt::new(options)?)),
            _ => return Err("it must be one of simple, jwt".into()),
        };
        Ok(Self {
            kind,
            hashing: PasswordHasher::new(settings.bcrypt_cost)
                .map_err(|error| error.to_string())?,
            random: SystemRandom::new(),
        })
    }

    /// Authenticates credentials; `None` if there are none. A token takes precedence over a certificate, also if it
    /// is invalid. Neither whether authentication is on nor whether the user exists is checked; call
    /// [`Self::await_token`] before, as this member may not know a token yet that another one has given.
    pub fn recognize(
        &self,
        node: &Node,
        shown: &Credentials,
    ) -> Result<Option<Caller>, InvalidToken> {
        // read before the token, whose user may change with a later revision
        let revision = node.auth().revision;
        let user = match shown.token() {
            Some(token) => match &self.kind {
                TokenKind::Simple => node.tokens().user(token).ok_or(InvalidToken)?,
                TokenKind::Jwt(jwt) => {
                    return shown
                        .verified_claims(jwt, token)
                        .map(Some)
                        .ok_or(InvalidToken);
                }
            },
            None => match shown.certificate() {
                Some(name) => name.to_owned(),
                None => return Ok(None),
            },
        };
        Ok(Some(Caller { user, revision }))
    }

    /// Waits until this member knows the simple token of credentials, if another member has given it
    /// already: until all that was committed before is applied.
    pub async fn await_token(&self, node: &Node, shown: &Credentials) {
        let simple = matches!(self.kind, TokenKind::Simple);
        let token = shown.token().filter(|_| simple);
        if token.is_some_and(|token| node.tokens().is_ahead(token)) {
            // without a quorum the token stays unknown; boxed, so that the futures of calls stay small
            let _ = Box::pin(node.read_index()).await;
        }
    }

    /// Generates the random prefix of a simple token; empty for signed tokens.
    pub fn token_prefix(&self) -> Result<String, TokenError> {
        match &self.kind {
            TokenKind::Simple => self.letters(),
            TokenKind::Jwt(_) => Ok(String::new()),
        }
    }

    /// Issues the token of a user who was authenticated at an auth revision. A simple token consists of `prefix` and
    /// the index of the authentication's log entry.
    pub fn token(
        &self,
        user: &str,
        revision: u64,
        (prefix, index): (&str, u64),
    ) -> Result<String, TokenError> {
        match &self.kind {
            TokenKind::Simple => Ok(format!("{prefix}.{index}")),
            TokenKind::Jwt(jwt) => jwt
                .token(user, revision, witan_node::now_s())
                .ok_or(TokenError::VerifyOnly),
        }
    }

    /// Generates [`TOKEN_LETTERS`] random letters.
    fn letters(&self) -> Result<String, TokenError> {
        let mut letters = String::with_capacity(TOKEN_LETTERS);
        let mut drawn = [0; TOKEN_LETTERS];
        while letters.len() < TOKEN_LETTERS {
            self.random
                .fill(&mut drawn)
                .map_err(|_| TokenError::NoRandomness)?;
            // reject values beyond a multiple of the alphabet, which would bias letters
            let fair = drawn.iter().filter(|byte| **byte < 4 * 52);
            let fair = fair.map(|byte| char::from(ALPHABET[usize::from(byte % 52)]));
            letters.extend(fair.take(TOKEN_LETTERS - letters.len()));
        }
        Ok(letters)
    }
}

#[cfg(test)]
mod tests {
    use witan_config::Config;

    use super::*;

    #[test]
    fn prefixes_are_letters_and_differ() {
        let guard = Authenticator::new(&Config::default().settings.auth).unwrap();
        let (one, other) = (guard.token_prefix().unwrap(), guard.token_prefix().unwrap());
        assert_ne!(one, other);
        for prefix in [one, other] {
            assert_eq!(prefix.len(), TOKEN_LETTERS);
            assert!(prefix.bytes().all(|b| b.is_ascii_alphabetic()), "{prefix}");
        }
    }
}
