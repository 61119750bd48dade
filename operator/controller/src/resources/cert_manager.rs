//! The cert-manager Certificates that the operator creates, and the secrets that cert-manager writes for them.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Secret;
use kube::{CustomResource, Resource as _, ResourceExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use witan_crd::{CertificateRole, secret_file};

use super::{Cluster, merge::built, tls, with_fingerprint};

/// cert-manager's annotation on the secrets that it writes.
const WRITTEN_FOR: &str = "cert-manager.io/certificate-name";

/// The fields of a Certificate. The operator sets these fields and never reads them.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "Certificate",
    namespaced,
    schema = "disabled",
    derive = "PartialEq"
)]
pub(crate) struct CertificateSpec {
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Returns the Certificate for a role; `None` if the role's source is not cert-manager.
pub(crate) fn certificate(cluster: &Cluster<'_>, role: CertificateRole) -> Option<Certificate> {
    let source = cluster.spec().certificate_source(role)?;
    let asked = source.cert_manager.as_ref()?;
    let names = tls::names(cluster, role);
    let is_address = |name: &String| name.parse::<IpAddr>().is_ok();
    let (ip_addresses, dns_names): (Vec<_>, Vec<_>) = names.into_iter().partition(is_address);
    let name = cluster.resource.secret_name(role);
    let mut spec: CertificateSpec = built(json!({
        "secretName": name,
        "commonName": tls::common_name(cluster, role),
        "dnsNames": dns_names,
        "ipAddresses": ip_addresses,
        "duration": asked.duration,
        "renewBefore": asked.renew_before,
        "usages": ["digital signature", "server auth", "client auth"],
        "privateKey": {
            "algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always",
        },
        "issuerRef": asked.issuer_ref,
    }));
    // cert-manager has its own defaults for omitted fields.
    spec.fields
        .retain(|_, value| !value.is_null() && *value != json!([]));
    let mut request = Certificate::new(&name, spec);
    request.metadata = cluster.meta(name);
    Some(with_fingerprint(request))
}

/// Returns whether a secret has all of [`tls::FILES`] and none of them is empty.
pub(crate) fn is_complete(secret: &Secret) -> bool {
    let has = |file| secret_file(secret, file).is_some_and(|data| !data.is_empty());
    tls::FILES.into_iter().all(has)
}

/// Returns whether cert-manager has ever written this secret. The annotation survives changes by other programs.
pub(crate) fn has_written(secret: &Secret) -> bool {
    secret.annotations().contains_key(WRITTEN_FOR)
}

/// Returns the part of a Certificate's secret that the operator applies: the Certificate as a non-controller owner.
pub(crate) fn owned(request: &Certificate) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some(request.name_any());
    secret.metadata.owner_references = request.owner_ref(&()).map(|owner| vec![owner]);
    // Applying never recreates a deleted secret, because this type requires data.
    secret.type_ = Some("kubernetes.io/tls".to_owned());
    secret
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::is_owned, *};
    use crate::testing::named;

    fn cluster() -> Cluster<'static> {
        let from = json!({"certManager": {"issuerRef": {"name": "ours"}, "duration": "24h"}, "additionalIPAddresses": ["192.0.2.1"]});
        let meta = json!({"name": "a", "namespace": "prod"});
        named(&json!({"metadata": meta, "spec": {"tls": {"client": from}}}))
    }

    #[test]
    fn a_request_has_the_names_of_an_issued_certificate() {
        let cluster = cluster();
        assert!(certificate(&cluster, CertificateRole::Operator).is_some());
        assert_eq!(certificate(&cluster, CertificateRole::Peer), None);
        let server = certificate(&cluster, CertificateRole::Server).expect("a request");
        let said = serde_json::to_value(&server).expect("JSON");
        assert_eq!(said["apiVersion"], "cert-manager.io/v1");
        assert_eq!(said["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(said["spec"]["secretName"], "a-client-tls");
        assert_eq!(
            said["spec"]["ipAddresses"],
            json!(["127.0.0.1", "192.0.2.1"])
        );
        let names = said["spec"]["dnsNames"].as_array().expect("names");
        assert!(names.contains(&json!("a-client.prod.svc")), "{names:?}");
        assert!(names.contains(&json!("*.a-peer.prod.svc")), "{names:?}");
        let issuer = json!({"name": "ours", "kind": "Issuer", "group": "cert-manager.io"});
        assert_eq!(said["spec"]["issuerRef"], issuer);
        assert_eq!(said["spec"]["duration"], "24h");
        assert_eq!(said["spec"].get("renewBefore"), None, "the default");
        let operator = certificate(&cluster, CertificateRole::Operator).expect("a request");
        assert_eq!(operator.spec.fields["commonName"], "root");
    }

    #[test]
    fn a_secret_is_complete_with_three_files() {
        let mut secret = Secret::default();
        for file in tls::FILES {
            assert!(!is_complete(&secret), "before {file}");
            let data = secret.data.get_or_insert_default();
            data.insert(file.to_owned(), k8s_openapi::ByteString(vec![1]));
        }
        assert!(is_complete(&secret));
        let data = secret.data.get_or_insert_default();
        data.insert("ca.crt".to_owned(), k8s_openapi::ByteString(Vec::new()));
        assert!(!is_complete(&secret), "the issuer provides no CA");
    }

    #[test]
    fn a_secret_that_was_given_to_its_certificate_is_owned() {
        let cluster = cluster();
        let mut live = certificate(&cluster, CertificateRole::Server).expect("a request");
        live.metadata.uid = Some("c".to_owned());
        assert!(!is_owned(&Secret::default(), Some("c")));
        assert!(is_owned(&owned(&live), Some("c")));
        live.metadata.uid = Some("another".to_owned());
        assert!(
            !is_owned(&owned(&live), Some("c")),
            "the owner is an earlier Certificate"
        );
    }
}
