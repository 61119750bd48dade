//! Signed tokens (`--auth-token=jwt,…`). Every member with the key accepts such tokens, and no member stores them. A member
//! that has only the public key cannot issue tokens.

use std::{collections::BTreeMap, fmt, fs, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::json;
use witan_gocompat::text::parse_duration;
use witan_machine::auth::Caller;

use super::token_keys;

/// A time at this distance in seconds (about 30 million years) or more from the Unix epoch is invalid.
const SECONDS_END: f64 = 1e15;

/// Default lifetime of a token.
const TTL: Duration = Duration::from_secs(5 * 60);

/// Signs and verifies tokens. `Debug` does not print keys.
pub(super) struct Jwt {
    method: Algorithm,
    signs: Option<EncodingKey>,
    checks: DecodingKey,
    ttl: Duration,
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// The claims of a received token. Tokens of other issuers can lack `exp` and `nbf`.
#[derive(Deserialize)]
struct ReceivedClaims {
    username: String,
    revision: f64,
    #[serde(default, deserialize_with = "seconds")]
    exp: Option<i64>,
    /// Rejects a value that is not a number. `jsonwebtoken` checks the time but ignores other values.
    #[serde(default, deserialize_with = "seconds", rename = "nbf")]
    _nbf: Option<i64>,
}

/// Deserializes a time in Unix seconds, rounded down. As in etcd, fails for any other value, even null.
fn seconds<'de, D: Deserializer<'de>>(claim: D) -> Result<Option<i64>, D::Error> {
    let seconds = f64::deserialize(claim)?;
    if seconds.abs() < SECONDS_END {
        Ok(Some(seconds.floor() as i64))
    } else {
        Err(D::Error::custom("not a valid time"))
    }
}

impl Jwt {
    /// Parses the options after `jwt,` in the flag and reads the key files. Fails with a description of the first problem, such
    /// as keys that do not match. Logs a warning for each unknown option.
    pub(super) fn new(options: &str) -> Result<Self, String> {
        let mut given = BTreeMap::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| format!("{option} is not NAME=VALUE"))?;
            if given.insert(name, value).is_some() {
                return Err(format!("{name} is given twice"));
            }
        }
        let file = |name: &str| -> Result<Option<Vec<u8>>, String> {
            let path = given.get(name).filter(|path| !path.is_empty());
            let read = path.map(|path| fs::read(path).map_err(|e| format!("{name}={path}: {e}")));
            read.transpose()
        };
        let name = given.get("sign-method").copied().unwrap_or_default();
        let method: Result<Algorithm, _> = name.parse();
        let method = method.map_err(|_| format!("sign-method {name:?} is not known"))?;
        let ttl = match given.get("ttl").filter(|ttl| !ttl.is_empty()) {
            Some(ttl) => {
                parse_duration(ttl).ok_or_else(|| format!("ttl={ttl} is not a duration"))?
            }
            None => TTL,
        };
        let (public, private) = (file("pub-key")?, file("priv-key")?);
        let known = ["sign-method", "ttl", "pub-key", "priv-key"];
        for name in given.keys().filter(|name| !known.contains(name)) {
            tracing::warn!(name, "unknown option of --auth-token");
        }
        let (signs, checks) = token_keys::read(method, public.as_deref(), private.as_deref())?;
        let jwt = Self { method, signs, checks, ttl };
        jwt.check_key_pair()?;
        Ok(jwt)
    }

    /// Signs and verifies a token. Fails if the private and the public key do not match. Succeeds if there is no private key.
    fn check_key_pair(&self) -> Result<(), String> {
        let Some(signed) = self.sign("root", 1, 0) else {
            return Ok(());
        };
        let token = signed.map_err(|error| format!("priv-key: {error}"))?;
        let mut validation = self.validation();
        validation.validate_exp = false;
        decode::<ReceivedClaims>(&token, &self.checks, &validation)
            .map(drop)
            .map_err(|_| "public and private keys don't match".into())
    }

    /// Returns the rules for received tokens: the signing method, and times without leeway. No claim is required.
    fn validation(&self) -> Validation {
        let mut validation = Validation::new(self.method);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        validation
    }

    /// Signs a token that expires `ttl` after `now_s` (Unix seconds). Returns `None` if there is no private key.
    pub(super) fn sign(
        &self,
        user: &str,
        revision: u64,
        now_s: i64,
    ) -> Option<jsonwebtoken::errors::Result<String>> {
        let ttl_s = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        let claims = json!({
            "username": user,
            "revision": revision as f64,
            "exp": now_s.saturating_add(ttl_s),
        });
        let header = Header::new(self.method);
        Some(encode(&header, &claims, self.signs.as_ref()?))
    }

    /// Verifies a token's signature and times. Returns the token's claims, or `None` if the token is invalid or expired.
    pub(super) fn verify(&self, token: &str) -> Option<VerifiedClaims> {
        let claims = decode::<ReceivedClaims>(token, &self.checks, &self.validation())
            .ok()?
            .claims;
        Some(VerifiedClaims {
            caller: Caller {
                user: claims.username,
                // Like Go's conversion, this conversion turns negative values and NaN into 0.
                revision: claims.revision as u64,
            },
            ends_s: claims.exp,
        })
    }
}

