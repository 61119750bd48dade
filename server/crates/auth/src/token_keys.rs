//! Parses the keys that sign and verify tokens, and refuses weak keys.

use std::borrow::Cow;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    },
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use simple_asn1::{ASN1Block, BigInt, oid};

/// Minimum length of an RSA key in bits; a shorter key is refused at startup. Shorter keys are weak, and the library does not
/// verify their signatures.
const RSA_BITS_MIN: u64 = 2048;

/// The library's error for a private RSA key that is too short.
const TOO_SMALL: &str = "TooSmall";

const REMEDY_RSA: &str =
    ": the key is too short; create a longer key with `openssl genrsa -out FILE 3072`";

type Keys = (Option<EncodingKey>, DecodingKey);

/// Parses the keys of a signing method. For HMAC, `private` is the raw secret and `public` is ignored; other keys are in PEM.
/// Returns the signing key, if any, and the verifying key, which is derived from the signing key if `public` is `None`. Fails
/// if a key is missing, invalid or too weak.
pub(super) fn read(
    method: Algorithm,
    public: Option<&[u8]>,
    private: Option<&[u8]>,
) -> Result<Keys, String> {
    if let Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 = method {
        let secret = private.ok_or("missing key data: priv-key")?;
        check_secret(method, secret)?;
        let signs = EncodingKey::from_secret(secret);
        return Ok((Some(signs), DecodingKey::from_secret(secret)));
    }
    let private = private.map(|pem| private_key(method, pem)).transpose()?;
    let (signs, own) = private.unzip();
    let public_key = |pem: &[u8]| {
        let key = if let Algorithm::ES256 | Algorithm::ES384 = method {
            DecodingKey::from_ec_pem(pem)
        } else if method == Algorithm::EdDSA {
            DecodingKey::from_ed_pem(pem)
        } else {
            check_rsa(pem)?;
            DecodingKey::from_rsa_pem(pem)
        };
        key.map_err(|error| format!("pub-key: {error}"))
    };
    let public = public.map(public_key).transpose()?;
    let checks = public
        .or(own)
        .ok_or("missing key data: pub-key, priv-key")?;
    Ok((signs, checks))
}

/// Parses a private key in PEM and derives its public key. Fails if the key is invalid or does not fit the method. A PKCS#1 key
/// is not compared with the method: a key that does not fit fails when it signs a test token at startup.
fn private_key(method: Algorithm, pem: &[u8]) -> Result<(EncodingKey, DecodingKey), String> {
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("priv-key: {error}"))?;
    let rejected = |error: ring::error::KeyRejected| {
        let weak = error.to_string() == TOO_SMALL;
        let remedy = if weak { REMEDY_RSA } else { "" };
        format!("priv-key: {error}{remedy}")
    };
    let pkcs8 = match &der {
        PrivateKeyDer::Pkcs8(key) => Cow::Borrowed(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => {
            let pair = RsaKeyPair::from_der(key.secret_pkcs1_der()).map_err(rejected)?;
            let own = DecodingKey::from_rsa_der(pair.public().as_ref());
            return Ok((EncodingKey::from_rsa_der(key.secret_pkcs1_der()), own));
        }
        PrivateKeyDer::Sec1(key) => Cow::Owned(pkcs8_of_sec1(method, key.secret_sec1_der())?),
        _ => {
            return Err(
                "priv-key: not in PKCS#8; convert it with `openssl pkcs8 -topk8 -nocrypt`".into(),
            );
        }
    };
    let ec = |algorithm| -> Result<(EncodingKey, DecodingKey), String> {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &SystemRandom::new());
        let own = DecodingKey::from_ec_der(pair.map_err(rejected)?.public_key().as_ref());
        Ok((EncodingKey::from_ec_der(&pkcs8), own))
    };
    if method == Algorithm::ES256 {
        ec(&ECDSA_P256_SHA256_FIXED_SIGNING)
    } else if method == Algorithm::ES384 {
        ec(&ECDSA_P384_SHA384_FIXED_SIGNING)
    } else if method == Algorithm::EdDSA {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8);
        let own = DecodingKey::from_ed_der(pair.map_err(rejected)?.public_key().as_ref());
        Ok((EncodingKey::from_ed_der(&pkcs8), own))
    } else {
        let pair = RsaKeyPair::from_pkcs8(&pkcs8).map_err(rejected)?;
        let own = DecodingKey::from_rsa_der(pair.public().as_ref());
        let signs = EncodingKey::from_rsa_pem(pem);
        Ok((signs.map_err(|error| format!("priv-key: {error}"))?, own))
    }
}

