//! The certificates of a cluster: their sources and their secrets.

use kube::ResourceExt as _;

use super::{CertificateSource, EtcdCluster, EtcdClusterSpec};

/// A certificate that the operator issues, or the CA that signs these certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum CertificateRole {
    /// The CA of the cluster: secret `<cluster>-ca`.
    Authority,
    /// Certificate of members for other members: secret `<cluster>-peer-tls`.
    Peer,
    /// Certificate of members for clients: secret `<cluster>-client-tls`.
    Server,
    /// Client certificate of the operator: secret `<cluster>-operator-tls`.
    Operator,
}

impl EtcdClusterSpec {
    /// Returns where the certificate of a role comes from; `None` if the cluster needs no such certificate. Always `None` for
    /// the CA, which is issued along with the other roles.
    pub fn certificate_source(&self, role: CertificateRole) -> Option<&CertificateSource> {
        match role {
            CertificateRole::Authority => None,
            CertificateRole::Peer => self.peer_tls(),
            CertificateRole::Server | CertificateRole::Operator => {
                self.client_tls().map(|tls| &tls.source)
            }
        }
    }
}

impl EtcdCluster {
    /// Returns the name of the secret that the operator or cert-manager writes for a role.
    pub fn secret_name(&self, role: CertificateRole) -> String {
        let suffix = match role {
            CertificateRole::Authority => "ca",
            CertificateRole::Peer => "peer-tls",
            CertificateRole::Server => "client-tls",
            CertificateRole::Operator => "operator-tls",
        };
        format!("{}-{suffix}", self.name_any())
    }

    /// Returns the name of the secret for a role: the one in the spec, or else `secret_name`. For the operator,
    /// `operatorSecretRef` takes precedence over the `secretRef` of the members.
    pub fn secret_of(&self, role: CertificateRole) -> String {
        let client = self.spec.client_tls();
        let own = client.filter(|_| role == CertificateRole::Operator);
        let own = own.and_then(|tls| tls.operator_secret_ref.as_ref());
        let given = own.or_else(|| self.spec.certificate_source(role)?.secret_ref.as_ref());
        given.map_or_else(|| self.secret_name(role), |given| given.name.clone())
    }
}
