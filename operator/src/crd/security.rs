//! TLS and users.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::Span;

/// The name of an object in the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// TLS of the two ports.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Between members. They check each other's certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerTlsSource>,
    /// Towards clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ServerTlsSource>,
}

/// Where a certificate comes from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSource {
    /// The operator issues it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedCertificate>,
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

/// Where the certificate between members comes from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.managed) != has(self.secretRef)").message("tls.peer needs exactly one of managed, secretRef"), validation = Rule::new("has(self.managed) == has(oldSelf.managed)").message("tls.peer cannot change between managed and secretRef: members with certificates of two authorities would refuse each other").reason(Reason::FieldValueForbidden))]
pub struct PeerTlsSource {
    /// Where it comes from.
    #[serde(flatten)]
    pub source: CertificateSource,
}

/// Where the certificate towards clients comes from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.managed) != has(self.secretRef)").message("tls.client needs exactly one of managed, secretRef"), validation = Rule::new("has(self.managed) == has(oldSelf.managed)").message("tls.client cannot change between managed and secretRef: members with certificates of two authorities would refuse each other").reason(Reason::FieldValueForbidden))]
pub struct ServerTlsSource {
    /// Where it comes from.
    #[serde(flatten)]
    pub source: CertificateSource,
    /// A secret with what the operator shows members, where `secretRef` is given: tls.crt, tls.key and ca.crt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_secret_ref: Option<SecretRef>,
    /// Whether clients must show a certificate.
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
