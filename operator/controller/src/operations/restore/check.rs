//! Checks a backup before members are stopped for it.

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt as _;
use witan_members::Members;

use super::{
    super::{At, Operations},
    restoring,
};
use crate::{
    api_server::{create_missing, get, list},
    backups::progress as jobs,
    passes::PassResult,
    resources::{OPERATION, check, check_name, is_owned},
    warnings,
};

const CHECKS: &str = "restoring the backup in a scratch directory, before any member is stopped";

const SOURCE_REMOVED: &str =
    "status.source was removed from this EtcdOperation; create another EtcdOperation";

impl<M: Members> Operations<M> {
    /// Creates a job that restores the backup in a scratch directory. Records the restore once the job has succeeded. Ends the
    /// operation if the job is refused or fails.
    pub(in crate::operations) async fn check_backup(&self, at: &At<'_>) -> PassResult {
        let (operation, cluster) = (at.operation, at.cluster);
        let source = operation.status.as_ref().and_then(|one| one.source.clone());
        let Some(mut source) = source else {
            let text = SOURCE_REMOVED.to_owned();
            return self.end(operation, Some(cluster.resource), Err(text)).await;
        };
        let (client, name) = (&self.operator.client, check_name(operation));
        let action = "read the job of the check";
        let found = get::<Job>(client, &cluster.namespace, &name, action).await?;
        let Some(job) = found.filter(|job| is_owned(job, operation.uid().as_deref())) else {
            let wanted = check(cluster, operation, &source)?;
            let action = "create the job of the check";
            return match create_missing(client, &cluster.namespace, &wanted, action).await? {
                Ok(_) => self.watch(operation, CHECKS.to_owned()).await,
                Err(text) => self.end(operation, Some(cluster.resource), Err(text)).await,
            };
        };
        let uid = operation.uid().unwrap_or_default();
        let (label, action) = ((OPERATION, uid.as_str()), "list the pods of the check");
        let mut pods = list::<Pod>(client, &cluster.namespace, label, action).await?;
        // Users can put the label on any pod.
        pods.retain(|pod| is_owned(pod, job.uid().as_deref()));
        pods.sort_by_key(|pod| pod.creation_timestamp().map(|time| time.0));
        if jobs::condition(&job, "Complete").is_some() {
            if source.to_time.is_some() {
                source.to_revision = pods.iter().rev().find_map(jobs::fetched_revision);
            }
            let record = restoring(operation, cluster, &at.observation.seen, source);
            return self.record(at, record).await;
        }
        let refused = warnings::why_no_pods(client, &job, pods.len()).await;
        let of_pods = pods.iter().rev().find_map(jobs::named_pod_failure);
        let failure = of_pods.or(refused).map(|found| found.message);
        let Some(failed) = jobs::condition(&job, "Failed") else {
            let progress = match failure {
                Some(why) => format!("{CHECKS}: {why}"),
                None => CHECKS.to_owned(),
            };
            return self.watch(operation, progress).await;
        };
        let why = failure.or(failed.message.clone()).unwrap_or_default();
        let text = format!("the backup cannot be restored, and no member was stopped: {why}");
        self.end(operation, Some(cluster.resource), Err(text)).await
    }
}
