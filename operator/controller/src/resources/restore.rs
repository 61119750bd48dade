//! Builds the init containers with which an initial member starts from a backup. One container downloads the snapshot; the
//! other creates the data directory. Neither container does anything if the member already has data.

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Container, PodSpec, Volume},
};
use kube::ResourceExt as _;
use serde_json::json;
use witan_crd::{EtcdOperation, RestorePoint};
use witan_plan::model::{Bootstrap, PeerTls, PodPlan};

use super::{
    BuildResult, backup,
    flags::{self, VOLUME},
    merge::built,
    names::{Cluster, OPERATION},
    owner, pod, store,
};

/// Name of the container that downloads the snapshot.
pub(crate) const FETCH: &str = "fetch";

/// Name of the container that creates the data directory.
pub(crate) const RESTORE: &str = "restore";

const RETRIES: i32 = 2;

/// Returns the init containers of an initial member, first [`FETCH`] and then [`RESTORE`], and the volumes that only these
/// containers need.
pub(super) fn containers(
    cluster: &Cluster<'_>,
    plan: &PodPlan,
    point: &RestorePoint,
) -> BuildResult<(Vec<Container>, Vec<Volume>)> {
    let data = store::mount("data", VOLUME);
    let access = store::access(&point.store, true);
    // A resource quota can reject a pod whose containers request no resources.
    let resources = Some(pod::resources(cluster)?);
    let file = format!("{VOLUME}/restore.db");
    let mut fetch = vec![
        "backup".to_owned(),
        "fetch".to_owned(),
        format!("--from={}", point.location),
        format!("--name={}", point.name),
        format!("--file={file}"),
        format!("--unless-exists={VOLUME}/data"),
        backup::RESULT.to_owned(),
    ];
    fetch.extend(access.flags);
    let changes = format!("--changes={VOLUME}/restore.changes");
    let revision = point.to_revision.map(|to| format!("--to-revision={to}"));
    let time = point.to_time.as_ref();
    let to = revision.or(time.map(|to| format!("--to-time={}", to.0)));
    if let Some(to) = &to {
        fetch.extend([changes.clone(), to.clone()]);
    }
    let mut restore = vec![
        "snapshot".to_owned(),
        "restore".to_owned(),
        file,
        "--skip-existing".to_owned(),
        "--remove-snapshot".to_owned(),
    ];
    restore.extend(to.map(|_| changes));
    if point.bump_revision > 0 {
        restore.push(format!("--bump-revision={}", point.bump_revision));
        restore.push("--mark-compacted".to_owned());
    }
    restore.extend(flags::restore(cluster, plan));
    let containers = vec![
        Container {
            args: Some(fetch),
            env: Some(access.env),
            resources: resources.clone(),
            volume_mounts: Some([vec![data.clone()], access.mounts].concat()),
            ..backup::container(FETCH, &cluster.environment.backup_image)
        },
        Container {
            args: Some(restore),
            resources,
            volume_mounts: Some(vec![data]),
            ..backup::container(RESTORE, &cluster.image)
        },
    ];
    Ok((containers, access.volumes))
}

/// Returns the job that checks a backup before members are stopped for it. The job restores the backup in a scratch directory.
pub(crate) fn check(
    cluster: &Cluster<'_>,
    operation: &EtcdOperation,
    point: &RestorePoint,
) -> BuildResult<Job> {
    let alone = Bootstrap::New { first: 0, members: 1 };
    let plan = PodPlan::voter(0, alone, PeerTls::Off);
    let (mut containers, mut volumes) = containers(cluster, &plan, point)?;
    let main = containers.pop();
    volumes.push(store::scratch("data"));
    let mut labels = backup::labels(cluster);
    labels.insert(OPERATION.to_owned(), operation.uid().unwrap_or_default());
    let spec = cluster.spec();
    let pod = PodSpec {
        restart_policy: Some("Never".to_owned()),
        init_containers: Some(containers),
        containers: main.into_iter().collect(),
        volumes: Some(volumes),
        node_selector: Some(spec.node_selector.clone()),
        tolerations: Some(pod::list("tolerations", &spec.tolerations)?),
        ..pod::without_containers(spec.service_account_name.as_ref(), cluster)
    };
    Ok(built(json!({
        "metadata": {
            "name": check_name(operation),
            "namespace": cluster.namespace,
            "labels": labels,
            "ownerReferences": [owner(operation)],
        },
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": operation.spec.active_deadline_seconds,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    })))
}

/// Returns the name of an operation's job. The name contains the uid, because the name of an operation can be too long for a
/// job.
pub(crate) fn check_name(operation: &EtcdOperation) -> String {
    format!("restore-check-{}", operation.uid().unwrap_or_default())
}
