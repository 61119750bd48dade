//! TLS and users.

use serde_json::json;

use super::{
    fields::Fields,
    made::Made,
    values::{is_name, name, reference, span},
};

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

pub(super) fn ca_secret(fields: &mut Fields, path: &str, secret: &str) {
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
    let name = fields.word(paths.0);
    let name = name.ok_or_else(|| format!("{} is missing: the issuer", fields.path(paths.0)))?;
    let mut issuer = reference(&name);
    if let Some(kind) = fields.word(paths.1) {
        issuer["kind"] = kind.into();
    }
    for port in ports {
        let target = format!("tls.{port}.certManager.issuerRef");
        let set = made.try_set(&target, issuer.clone());
        set.map_err(|reason| format!("{}: {reason}", fields.path(paths.0)))?;
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
    made.try_set(&format!("tls.{port}.{source}.duration"), span(seconds))
}

/// Converts lists of additional DNS names and IP addresses, for the certificates of both ports.
pub(super) fn more_names(fields: &mut Fields, made: &mut Made, names: &str, addresses: &str) {
    for (path, target) in [
        (names, "additionalDNSNames"),
        (addresses, "additionalIPAddresses"),
    ] {
        let Some(list) = fields.list(path) else {
            continue;
        };
        let set = |port| made.try_set(&format!("tls.{port}.{target}"), list.clone());
        if let Err(reason) = PORTS.into_iter().try_for_each(set) {
            fields.refuse(path, reason);
        }
    }
}

/// Turns users on, with the password of root in a secret. Refuses `path`, the field that asks for it, with a note and
/// `false` if clients have no TLS or the name of the secret is invalid; the caller has taken that field.
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

pub(super) fn password(fields: &mut Fields, secret: &str, now: &str) {
    fields.notes.by_hand(format!(
        "secret {secret}: {now}; it has to be of type kubernetes.io/basic-auth, with username root and the password"
    ));
}
