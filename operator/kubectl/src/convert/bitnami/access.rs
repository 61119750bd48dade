//! TLS and users of the chart.

use serde_json::json;

use super::super::{
    fields::Fields,
    made::Made,
    tls,
    values::{is_name, reference},
};

/// Converts `auth.client` and `auth.peer`: the TLS of each port, by a secret or by the operator.
pub(super) fn certificates(fields: &mut Fields, made: &mut Made) {
    for port in tls::PORTS {
        let path = |key: &str| format!("auth.{port}.{key}");
        let on = fields.switch(&path("secureTransport")) == Some(true);
        let own = fields.switch(&path("useAutoTLS")) == Some(true);
        let asked = fields.switch(&path("enableAuthentication")) == Some(true);
        let secret = fields.word(&path("existingSecret")).filter(|_| !own);
        let keys = [
            ("certFilename", "cert.pem"),
            ("certKeyFilename", "key.pem"),
            ("caFilename", "ca.crt"),
        ];
        let keys = keys.map(|(key, default)| {
            fields
                .word(&path(key))
                .unwrap_or_else(|| default.to_owned())
        });
        if !on {
            continue;
        }
        match secret {
            Some(secret) if is_name(&secret) => {
                made.set(&format!("tls.{port}.secretRef"), reference(&secret));
                if keys != ["tls.crt", "tls.key", "ca.crt"] {
                    fields.notes.by_hand(format!(
                        "secret {secret}: it has {}; spec.tls.{port}.secretRef reads tls.crt, tls.key and ca.crt",
                        keys.join(", ")
                    ));
                }
            }
            Some(secret) => {
                fields.refuse(
                    &path("existingSecret"),
                    format!(
                        "{secret} is no name of a secret: the operator issues the certificates"
                    ),
                );
                made.set(&format!("tls.{port}.managed"), json!({}));
            }
            None => made.set(&format!("tls.{port}.managed"), json!({})),
        }
        if port == "client" {
            made.set("tls.client.clientCertAuth", asked);
        }
    }
}

/// Turns users on with the user root, which the chart makes by default, unless the values turn it off; the password
/// itself is dropped, and a note says which secret has to be made by hand. Call it after [`certificates`]: it refuses
/// users if `made` has no TLS for clients.
pub(super) fn users(fields: &mut Fields, made: &mut Made) {
    let create = fields.switch("auth.rbac.create");
    let enabled = fields.switch("auth.rbac.enabled");
    let given = fields.word("auth.rbac.existingSecret");
    let key = fields.word("auth.rbac.existingSecretPasswordKey");
    fields.take("auth.rbac.allowNoneAuthentication");
    // it is not shown, as it is a secret
    fields.take("auth.rbac.rootPassword");
    if create == Some(false) || enabled == Some(false) {
        return;
    }
    let secret = given
        .clone()
        .unwrap_or_else(|| format!("{}-root", made.name()));
    let asked = match create.or(enabled) {
        Some(_) => "auth.rbac.create",
        None => "auth.rbac.create, which is on by default",
    };
    if !tls::users(fields, made, asked, &secret) {
        return;
    }
    let now = match given {
        Some(_) => format!(
            "it has the password in the key {}",
            key.unwrap_or_else(|| "etcd-root-password".to_owned())
        ),
        None => "the chart has made another one".to_owned(),
    };
    tls::password(fields, &secret, &now);
}