/// The claims of a token with a verified signature.
pub(super) struct VerifiedClaims {
    /// The user and the auth revision at which the token was issued.
    pub(super) caller: Caller,
    /// Expiration in Unix seconds; `None` if the token does not expire.
    ends_s: Option<i64>,
}

impl VerifiedClaims {
    /// Returns whether the token has not expired. A token without an expiration time never expires.
    pub(super) fn is_current(&self) -> bool {
        self.ends_s
            .is_none_or(|ends_s| witan_node::now_s() <= ends_s)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const SECRET: &[u8] = b"a secret of a length that is long enough";

    fn jwt() -> Jwt {
        Jwt {
            method: Algorithm::HS256,
            signs: Some(EncodingKey::from_secret(SECRET)),
            checks: DecodingKey::from_secret(SECRET),
            ttl: TTL,
        }
    }

    /// Returns whether the verifier accepts a token with root's claims and the claims in `more`.
    fn takes(more: Value) -> bool {
        let mut claims = json!({"username": "root", "revision": 1});
        let more = more.as_object().expect("claims").clone();
        claims.as_object_mut().expect("claims").extend(more);
        let key = EncodingKey::from_secret(SECRET);
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a signed token");
        let verified = jwt().verify(&token);
        verified.is_some_and(|claims| claims.caller.user == "root" && claims.is_current())
    }

    #[test]
    fn times_are_numbers() {
        let now_s = witan_node::now_s();
        let (past, later) = (now_s - 60, now_s + 60);
        for taken in [
            json!({}),
            json!({"exp": later}),
            json!({"exp": later as f64 + 0.5}),
            json!({"nbf": past}),
            json!({"nbf": past as f64 + 0.5, "exp": later}),
        ] {
            assert!(takes(taken.clone()), "{taken}");
        }
        for refused in [
            json!({"exp": past}),
            json!({"exp": 0}),
            json!({"exp": -1}),
            json!({"exp": later.to_string()}),
            json!({"exp": null}),
            json!({"exp": 1e300}),
            json!({"exp": [later]}),
            json!({"nbf": later}),
            json!({"nbf": later as f64 + 0.5}),
            json!({"nbf": later.to_string()}),
            json!({"nbf": null}),
            json!({"nbf": 1e300, "exp": later}),
        ] {
            assert!(!takes(refused.clone()), "{refused}");
        }
    }

    #[test]
    fn only_tokens_with_this_key_and_method_are_valid() {
        let claims = json!({"username": "root", "revision": 1});
        let signed = |method: Algorithm, secret: &[u8]| {
            let key = EncodingKey::from_secret(secret);
            encode(&Header::new(method), &claims, &key).expect("a signed token")
        };
        let taken = |token: &str| jwt().verify(token).is_some();
        let good = signed(Algorithm::HS256, SECRET);
        assert!(taken(&good));
        assert!(!taken(&signed(Algorithm::HS256, b"another secret")));
        assert!(!taken(&signed(Algorithm::HS256, b"")));
        assert!(!taken(&signed(Algorithm::HS512, SECRET)));
        // The header {"alg":"none"} precedes the same claims, with and without a signature.
        let (_, rest) = good.split_once('.').expect("three parts");
        let (unsigned, signature) = rest.split_once('.').expect("three parts");
        for none in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOT05FIn0", "e30", ""] {
            assert!(!taken(&format!("{none}.{unsigned}.{signature}")));
            assert!(!taken(&format!("{none}.{unsigned}.")));
            assert!(!taken(&format!("{none}.{unsigned}")));
        }
        for wrong in ["", ".", "..", "...", " ", "a.b.c"] {
            assert!(!taken(wrong), "{wrong:?}");
        }
        assert!(!taken(&format!("{good}=")) && !taken(&format!("{good} ")));
    }
}
