//! Signed tokens: Witan and etcd accept each other's tokens.

use std::{fs, path::Path};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use witan_e2e::{Folder, Kind, Launch, Server, tool::witan};
use x509_cert::der::pem::{self, LineEnding};

use super::populate;

fn start(kind: Kind, token: &str) -> Server {
    let server = Launch::new(kind).arg("--bcrypt-cost=4").arg(token).start();
    populate(&server);
    server
}

fn login(server: &Server) -> (u16, String) {
    let body = r#"{"name":"alice","password":"a"}"#;
    let answer = server.http("POST", "/v3/auth/authenticate", body);
    let json = answer.json();
    let told = json["token"].as_str().or(json["message"].as_str());
    (answer.status, told.unwrap().to_owned())
}

fn tried(server: &Server, token: &str) -> [u16; 2] {
    ["YQ==", "eA=="].map(|key| {
        let body = format!(r#"{{"key":"{key}"}}"#);
        let answer = server.http_as(Some(token), "POST", "/v3/kv/range", &body);
        answer.status
    })
}

/// Writes a new key pair for a method in PEM. Returns the paths of the private and the public key.
fn pair(dir: &Path, method: &str) -> [String; 2] {
    let algorithm = match method {
        "ES256" => &PKCS_ECDSA_P256_SHA256,
        "ES384" => &PKCS_ECDSA_P384_SHA384,
        _ => &PKCS_ED25519,
    };
    let key = KeyPair::generate_for(algorithm).unwrap();
    let write = |name: &str, label: &str, der: &[u8]| {
        let path = dir.join(format!("{method}-{name}"));
        fs::write(
            &path,
            pem::encode_string(label, LineEnding::LF, der).unwrap(),
        )
        .unwrap();
        path.display().to_string()
    };
    let public = rcgen::PublicKeyData::subject_public_key_info(&key);
    [
        write("private", "PRIVATE KEY", &key.serialize_der()),
        write("public", "PUBLIC KEY", &public),
    ]
}

#[test]
fn signed_tokens() {
    let dir = Folder::new("signed-tokens");
    for method in ["ES256", "ES384", "EdDSA", "HS256"] {
        let [private, public] = pair(&dir, method);
        let both = if method == "HS256" {
            format!("--auth-token=jwt,sign-method={method},priv-key={private}")
        } else {
            let keys = format!("pub-key={public},priv-key={private}");
            format!("--auth-token=jwt,sign-method={method},{keys},ttl=1m")
        };
        let [ours, theirs] = [Kind::Witan, Kind::Etcd37].map(|kind| start(kind, &both));
        for giver in [&ours, &theirs] {
            let (status, token) = login(giver);
            assert_eq!(status, 200, "{method}: {token}");
            for taker in [&ours, &theirs] {
                assert_eq!(tried(taker, &token), [200, 403], "{method}");
                let other = format!("{token}x");
                assert_eq!(tried(taker, &other), [401, 401], "{method}");
            }
        }
        drop([ours, theirs]);
        if method == "ES256" {
            let alone = format!("--auth-token=jwt,sign-method={method},priv-key={private}");
            let signer = start(Kind::Witan, &alone);
            let (_, token) = login(&signer);
            let check = format!("--auth-token=jwt,sign-method={method},pub-key={public}");
            let checkers = [Kind::Witan, Kind::Etcd37].map(|kind| start(kind, &check));
            assert_eq!(login(&checkers[0]), login(&checkers[1]));
            assert_eq!(tried(&checkers[0], &token), [200, 403]);
        }
    }
}

/// `server/crates/auth/src/token_keys.rs` tests which keys fit.
#[test]
fn mismatched_keys_prevent_the_start() {
    let dir = Folder::new("unfit-keys");
    let [private, _] = pair(&dir, "ES256");
    fs::rename(&private, dir.join("first")).unwrap();
    let first = dir.join("first").display().to_string();
    let [_, public] = pair(&dir, "ES256");
    for (token, reason) in [
        ("opaque".to_owned(), "must be simple or jwt"),
        ("jwt".into(), "is not known"),
        ("jwt,sign-method=ES256".into(), "missing key data"),
        ("jwt,sign-method".into(), "is not NAME=VALUE"),
        (
            format!("jwt,sign-method=ES256,pub-key={public},priv-key={first}"),
            "public and private keys don't match",
        ),
    ] {
        let said = witan(&[
            &format!("--auth-token={token}"),
            &format!("--data-dir={}", dir.join("data").display()),
            "--listen-client-urls=http://127.0.0.1:0",
            "--advertise-client-urls=http://127.0.0.1:0",
        ]);
        assert_eq!(said.code, Some(1), "{token}");
        assert!(said.stderr.contains(reason), "{token}: {}", said.all());
        assert!(!dir.join("data").exists(), "{token}");
    }
}

#[test]
fn a_short_secret_is_warned_about() {
    let dir = Folder::new("short-secret");
    for (bytes, warned) in [(31, true), (32, false)] {
        let path = dir.join(bytes.to_string());
        fs::write(&path, "k".repeat(bytes)).unwrap();
        let path = path.display();
        let token = format!("--auth-token=jwt,sign-method=HS256,priv-key={path}");
        let server = Launch::witan().arg(token).start();
        let log = server.log().join("\n");
        let seen = log.contains("shorter than the hash");
        assert_eq!(seen, warned, "{bytes}: {log}");
    }
}
