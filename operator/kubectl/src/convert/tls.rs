//! TLS and users.

use serde_json::{Value, json};

use super::{
    fields::Fields,
    made::Made,
    values::{bounded, is_name, name, reference, span},
};

/// Bounds of the definition: further names of a certificate, and their characters.
const NAMES_MAX: usize = 32;
const DNS_NAME_MAX: usize = 253;
const ADDRESS_MAX: usize = 45;

/// Most characters of the name of an issuer, and of its kind.
const ISSUER_MAX: usize = 253;
const KIND_MAX: usize = 63;

/// The two ports.
pub(super) const PORTS: [&str; 2] = ["peer", "client"];

/// Takes the name of a secret with a certificate, and says how its keys are named there.
pub(super) fn secret(
    fields: &mut Fields,
    made: &mut Made,
    path: &str,
    target: &str,
    keys: Option<&str>,
) -> Option<String> {
    let secret = name(fields, path)?;
    made.set(target, reference(&secret));
    if let Some(keys) = keys {
        fields.notes.by_hand(format!(
            "secret {secret}: it has {keys}; spec.{target} reads tls.crt, tls.key and ca.crt"
        ));
    }
    Some(secret)
}

/// Notes that the other operator keeps the CA in a separate secret.
pub(super) fn authority(fields: &mut Fields, path: &str, secret: &str) {
    if let Some(from) = name(fields, path)
        && from != secret
    {
        fields.notes.by_hand(format!(
            "secret {secret}: add the ca.crt of the secret {from}"
        ));
    }
}

/// Takes an issuer of cert-manager, which signs the certificates of these ports. `paths` are those of its name and its kind.
pub(super) fn issuer(
    fields: &mut Fields,
    made: &mut Made,
    paths: (&str, &str),
    ports: &[&str],
) -> Result<(), String> {
    let name = bounded(fields, paths.0, ISSUER_MAX);
    let name = name.ok_or_else(|| format!("{} is missing: the issuer", fields.path(paths.0)))?;
    let mut issuer = reference(&name);
    if let Some(kind) = bounded(fields, paths.1, KIND_MAX) {
        issuer["kind"] = kind.into();
    }
    for port in ports {
        let target = format!("tls.{port}.certManager.issuerRef");
        made.set(&target, issuer.clone());
    }
    Ok(())
}

/// Says what an issuer has to do, once for all of them.
pub(super) fn about_issuers(fields: &mut Fields) {
    fields.notes.by_hand(
        "the issuer has to write ca.crt into the secrets, as CA and Vault do, and SelfSigned and ACME do not",
    );
}

/// Sets how long issued certificates of a port are valid. `source` is the field that issues them.
pub(super) fn validity(
    made: &mut Made,
    port: &str,
    source: &str,
    seconds: u64,
) -> Result<(), String> {
    if seconds < 60 {
        return Err("a certificate is valid for a minute at least".to_owned());
    }
    let length = span(seconds).ok_or("it is too long")?;
    made.set(&format!("tls.{port}.{source}.duration"), length);
    Ok(())
}

/// Takes further names of the certificates of both ports.
pub(super) fn more_names(fields: &mut Fields, made: &mut Made, names: &str, addresses: &str) {
    for (path, target, most) in [
        (names, "additionalDNSNames", DNS_NAME_MAX),
        (addresses, "additionalIPAddresses", ADDRESS_MAX),
    ] {
        let Some(list) = fields.list(path) else {
            continue;
        };
        let sound = |name: &Value| name.as_str().is_some_and(|name| name.len() <= most);
        if list.len() > NAMES_MAX || !list.iter().all(sound) {
            fields.refuse(
                path,
                format!("a list of {NAMES_MAX} names at most is expected"),
            );
            continue;
        }
        for port in PORTS {
            made.set(&format!("tls.{port}.{target}"), list.clone());
        }
    }
}

/// Turns users on, with the password of root in a secret. `path` is the field that asks for it.
pub(super) fn users(fields: &mut Fields, made: &mut Made, path: &str, secret: &str) -> bool {
    if made.get("tls.client").is_none() {
        fields.refuse(
            path,
            "users need TLS for clients: set spec.tls.client, then spec.auth",
        );
        return false;
    }
    if !is_name(secret) {
        fields.refuse(path, format!("{secret} is no name of a secret"));
        return false;
    }
    let auth = json!({"enabled": true, "rootCredentialsSecretRef": reference(secret)});
    made.set("auth", auth);
    true
}

/// Says how the secret of root has to look.
pub(super) fn password(fields: &mut Fields, secret: &str, now: &str) {
    fields.notes.by_hand(format!(
        "secret {secret}: {now}; it has to be of type kubernetes.io/basic-auth, with username root and the password"
    ));
}
