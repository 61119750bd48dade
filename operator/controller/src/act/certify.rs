//! Executes the steps for certificates: issues certificates, or requests them from cert-manager.

use std::time::SystemTime;

use k8s_openapi::api::core::v1::Secret;
use witan_crd::CertificateRole;
use witan_members::Members;
use witan_plan::model::Rotation;

use super::{ActError, ActResult, Actor};
use crate::{
    api_server::get,
    resources::{
        Ownership, ResourceError,
        cert_manager::{self, Certificate},
        ownership, tls,
    },
};

impl<M: Members> Actor<'_, M> {
    /// Issues a new certificate for a role into its secret. First deletes cert-manager's Certificate of the role if
    /// cert-manager has written the secret. Fails if the CA that must sign does not exist.
    pub(super) async fn issue(&self, role: CertificateRole) -> ActResult {
        self.withdraw(role).await?;
        let now = SystemTime::now();
        let secret = match role {
            CertificateRole::Authority => self.next_authority(now)?,
            CertificateRole::Peer | CertificateRole::Server | CertificateRole::Operator => {
                let present = self.observation.secrets.issued.get(&role);
                tls::renewed(self.cluster, role, self.authority()?, present, now)?
            }
        };
        let live = self.observation.secrets.issued.get(&role);
        self.apply(&secret, live, "write the secret of a certificate")
            .await
    }

    /// Builds the secret of a CA; see [`tls::next_authority`].
    fn next_authority(&self, now: SystemTime) -> Result<Secret, ResourceError> {
        let issued = self.observation.secrets.issued.iter();
        let signed = issued.filter(|(role, _)| **role != CertificateRole::Authority);
        tls::next_authority(self.cluster, signed.map(|(_, secret)| secret), now)
    }

    /// Advances the CA in its secret to the stage `to`. Fails if the secret does not exist.
    pub(super) async fn rotate(&self, to: Rotation) -> ActResult {
        let live = self.authority()?;
        let secret = tls::rotated(self.cluster, live, to, SystemTime::now())?;
        self.apply(&secret, Some(live), "rotate the CA in its secret")
            .await
    }

    /// Applies the cert-manager Certificate of a role. Does nothing if the role needs no Certificate.
    pub(super) async fn request(&self, role: CertificateRole) -> ActResult {
        let Some(request) = cert_manager::certificate(self.cluster, role) else {
            return Ok(());
        };
        let live = self.observation.secrets.requests.get(&role);
        let action = "apply a cert-manager Certificate";
        self.apply(&request, live, action).await
    }

    /// Makes a cert-manager Certificate the owner of its secret, as cert-manager does with `--enable-certificate-owner-ref`.
    /// Does nothing if the Certificate does not exist. Fails if the secret does not exist.
    pub(super) async fn own(&self, role: CertificateRole) -> ActResult {
        let Some(request) = self.observation.secrets.requests.get(&role) else {
            return Ok(());
        };
        let action = "make a Certificate the owner of its secret";
        self.force(&cert_manager::owned(request), action).await
    }

    /// Deletes the cluster's Certificate of a role, because cert-manager would overwrite the operator's certificate. Does
    /// nothing if cert-manager has never written the role's secret.
    async fn withdraw(&self, role: CertificateRole) -> ActResult {
        let secret = self.observation.secrets.issued.get(&role);
        if !secret.is_some_and(cert_manager::has_written) {
            return Ok(());
        }
        let action = "delete a cert-manager Certificate";
        let name = self.cluster.resource.secret_name(role);
        let live = get::<Certificate>(self.client, &self.cluster.namespace, &name, action).await?;
        let ours = live.filter(|live| ownership(self.cluster, live) == Ownership::Ours);
        self.delete(ours.as_ref(), action).await
    }

    /// Returns the secret of the cluster's CA. Fails with [`ActError::Gone`] if it does not exist.
    fn authority(&self) -> Result<&Secret, ActError> {
        let issued = &self.observation.secrets.issued;
        let gone = || ActError::Gone("the secret of the cluster's CA".to_owned());
        issued.get(&CertificateRole::Authority).ok_or_else(gone)
    }
}