/// Converts an EC key from SEC 1 (`openssl ecparam -genkey`) to PKCS#8, which ring can parse. Fails unless the method is ES256
/// or ES384. Does not check the curve.
fn pkcs8_of_sec1(method: Algorithm, sec1: &[u8]) -> Result<Vec<u8>, String> {
    let curve = if method == Algorithm::ES256 {
        oid!(1, 2, 840, 10045, 3, 1, 7)
    } else if method == Algorithm::ES384 {
        oid!(1, 3, 132, 0, 34)
    } else {
        return Err(format!(
            "priv-key: {method:?} cannot sign with an elliptic-curve key"
        ));
    };
    let of_curves = oid!(1, 2, 840, 10045, 2, 1);
    let algorithm = [of_curves, curve].map(|id| ASN1Block::ObjectIdentifier(0, id));
    let wrapped = vec![
        ASN1Block::Integer(0, BigInt::from(0)),
        ASN1Block::Sequence(0, algorithm.into()),
        ASN1Block::OctetString(0, sec1.to_vec()),
    ];
    let der = simple_asn1::to_der(&ASN1Block::Sequence(0, wrapped));
    der.map_err(|error| format!("priv-key: {error}"))
}

/// Fails for an empty secret, because anyone could sign with it. Warns if the secret is shorter than the hash (RFC 7518, 3.2).
fn check_secret(method: Algorithm, secret: &[u8]) -> Result<(), String> {
    let longer = [(Algorithm::HS384, 48), (Algorithm::HS512, 64)];
    let longer = longer.into_iter().find(|(known, _)| *known == method);
    let hash_bytes = longer.map_or(32, |(_, bytes)| bytes);
    let key_bytes = secret.len();
    if secret.is_empty() {
        return Err(format!(
            "priv-key: the file is empty, and anyone can sign tokens with an empty key; \
             create a key for {method:?} with `openssl rand -out FILE {hash_bytes}`"
        ));
    }
    if key_bytes < hash_bytes {
        tracing::warn!(
            key_bytes,
            hash_bytes,
            "the key that signs tokens is weak, because it is shorter than the hash"
        );
    }
    Ok(())
}

/// Fails for a public RSA key shorter than [`RSA_BITS_MIN`]. Ignores other invalid keys, which parsing rejects.
fn check_rsa(pem: &[u8]) -> Result<(), String> {
    let bits = pem::parse(pem).ok().and_then(|pem| {
        let blocks = simple_asn1::from_der(pem.contents()).ok()?;
        modulus_bits(&blocks)
    });
    match bits {
        Some(bits) if bits < RSA_BITS_MIN => Err(format!(
            "pub-key: {bits} bits, below the minimum of {RSA_BITS_MIN} for RSA{REMEDY_RSA}"
        )),
        Some(_) | None => Ok(()),
    }
}

