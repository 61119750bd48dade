//! Tokens that carry their own proof (`--auth-token=jwt,…`): any member that knows the key takes
//! them, and none remembers them. With a public key alone they are taken and not given.

use std::{collections::BTreeMap, fmt, fs, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    },
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use witan_replica::machine::auth::Caller;

/// How long a token lives unless it is said.
const TTL: Duration = Duration::from_secs(5 * 60);

/// What etcd calls the ways to sign that are known here.
const METHODS: [(&str, Algorithm); 12] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
];

/// Signs and checks. Keys are shown by no `Debug`.
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

#[derive(Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

impl Jwt {
    /// Of what follows `jwt,` in the flag; `duration` reads Go's durations.
    pub(super) fn new(
        options: &str,
        duration: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Self, String> {
        let mut given = BTreeMap::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| format!("{option} is not NAME=VALUE"))?;
            if given.insert(name, value).is_some() {
                return Err(format!("{name} stands twice"));
            }
        }
        let file = |name: &str| -> Result<Option<Vec<u8>>, String> {
            let path = given.get(name).filter(|path| !path.is_empty());
            let read = path.map(|path| fs::read(path).map_err(|e| format!("{name}={path}: {e}")));
            read.transpose()
        };
        let asked = given.get("sign-method").copied().unwrap_or_default();
        let method = METHODS.iter().find(|(name, _)| *name == asked);
        let (_, method) = method.ok_or_else(|| format!("sign-method {asked:?} is not known"))?;
        let ttl = match given.get("ttl").filter(|ttl| !ttl.is_empty()) {
            Some(ttl) => duration(ttl).ok_or_else(|| format!("ttl={ttl} is not a duration"))?,
            None => TTL,
        };
        let (public, private) = (file("pub-key")?, file("priv-key")?);
        let known = ["sign-method", "ttl", "pub-key", "priv-key"];
        for name in given.keys().filter(|name| !known.contains(name)) {
            tracing::warn!(name, "unknown option of --auth-token");
        }
        let (signs, checks) = keys(*method, public.as_deref(), private.as_deref())?;
        let jwt = Self {
            method: *method,
            signs,
            checks,
            ttl,
        };
        jwt.prove()?;
        Ok(jwt)
    }

    /// Whether both keys are of one pair.
    fn prove(&self) -> Result<(), String> {
        let Some(signed) = self.sign("root", 1, 0) else {
            return Ok(());
        };
        let token = signed.map_err(|error| format!("priv-key: {error}"))?;
        let mut validation = self.validation();
        validation.validate_exp = false;
        decode::<Claims>(&token, &self.checks, &validation)
            .map(drop)
            .map_err(|_| "public and private keys don't match".into())
    }

    fn validation(&self) -> Validation {
        let mut validation = Validation::new(self.method);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        validation
    }

    fn sign(
        &self,
        user: &str,
        revision: u64,
        now_s: i64,
    ) -> Option<jsonwebtoken::errors::Result<String>> {
        let ttl_s = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            username: user.to_owned(),
            revision: revision as f64,
            exp: Some(now_s.saturating_add(ttl_s)),
        };
        let header = Header::new(self.method);
        Some(encode(&header, &claims, self.signs.as_ref()?))
    }

    /// A token that begins now; `None` if no key signs it.
    pub(super) fn token(&self, user: &str, revision: u64, now_s: i64) -> Option<String> {
        let signed = self.sign(user, revision, now_s)?;
        // a key that signed at the start signs
        signed.ok()
    }

    /// Whose token it is, and at which revision it was given.
    pub(super) fn caller(&self, token: &str) -> Option<Caller> {
        let claims = decode::<Claims>(token, &self.checks, &self.validation())
            .ok()?
            .claims;
        Some(Caller {
            user: claims.username,
            // as Go converts: what is below 0 or no number is 0
            revision: claims.revision as u64,
        })
    }
}

type Keys = (Option<EncodingKey>, DecodingKey);

fn keys(method: Algorithm, public: Option<&[u8]>, private: Option<&[u8]>) -> Result<Keys, String> {
    let (signs, own) = match method {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            let secret = private.ok_or("missing key data: priv-key")?;
            let keys = (
                EncodingKey::from_secret(secret),
                DecodingKey::from_secret(secret),
            );
            return Ok((Some(keys.0), keys.1));
        }
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::EdDSA => match private {
            Some(pem) => {
                let (signs, own) = private_key(method, pem)?;
                (Some(signs), Some(own))
            }
            None => (None, None),
        },
    };
    let read = |pem: &[u8]| {
        let key = match method {
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512
            | Algorithm::HS256
            | Algorithm::HS384
            | Algorithm::HS512 => DecodingKey::from_rsa_pem(pem),
        };
        key.map_err(|error| format!("pub-key: {error}"))
    };
    let public = public.map(read).transpose()?;
    let checks = public
        .or(own)
        .ok_or("missing key data: pub-key, priv-key")?;
    Ok((signs, checks))
}

/// The key, and the public one that belongs to it.
fn private_key(method: Algorithm, pem: &[u8]) -> Result<(EncodingKey, DecodingKey), String> {
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("priv-key: {error}"))?;
    let rejected = |error: ring::error::KeyRejected| format!("priv-key: {error}");
    let der_of_pkcs8 = match &der {
        PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der(),
        PrivateKeyDer::Pkcs1(key) => {
            let pair = RsaKeyPair::from_der(key.secret_pkcs1_der()).map_err(rejected)?;
            let own = DecodingKey::from_rsa_der(pair.public().as_ref());
            return Ok((EncodingKey::from_rsa_der(key.secret_pkcs1_der()), own));
        }
        PrivateKeyDer::Sec1(_) | _ => {
            return Err(
                "priv-key: not in PKCS#8; `openssl pkcs8 -topk8 -nocrypt` makes it so".into(),
            );
        }
    };
    let ec = |algorithm| -> Result<(EncodingKey, DecodingKey), String> {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der_of_pkcs8, &SystemRandom::new());
        let own = DecodingKey::from_ec_der(pair.map_err(rejected)?.public_key().as_ref());
        Ok((EncodingKey::from_ec_der(der_of_pkcs8), own))
    };
    match method {
        Algorithm::ES256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der_of_pkcs8);
            let own = DecodingKey::from_ed_der(pair.map_err(rejected)?.public_key().as_ref());
            Ok((EncodingKey::from_ed_der(der_of_pkcs8), own))
        }
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::HS256
        | Algorithm::HS384
        | Algorithm::HS512 => {
            let pair = RsaKeyPair::from_pkcs8(der_of_pkcs8).map_err(rejected)?;
            let own = DecodingKey::from_rsa_der(pair.public().as_ref());
            let signs = EncodingKey::from_rsa_pem(pem);
            Ok((signs.map_err(|error| format!("priv-key: {error}"))?, own))
        }
    }
}
