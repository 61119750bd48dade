//! TLS and authentication.

use k8s_openapi::api::core::v1::Secret;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::quantities::Span;

/// The name of an object in the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretRef {
    /// Name of the object.
    #[schemars(length(max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// Returns a file of a secret; `None` if the secret has no such file.
pub fn secret_file<'a>(secret: &'a Secret, name: &str) -> Option<&'a [u8]> {
    Some(&secret.data.as_ref()?.get(name)?.0)
}

/// TLS of the client port and the peer port.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// TLS between members. The members verify each other's certificates.
    pub peer: Option<PeerTlsSource>,
    /// TLS for clients.
    pub client: Option<ServerTlsSource>,
}

/// The source of a certificate.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSource {
    /// The operator issues the certificate from a CA of the cluster.
    pub managed: Option<ManagedCertificate>,
    /// cert-manager issues the certificate. The operator creates the Certificate.
    pub cert_manager: Option<CertManagerCertificate>,
    /// Secret with tls.crt, tls.key and ca.crt.
    pub secret_ref: Option<SecretRef>,
    /// Additional DNS names in the issued certificate.
    #[serde(
        default,
        rename = "additionalDNSNames",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub additional_dns_names: Vec<String>,
    /// Additional IP addresses in the issued certificate.
    #[serde(
        default,
        rename = "additionalIPAddresses",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 32), inner(length(max = 45)))]
    pub additional_ip_addresses: Vec<String>,
}

/// The source of the certificate that members use among themselves.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.managed), has(self.certManager), has(self.secretRef)].exists_one(given, given)").message("tls.peer needs exactly one of managed, certManager, secretRef"), validation = Rule::new("!has(self.managed) || !has(self.managed.duration) || duration(self.managed.duration) >= duration('1m')").message("tls.peer.managed.duration must be at least 1m, because a certificate is renewed at half of its lifetime"), validation = Rule::new("has(self.managed) == has(oldSelf.managed) && has(self.certManager) == has(oldSelf.certManager)").message("tls.peer cannot change between managed, certManager and secretRef: members with certificates from different CAs would reject each other").reason(Reason::FieldValueForbidden))]
pub struct PeerTlsSource {
    /// The source.
    #[serde(flatten)]
    pub source: CertificateSource,
}

/// The source of the certificate that members use for clients.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.managed), has(self.certManager), has(self.secretRef)].exists_one(given, given)").message("tls.client needs exactly one of managed, certManager, secretRef"), validation = Rule::new("!has(self.managed) || !has(self.managed.duration) || duration(self.managed.duration) >= duration('1m')").message("tls.client.managed.duration must be at least 1m, because a certificate is renewed at half of its lifetime"), validation = Rule::new("has(self.managed) == has(oldSelf.managed) && has(self.certManager) == has(oldSelf.certManager)").message("tls.client cannot change between managed, certManager and secretRef: members with certificates from different CAs would reject each other").reason(Reason::FieldValueForbidden))]
pub struct ServerTlsSource {
    /// The source.
    #[serde(flatten)]
    pub source: CertificateSource,
    /// Secret with the client certificate of the operator (tls.crt, tls.key and ca.crt). For use with `secretRef`.
    pub operator_secret_ref: Option<SecretRef>,
    /// Whether clients must present a certificate.
    #[serde(default = "yes")]
    pub client_cert_auth: bool,
}

/// Returns the default of `clientCertAuth`.
fn yes() -> bool {
    true
}

/// Lifetime and renewal of an issued certificate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedCertificate {
    /// Lifetime of the certificate.
    pub duration: Span,
    /// Time before the expiry at which the certificate is renewed.
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
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertManagerCertificate {
    /// The issuer of the certificate.
    pub issuer_ref: IssuerRef,
    /// Lifetime of the certificate. If not set, cert-manager's default applies.
    pub duration: Option<Span>,
    /// Time before the expiry at which the certificate is renewed. If not set, cert-manager's default applies.
    pub renew_before: Option<Span>,
}

/// A cert-manager issuer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("issuerRef cannot change: members with certificates from different CAs would reject each other").reason(Reason::FieldValueForbidden))]
pub struct IssuerRef {
    /// Name of the issuer.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Kind of the issuer: Issuer, ClusterIssuer, or a kind of another API group.
    #[serde(default = "issuer_kind")]
    #[schemars(length(max = 63))]
    pub kind: String,
    /// API group of the issuer.
    #[serde(default = "issuer_group")]
    #[schemars(length(max = 253))]
    pub group: String,
}

/// Returns the default of an issuer's `kind`.
fn issuer_kind() -> String {
    "Issuer".to_owned()
}

/// Returns the default of an issuer's `group`.
fn issuer_group() -> String {
    "cert-manager.io".to_owned()
}

/// Authentication of clients by user and password.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.enabled || has(self.rootCredentialsSecretRef)").message("auth.enabled needs auth.rootCredentialsSecretRef (kubernetes.io/basic-auth)"))]
pub struct Auth {
    /// Whether authentication is enabled.
    pub enabled: bool,
    /// Secret of type kubernetes.io/basic-auth with the password of the user root.
    pub root_credentials_secret_ref: Option<SecretRef>,
}
