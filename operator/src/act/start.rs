//! Makes the pod of a member from the present template or from the last admitted one, and tries a template before a
//! member is stopped for it. Which member and when is decided elsewhere.

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use witan_crd::{EtcdCluster, EtcdClusterSpec};
use witan_members::Members;
use witan_plan::model::{Bootstrap, Ordinal, PeerTls, PodPlan};

use super::{ActError, Actor};
use crate::{
    api_server::cannot,
    resources::{self, Cluster, MANAGER, REFUSED},
};

impl<M: Members> Actor<'_, M> {
    /// Applies the claim of a member, unless its spec keeps no disks, and then creates its pod; a pod of the cluster
    /// that exists stays unchanged. While the pod is refused, a member that restarts gets the template that was last
    /// admitted, which is a success: a spec that makes no pods must not cost the quorum. The error is that of the
    /// present template.
    pub(super) async fn start(&self, plan: &PodPlan) -> Result<(), ActError> {
        if self.cluster.spec().is_durable() {
            self.apply_claim(plan.ordinal, plan.peer_tls, None).await?;
        }
        let present = async {
            let pod = resources::pod(self.cluster, plan)?;
            self.create(&pod, "create the pod of a member").await
        };
        let Err(error) = present.await else {
            return Ok(());
        };
        let said = error.refusal();
        let former = said.and_then(|said| self.former_pod(plan, &said));
        match former {
            Some(pod) => {
                let what = "create the pod of a member from its former template";
                self.create(&pod, what).await.map_err(|_| error)
            }
            None => Err(error),
        }
    }

    /// Makes the pod of a member from the last spec whose pods were admitted, annotated with the refused template;
    /// `None` if there is no such spec, if it makes the same pod as the present one, or if the member is new: it may
    /// have a claim of an earlier attempt, and no data.
    fn former_pod(&self, plan: &PodPlan, said: &str) -> Option<Pod> {
        if plan.bootstrap != Bootstrap::Restart {
            return None;
        }
        let present = self.cluster.spec();
        let status = self.cluster.resource.status.as_ref()?;
        let former: EtcdClusterSpec = serde_json::from_str(status.admitted_spec.as_ref()?).ok()?;
        // claims and certificates follow the present spec
        let (storage, tls) = (present.storage.clone(), present.tls.clone());
        let spec = EtcdClusterSpec { storage, tls, ..former };
        let resource = EtcdCluster { spec, ..self.cluster.resource.clone() };
        let named = Cluster::new(&resource, self.cluster.environment).ok()?;
        let trust = self.cluster.trust.clone();
        let former = Cluster { trust, is_admitted: true, ..named };
        let mut pod = resources::pod(&former, plan).ok()?;
        if let Ok(refused) = resources::template(self.cluster, plan.peer_tls) {
            if refused == resources::template(&former, plan.peer_tls).ok()? {
                return None;
            }
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(REFUSED.to_owned(), format!("{refused}: {said}"));
        }
        Some(pod)
    }

    /// Has the API server admit a pod of the present template and drop it again (a dry run), so that no member is
    /// stopped for a template that cannot take its place. A full quota also counts the pod that will be deleted, and a
    /// webhook without support for dry runs gives no answer: both count as refusals only if a pod of the template was
    /// refused before.
    pub(super) async fn dry_run_pod(
        &self,
        ordinal: Ordinal,
        peer_tls: PeerTls,
    ) -> Result<(), ActError> {
        let plan = PodPlan::voter(ordinal, Bootstrap::Restart, peer_tls);
        let mut pod = resources::pod(self.cluster, &plan)?;
        pod.metadata.name = Some(format!("{}-trial", self.cluster.resource.member(ordinal)));
        let mut pods = self.observation.seen.pods();
        let known = pods.any(|(_, pod)| pod.refused.is_some());
        let params = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
        let what = "start a pod of the present template (tried before a member is stopped for it)";
        match self.api::<Pod>().create(&params, &pod).await {
            Err(kube::Error::Api(refusal)) if !known && says_nothing(&refusal.message) => Ok(()),
            tried => {
                tried.map_err(cannot(what))?;
                Ok(())
            }
        }
    }
}

/// Whether the refusal of a dry run does not say that the pod itself would be refused.
fn says_nothing(refusal: &str) -> bool {
    ["exceeded quota", "does not support dry run"]
        .iter()
        .any(|text| refusal.contains(text))
}
