//! TLS and users.

use k8s_openapi::api::core::v1::Secret;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::Span;

/// The name of an object in the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// Returns a file of a secret; `None` if it is missing.
pub fn secret_file<'a>(secret: &'a Secret, name: &str) -> Option<&'a [u8]> {
    Some(&secret.data.as_ref()?.get(name)?.0)
}

/// TLS of the two ports.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Between members, which verify each other's certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerTlsSource>,
    /// Towards clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ServerTlsSource>,
}

/// The source of a certificate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSource {
    /// The operator issues it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedCertificate>,
    /// cert-manager issues it: the operator makes a Certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_manager: Option<CertManagerCertificate>,
    /// A secret with tls.crt, tls.key and ca.crt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Further DNS names of an issued certificate.
    #[serde(
        default,
        rename = "additionalDNSNames",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub additional_dns_names: Vec<String>,
    /// Further addresses of an issued certificate.
    #[serde(
        default,
        rename = "additionalIPAddresses",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 32), inner(length(max = 45)))]
    pub additional_ip_addresses: Vec<String>,
}

/// The source of the certificate between members.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.managed), has(self.certManager), has(self.secretRef)].exists_one(given, given)").message("tls.peer needs exactly one of managed, certManager, secretRef"), validation = Rule::new("!has(self.managed) || !has(self.managed.duration) || duration(self.managed.duration) >= duration('1m')").message("tls.peer.managed.duration must be at least 1m: a certificate is renewed at half of it"), validation = Rule::new("has(self.managed) == has(oldSelf.managed) && has(self.certManager) == has(oldSelf.certManager)").message("tls.peer cannot change between managed, certManager and secretRef: members with certificates of two authorities would refuse each other").reason(Reason::FieldValueForbidden))]
pub struct PeerTlsSource {
    /// The source.
    #[serde(flatten)]
    pub source: CertificateSource,
}

/// The source of the certificate towards clients.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.managed), has(self.certManager), has(self.secretRef)].exists_one(given, given)").message("tls.client needs exactly one of managed, certManager, secretRef"), validation = Rule::new("!has(self.managed) || !has(self.managed.duration) || duration(self.managed.duration) >= duration('1m')").message("tls.client.managed.duration must be at least 1m: a certificate is renewed at half of it"), validation = Rule::new("has(self.managed) == has(oldSelf.managed) && has(self.certManager) == has(oldSelf.certManager)").message("tls.client cannot change between managed, certManager and secretRef: members with certificates of two authorities would refuse each other").reason(Reason::FieldValueForbidden))]
pub struct ServerTlsSource {
    /// The source.
    #[serde(flatten)]
    pub source: CertificateSource,
    /// A secret with the operator's client certificate, where `secretRef` is given: tls.crt, tls.key and ca.crt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_secret_ref: Option<SecretRef>,
    /// Whether clients must present a certificate.
    #[serde(default = "yes")]
    pub client_cert_auth: bool,
}

fn yes() -> bool {
    true
}

/// How long an issued certificate is valid, and how long before its end the next one is issued.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedCertificate {
    /// Its validity.
    pub duration: Span,
    /// The time before its end at which the next one is issued.
    pub renew_before: Span,
}

impl Default for ManagedCertificate {
    fn default() -> Self {
        Self {
            duration: Span("2160h".to_owned()),
            renew_before: Span("720h".to_owned()),
        }
    }
}

/// A certificate that the operator requests from cert-manager.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertManagerCertificate {
    /// The issuer.
    pub issuer_ref: IssuerRef,
    /// Its validity; cert-manager's default if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// The time before its end at which the next one is issued; cert-manager's default if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<Span>,
}

/// An issuer of cert-manager.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("issuerRef cannot change: members with certificates of two authorities would refuse each other").reason(Reason::FieldValueForbidden))]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its kind: Issuer, ClusterIssuer, or that of another group.
    #[serde(default = "issuer_kind")]
    #[schemars(length(max = 63))]
    pub kind: String,
    /// The group of its kind.
    #[serde(default = "issuer_group")]
    #[schemars(length(max = 253))]
    pub group: String,
}

fn issuer_kind() -> String {
    "Issuer".to_owned()
}

fn issuer_group() -> String {
    "cert-manager.io".to_owned()
}

/// Users and roles.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.enabled || has(self.rootCredentialsSecretRef)").message("auth.enabled needs auth.rootCredentialsSecretRef (kubernetes.io/basic-auth)"))]
pub struct Auth {
    /// Whether users are checked.
    pub enabled: bool,
    /// A secret with the password of the user root, of type kubernetes.io/basic-auth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_credentials_secret_ref: Option<SecretRef>,
}
