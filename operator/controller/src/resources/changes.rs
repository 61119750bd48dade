//! Builds the pod that stores the changes between snapshots by running `witan-operator backup changes` until it is deleted.

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt as _;
use witan_crd::{BackupChanges, EtcdBackup, EtcdBackupSchedule};

use super::{
    BuildResult,
    backup::{self, SAVE},
    names::Cluster,
    owner, pod, store, with_fingerprint,
};

/// Label on the pod that stores changes: the name of its EtcdBackupSchedule.
pub(crate) const CHANGES: &str = "witan.dev/backup-changes";

pub(crate) const STATUS_PORT: u16 = 8080;

/// Returns the pod that stores the changes of a schedule. `of` is a backup of the schedule, with the same store and directory.
/// Omits containers of its `podTemplate` without an image. Fails if the `podTemplate` does not result in a valid pod.
pub(crate) fn changes_pod(
    schedule: &EtcdBackupSchedule,
    of: &EtcdBackup,
    changes: BackupChanges,
    cluster: &Cluster<'_>,
) -> BuildResult<Pod> {
    let access = store::access(&of.spec.settings.store, false);
    let (source, secrets) = backup::source(cluster, &[cluster.client_endpoint()]);
    let (secret_volumes, secret_mounts): (Vec<_>, Vec<_>) = secrets.into_iter().unzip();
    let own = vec![
        "backup".to_owned(),
        "changes".to_owned(),
        format!("--to={}", backup::location(of)),
        format!("--every={}s", changes.every_seconds),
        format!("--listen=[::]:{STATUS_PORT}"),
        backup::RESULT.to_owned(),
    ];
    // The client service, unlike a member, is a permanent source. A `podTemplate` refers to the container by the name `save`.
    let main = Container {
        args: Some([own, source, access.flags].concat()),
        env: Some(access.env),
        volume_mounts: Some([access.mounts, secret_mounts].concat()),
        ..backup::container(SAVE, &cluster.environment.backup_image)
    };
    let mut labels = backup::labels(cluster);
    labels.insert(CHANGES.to_owned(), schedule.name_any());
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            restart_policy: Some("Always".to_owned()),
            volumes: Some([access.volumes, secret_volumes].concat()),
            containers: vec![main],
            ..pod::without_containers(of.spec.settings.service_account_name.as_ref(), cluster)
        }),
    };
    let mut template = backup::merged(template, of)?;
    if let Some(spec) = &mut template.spec {
        // Drop containers without an image: the template changes them, but only the pod of a verified backup has them.
        let init = spec.init_containers.as_mut();
        for containers in [&mut spec.containers].into_iter().chain(init) {
            containers.retain(|container| container.image.is_some());
        }
    }
    let metadata = ObjectMeta {
        // The fixed name prevents a second pod, which would store the changes twice.
        name: Some(format!("{}-changes", schedule.name_any())),
        namespace: Some(cluster.namespace.clone()),
        owner_references: Some(vec![owner(schedule)]),
        ..template.metadata.unwrap_or_default()
    };
    let pod = Pod { metadata, spec: template.spec, status: None };
    Ok(with_fingerprint(pod))
}
