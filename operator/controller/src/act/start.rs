//! Creates the pod of a member. Checks a template with a dry run before a member is stopped for it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use witan_crd::{EtcdCluster, EtcdClusterSpec};
use witan_members::Members;
use witan_plan::{
    ReleaseVersion, is_version_refused,
    model::{Bootstrap, Ordinal, PeerTls, PodPlan},
};

use super::{ActResult, Actor};
use crate::{
    api_server::{cannot, create},
    resources::{self, Cluster, MANAGER, REFUSED},
};

impl<M: Members> Actor<'_, M> {
    /// Applies a member's claim if the spec has claims. Then creates the member's pod. An invalid spec must not cause quorum
    /// loss. Therefore, if the plan refuses the desired version, creates the pod from the last admitted template. Does the same
    /// if the pod of a restarting member cannot be built or is refused. If the former pod cannot be created either, returns the
    /// first error.
    pub(super) async fn start(&self, plan: &PodPlan) -> ActResult {
        if self.cluster.spec().is_durable() {
            self.apply_claim(plan.ordinal, plan.peer_tls, None).await?;
        }
        let former = "create the pod of a member from its former template";
        if self.is_version_refused(plan)
            && let Some(pod) = self.former_pod(plan, None)
        {
            return self.create(&pod, former).await;
        }
        let present = async {
            let pod = resources::pod(self.cluster, plan)?;
            self.create(&pod, "create the pod of a member").await
        };
        let Err(error) = present.await else {
            return Ok(());
        };
        // The claim does not show whether a member restarts: a new member can have a claim from a failed attempt.
        let restarts = plan.bootstrap == Bootstrap::Restart;
        let refusal = error.refusal().filter(|_| restarts);
        let Some(pod) = refusal.and_then(|said| self.former_pod(plan, Some(&said))) else {
            return Err(error);
        };
        self.create(&pod, former).await.map_err(|_| error)
    }

    /// Returns whether a member of an existing cluster must not start with the desired version. Such a member would exit,
    /// because its release cannot read the data or does not support the feature level.
    fn is_version_refused(&self, plan: &PodPlan) -> bool {
        let status = self.cluster.resource.status.as_ref();
        let seen = &self.observation.seen;
        !plan.bootstrap.forms_cluster()
            && status.is_some_and(|status| is_version_refused(self.cluster.spec(), status, seen))
    }

    /// Returns the highest version of the existing pods other than the desired version; `None` if no pod has another version.
    fn running_version(&self) -> Option<String> {
        let seen = &self.observation.seen;
        let versions = seen.pods().filter_map(|(_, pod)| pod.version.as_ref());
        let others = versions.filter(|version| seen.wanted_version.as_ref() != Some(*version));
        let last = others.max_by_key(|version| ReleaseVersion::parse(version));
        last.cloned()
    }

    /// Builds the pod of a member from the last admitted spec, but with the storage and TLS of the current spec. If the API
    /// server has refused the current template, the annotation [`REFUSED`] contains its fingerprint and the `refusal`. Otherwise,
    /// a spec without a version gets the version of the other pods, because the operator's default has changed. Returns `None`
    /// if the last admitted template is the current template. Also returns `None` if no admitted spec is recorded, or if this
    /// release cannot read it or build a pod from it.
    fn former_pod(&self, plan: &PodPlan, refusal: Option<&str>) -> Option<Pod> {
        let present = self.cluster.spec();
        let status = self.cluster.resource.status.as_ref()?;
        let former: EtcdClusterSpec = serde_json::from_str(status.admitted_spec.as_ref()?).ok()?;
        // Claims and certificates follow the current spec.
        let (storage, tls) = (present.storage.clone(), present.tls.clone());
        let running = || self.running_version().filter(|_| refusal.is_none());
        let version = former.version.clone().or_else(running);
        let spec = EtcdClusterSpec { storage, tls, version, ..former };
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
            let refusal = refusal.map(|said| (REFUSED.to_owned(), format!("{refused}: {said}")));
            annotations.extend(refusal);
        }
        Some(pod)
    }

    /// Creates a pod from the current template as a dry run, so that no member is stopped for a template that the API server
    /// refuses. The quota still counts the pod that will be deleted, and a webhook might not support dry runs. Such a refusal
    /// is an error only if a real pod was refused before.
    pub(super) async fn dry_run_pod(&self, ordinal: Ordinal, peer_tls: PeerTls) -> ActResult {
        let plan = PodPlan::voter(ordinal, Bootstrap::Restart, peer_tls);
        let mut pod = resources::pod(self.cluster, &plan)?;
        pod.metadata.name = Some(format!("{}-trial", self.cluster.resource.member(ordinal)));
        let mut pods = self.observation.seen.pods();
        let known = pods.any(|(_, pod)| pod.refused.is_some());
        let params = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
        let action =
            "create a pod from the current template (a dry run before a member is stopped)";
        match create(self.client, &self.cluster.namespace, &params, &pod).await {
            Err(kube::Error::Api(refusal)) if !known && is_inconclusive(&refusal.message) => Ok(()),
            tried => Ok(tried.map(drop).map_err(cannot(action))?),
        }
    }
}

/// Returns whether the refusal of a dry run says nothing about the real pod.
fn is_inconclusive(refusal: &str) -> bool {
    let texts = ["exceeded quota", "does not support dry run"];
    texts.iter().any(|text| refusal.contains(text))
}