/// Returns the number of bits of an RSA key's modulus, which is the first of two integers in a sequence, at any depth. Returns
/// `None` if there is no such sequence.
fn modulus_bits(blocks: &[ASN1Block]) -> Option<u64> {
    blocks.iter().find_map(|block| {
        if let ASN1Block::BitString(_, _, der) = block {
            return modulus_bits(&simple_asn1::from_der(der).ok()?);
        }
        let ASN1Block::Sequence(_, inner) = block else {
            return None;
        };
        match inner.as_slice() {
            [ASN1Block::Integer(_, modulus), ASN1Block::Integer(_, _)] => Some(modulus.bits()),
            inner => modulus_bits(inner),
        }
    })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::crypto;

    use super::*;

    #[test]
    fn an_empty_secret_is_refused_but_a_short_one_is_not() {
        for method in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let refused = read(method, None, Some(b"")).map(drop).unwrap_err();
            assert!(refused.contains("the file is empty"), "{refused}");
            assert!(read(method, None, Some(b"short")).is_ok(), "{method:?}");
        }
    }

    #[test]
    fn a_short_public_key_is_refused() {
        // This key was created for the test and has 1024 bits.
        let weak = b"-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDL7+mb4V3f7O9ot6HIibq5NMXx
sJM7aISeEsu//ZKhqjxWCZLfvfSPinwmcDnPw+xX+ibrNifdQlAFB9V4RZ5a4tEi
6dvE1zSxAQgw/hg9xqEosBmuYUmx0pMOZbSkhihV/LRFZVIUJ/5csSKonZV27aRf
G8eSmsTBN+0z//coPwIDAQAB
-----END PUBLIC KEY-----
";
        let refused = read(Algorithm::RS256, Some(weak), None);
        let refused = refused.map(drop).unwrap_err();
        assert!(refused.contains("1024 bits"), "{refused}");
    }

    #[test]
    fn a_short_private_key_is_refused() {
        // This key was created for the test and has 1024 bits.
        let weak = b"-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAMvv6ZvhXd/s72i3
ociJurk0xfGwkztohJ4Sy7/9kqGqPFYJkt+99I+KfCZwOc/D7Ff6Jus2J91CUAUH
1XhFnlri0SLp28TXNLEBCDD+GD3GoSiwGa5hSbHSkw5ltKSGKFX8tEVlUhQn/lyx
IqidlXbtpF8bx5KaxME37TP/9yg/AgMBAAECgYAFEOSgtqx6T4xy8XzXWnSE/Uad
hmFh7Gq+8oCVOFtYIL529K3tWO6mUi5bVhZZjuhkFxa4aRP8bxVFyrgG0NPqKq6Z
QsknwXSaSKkgJCl6CpYpaMvVROrodQiL6QPF/dmvJnVacy4LMSF5UoSwyl78CRwk
+nMG3td6qQQeHDRgAQJBAPWMIY8VjF9Xq/CVHV2WwUx/nMt+i+Coz7AP9ASBFREF
Lr+/U24ksfKlP1o8alvNJy7al5EH2mWWs/an3R71TAECQQDUnlTK++oQBfH+7juu
FtcKxHTIvCWHhP3R195hQEvmaC9kgRFU0c6GYinrp3Peb9/FDMDYHTtflPhrmwUP
KXQ/AkA8914duKvxwELgqSVxZ0z3QXgczn7MeR2YCV39AE/Kug6xbT+5yUKljIH+
VaHSyU1BROT9DYYcUx67z1IHrcABAkB257EN78IfgeOrKToxCs7qU6HoHOh0GJkG
QM453wZTbZKLh27U25y/JKjDBFvVWwVuoso6UmbA9oPTUdeLeihrAkEAzoOZuJ/a
QfgwB7sfLDuBktDl/RSuTiIbs/ITTVU1CpPmLpIZ0lEpLNQex9ZTpujX7AqC6HcU
eZ0EH2TKo1L7Iw==
-----END PRIVATE KEY-----
";
        let refused = read(Algorithm::RS256, None, Some(weak));
        let refused = refused.map(drop).unwrap_err();
        assert!(refused.contains("too short"), "{refused}");
    }

    /// Test keys of P-256 and P-384, as `openssl ecparam -genkey` and `openssl pkey -pubout` print them.
    const EC_KEYS: [(Algorithm, &str, &str); 2] = [
        (
            Algorithm::ES256,
            "-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIC2+Rq9SWOVbxW5MIztr6iOH6+mdGeTbxGM80DGJ4rxvoAoGCCqGSM49
AwEHoUQDQgAEMPONgqKSlB2nc6p+qIJpZO4aJcqQSNw8D5hrCLpu5+xjVav5FKHb
8XNzvLEL3yrxRYFkOwIUL521+7DCjswr4Q==
-----END EC PRIVATE KEY-----
",
            "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMPONgqKSlB2nc6p+qIJpZO4aJcqQ
SNw8D5hrCLpu5+xjVav5FKHb8XNzvLEL3yrxRYFkOwIUL521+7DCjswr4Q==
-----END PUBLIC KEY-----
",
        ),
        (
            Algorithm::ES384,
            "-----BEGIN EC PARAMETERS-----
BgUrgQQAIg==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MIGkAgEBBDB7pPSWUIGVIx/b36JuTQ8C6BH/g6TVeuiFzexrhoegvgjToVSI+jGI
f+/gRIhbh7CgBwYFK4EEACKhZANiAAScHByciM3iY2KQ4U6Fvy7xaCoZkaq/sz5e
LRCcYKITm5ohv17V5IJCNfMTWapLOcvay4wlZULOglqhaBbX/cVOALXQqwjRqHYl
cf3Js/MCvOgg6bSaLEyOKlgabGAJllI=
-----END EC PRIVATE KEY-----
",
            "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEnBwcnIjN4mNikOFOhb8u8WgqGZGqv7M+
Xi0QnGCiE5uaIb9e1eSCQjXzE1mqSznL2suMJWVCzoJaoWgW1/3FTgC10KsI0ah2
JXH9ybPzArzoIOm0mixMjipYGmxgCZZS
-----END PUBLIC KEY-----
",
        ),
    ];

    #[test]
    fn a_key_in_sec_1_signs() {
        for (method, private, public) in EC_KEYS {
            let given = read(method, Some(public.as_bytes()), Some(private.as_bytes()));
            let derived = read(method, None, Some(private.as_bytes()));
            for (signs, checks) in [given.unwrap(), derived.unwrap()] {
                let signed = crypto::sign(b"text", &signs.unwrap(), method).unwrap();
                assert!(crypto::verify(&signed, b"text", &checks, method).unwrap());
                assert!(!crypto::verify(&signed, b"other", &checks, method).unwrap());
            }
        }
    }

    #[test]
    fn a_key_in_sec_1_of_another_curve_is_refused() {
        let [(_, p256, _), (_, p384, _)] = EC_KEYS;
        for (method, private) in [
            (Algorithm::ES384, p256),
            (Algorithm::ES256, p384),
            (Algorithm::RS256, p256),
            (Algorithm::EdDSA, p256),
        ] {
            let refused = read(method, None, Some(private.as_bytes()));
            let refused = refused.map(drop).unwrap_err();
            assert!(refused.starts_with("priv-key: "), "{method:?}: {refused}");
        }
    }
}
