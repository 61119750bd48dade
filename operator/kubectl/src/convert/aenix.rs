//! Resources of the first etcd-operator of Ænix: `etcd.aenix.io/v1alpha1`.

use serde_json::json;

use super::{
    disks,
    fields::Fields,
    finish_cluster,
    made::{Kind, Made},
    pods,
    selectors::by_operator,
    server, tls,
};

/// Annotations of the other operator.
const OWN: [&str; 1] = ["etcd.aenix.io/"];

/// Size of a disk that its webhook sets.
const SIZE_DEFAULT: &str = "4Gi";

/// Converts an EtcdCluster.
pub(super) fn cluster(fields: &mut Fields) -> Result<Made, String> {
    let mut made = Made::of(Kind::Cluster, fields, &OWN)?;
    let name = made.name().to_owned();
    storage(fields, &mut made);
    disks::replicas(fields, &mut made, "spec.replicas");
    security(fields, &mut made);
    pods::labels_of_template(fields, &mut made);
    fields.gone(
        "spec.podTemplate.metadata.name",
        "the operator names the pods",
    );
    let renamed = [by_operator("etcd-operator")];
    let mut flags = pods::pod_spec(fields, &mut made, "spec.podTemplate.spec", &renamed);
    flags.extend(server::of_object(fields, "spec.options"));
    server::options(fields, &mut made, flags);
    services(fields, &mut made, &name);
    budget(fields, &mut made);
    finish_cluster(fields, &made);
    Ok(made)
}

/// Converts `spec.storage` to the claims of the members.
fn storage(fields: &mut Fields, made: &mut Made) {
    let template = "spec.storage.volumeClaimTemplate";
    if let Some(options) = fields.take("spec.storage.emptyDir") {
        let options = if options.is_object() {
            options
        } else {
            json!({})
        };
        disks::empty_dir(fields, made, options);
        fields.gone(template, "its emptyDir takes precedence");
        return;
    }
    let metadata = disks::metadata(fields, &format!("{template}.metadata"));
    let path = format!("{template}.spec");
    let claim = fields.object(&path).unwrap_or_default();
    if let Err(reason) = disks::set_claim(made, claim, metadata, Some(SIZE_DEFAULT)) {
        fields.refuse(&format!("{path}.resources"), reason);
    }
    for key in ["apiVersion", "kind", "status"] {
        fields.take(&format!("{template}.{key}"));
    }
    fields.gone(
        &format!("{template}.metadata.name"),
        "claims are data-NAME-0 and so on",
    );
}

/// Converts the secrets of `spec.security.tls`, and `enableAuth`.
fn security(fields: &mut Fields, made: &mut Made) {
    let path = |key: &str| format!("spec.security.tls.{key}");
    let peer = tls::secret(
        fields,
        made,
        &path("peerSecret"),
        "tls.peer.secretRef",
        None,
    );
    if let Some(peer) = &peer {
        tls::ca_secret(fields, &path("peerTrustedCASecret"), peer);
    }
    let server = tls::secret(
        fields,
        made,
        &path("serverSecret"),
        "tls.client.secretRef",
        None,
    );
    if let Some(server) = &server {
        // the flags of its members ask clients for a certificate where they know a CA for it
        made.set(
            "tls.client.clientCertAuth",
            fields.has(&path("clientTrustedCASecret")),
        );
        tls::ca_secret(fields, &path("clientTrustedCASecret"), server);
        let target = "tls.client.operatorSecretRef";
        let operator = tls::secret(fields, made, &path("clientSecret"), target, None);
        tls::ca_secret(
            fields,
            &path("serverTrustedCASecret"),
            operator.as_ref().unwrap_or(server),
        );
    }
    if fields.switch("spec.security.enableAuth") == Some(true) {
        let secret = format!("{}-root", made.name());
        if tls::users(fields, made, "spec.security.enableAuth", &secret) {
            tls::password(
                fields,
                &secret,
                "there was no password, as users were those of certificates",
            );
        }
    }
}

/// Keeps the names of the Services, and converts type, labels and annotations of the one for clients.
fn services(fields: &mut Fields, made: &mut Made, name: &str) {
    let template = "spec.serviceTemplate";
    let headless = "spec.headlessServiceTemplate.metadata";
    let client = fields.word(&format!("{template}.metadata.name"));
    let peer = fields.word(&format!("{headless}.name"));
    let client = client.unwrap_or_else(|| name.to_owned());
    let peer = peer.unwrap_or_else(|| format!("{name}-headless"));
    if client == peer {
        fields.refuse(headless, "the two Services cannot have one name");
        made.services(fields, Some(&client), None);
    } else {
        made.services(fields, Some(&client), Some(&peer));
    }
    for key in ["labels", "annotations"] {
        let texts = fields.texts(&format!("{template}.metadata.{key}"));
        made.set_some(&format!("services.client.{key}"), texts);
        fields.gone(
            &format!("{headless}.{key}"),
            "spec.additionalMetadata sets those of all objects",
        );
    }
    let kind = format!("{template}.spec.type");
    pods::word(fields, made, &kind, "services.client.type");
    fields.gone(
        &format!("{template}.spec"),
        "the Service has a type, labels and annotations; make another one for more",
    );
}

fn budget(fields: &mut Fields, made: &mut Made) {
    let template = "spec.podDisruptionBudgetTemplate";
    pods::budget(
        fields,
        made,
        &format!("{template}.spec.minAvailable"),
        &format!("{template}.spec.maxUnavailable"),
    );
    fields.gone(
        &format!("{template}.metadata"),
        "spec.additionalMetadata sets labels and annotations of all objects",
    );
}
