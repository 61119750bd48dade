//! Builds the job that takes a backup.
//!
//! The pod runs `witan-operator backup save` and reports the result in its termination message. With verification, the init
//! container `restore` restores the snapshot that `fetch` has downloaded. Only then does the main container `accept` mark the
//! backup as verified and remove the backups that the retention policy does not keep. Until then, `save` removes only other
//! unverified backups.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Container, PodSpec, PodTemplateSpec, Volume, VolumeMount},
};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use witan_crd::{CertificateRole, EtcdBackup, OpenObject, Verify};

use super::{
    BuildResult, FETCH, RESTORE,
    merge::{self, built},
    names::{BACKUP, BACKUP_OF, Cluster, MANAGER},
    owner, pod, store,
};

/// Name of the container that stores the snapshot. Its termination message is the result of the backup.
pub(crate) const SAVE: &str = "save";

/// Name of the container that marks a backup as verified. Its termination message is the final result of the backup.
pub(crate) const ACCEPT: &str = "accept";

const RETRIES: i32 = 4;

/// Seconds for which a finished job, its pods and their logs are kept.
const KEPT_SECONDS: i32 = 24 * 3600;

const OPERATOR_SECRET: &str = "/etc/witan/operator";
const ROOT_SECRET: &str = "/etc/witan/login";
const SCRATCH: &str = "/var/lib/scratch";
/// The flag that writes the result to the container's termination message.
pub(super) const RESULT: &str = "--result=/dev/termination-log";

/// Returns the URL of the directory for a backup. Each cluster has a directory below the prefix of the store.
pub(crate) fn location(backup: &EtcdBackup) -> String {
    let namespace = backup.namespace().unwrap_or_default();
    let spec = &backup.spec;
    let folder = [&namespace, &spec.cluster_ref.name, &spec.folder].map(String::as_str);
    store::location(&spec.settings.store, &folder)
}

/// Returns the name of a backup in its store. The name contains the creation time of the EtcdBackup, because an EtcdBackup can
/// be deleted and created again with the same name.
pub(crate) fn stored_name(backup: &EtcdBackup) -> String {
    let created = backup.creation_timestamp();
    let created = created.map(|time| time.0.strftime("%Y%m%dT%H%M%SZ").to_string());
    format!("{}-{}", backup.name_any(), created.unwrap_or_default())
}

/// Returns the job of a backup. Fails if the backup's `podTemplate` does not result in a valid pod.
pub(crate) fn job(backup: &EtcdBackup, cluster: &Cluster<'_>) -> BuildResult<Job> {
    let mut labels = labels(cluster);
    labels.insert(BACKUP.to_owned(), backup.name_any());
    let template = json!({"metadata": {"labels": labels}, "spec": pod_spec(backup, cluster)});
    let timeout = backup.spec.settings.timeout.duration().as_secs();
    Ok(built(json!({
        "metadata": {
            "name": backup.name_any(),
            "namespace": cluster.namespace,
            "labels": labels,
            "ownerReferences": [owner(backup)],
        },
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": i64::try_from(timeout.max(1)).ok(),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": merged(built(template), backup)?,
        },
    })))
}

/// Returns the labels of all jobs and pods that access backups. The label that selects members is not among them.
pub(super) fn labels(cluster: &Cluster<'_>) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "etcd-backup"),
        ("app.kubernetes.io/managed-by", MANAGER),
        ("app.kubernetes.io/part-of", "witan"),
        (BACKUP_OF, &cluster.name),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Merges the `podTemplate` of the backup into the pod. The operator's labels take precedence. Fails if the result is not a
/// valid pod.
pub(super) fn merged(pod: PodTemplateSpec, backup: &EtcdBackup) -> BuildResult<PodTemplateSpec> {
    let Some(given) = &backup.spec.settings.pod_template else {
        return Ok(pod);
    };
    let labels = pod.metadata.as_ref().and_then(|meta| meta.labels.clone());
    let mut pod = merge::merged(&pod, &with_restore_as_init(given.clone()))?;
    let metadata = pod.metadata.get_or_insert_default();
    let merged = metadata.labels.get_or_insert_default();
    merged.extend(labels.unwrap_or_default());
    Ok(pod)
}

/// Moves the fields of the container `restore` to the init containers. In release 0.1, `restore` was the main container.
fn with_restore_as_init(mut given: OpenObject) -> OpenObject {
    let Some(Value::Object(spec)) = given.0.get_mut("spec") else {
        return given;
    };
    let Some(Value::Array(containers)) = spec.get_mut("containers") else {
        return given;
    };
    let is_restore = |container: &Value| container["name"] == RESTORE;
    let Some(at) = containers.iter().position(is_restore) else {
        return given;
    };
    let restore = containers.remove(at);
    let init = spec.entry("initContainers").or_insert_with(|| json!([]));
    if let Value::Array(init) = init {
        init.push(restore);
    }
    given
}

/// Returns the spec of the pod that saves the snapshot and, if the backup is verified, restores and accepts it.
fn pod_spec(backup: &EtcdBackup, cluster: &Cluster<'_>) -> PodSpec {
    let settings = &backup.spec.settings;
    let access = store::access(&settings.store, false);
    let (mut volumes, mounts) = (access.volumes, access.mounts);
    let command = |name: &str, verb: &str, args: Vec<String>, more: &[VolumeMount]| {
        let verb = vec!["backup".to_owned(), verb.to_owned()];
        Container {
            args: Some([verb, args, access.flags.clone()].concat()),
            env: Some(access.env.clone()),
            volume_mounts: Some([&mounts, more].concat()),
            ..container(name, &cluster.environment.backup_image)
        }
    };
    let (save, of_cluster) = save(backup, cluster);
    let (of_cluster, cluster_mounts): (Vec<_>, Vec<_>) = of_cluster.into_iter().unzip();
    volumes.extend(of_cluster);
    let save = command(SAVE, "save", save, &cluster_mounts);
    let (init, main) = match settings.verify {
        Verify::None => (None, save),
        Verify::Restore => {
            volumes.push(store::scratch("scratch"));
            let scratch = [store::mount("scratch", SCRATCH)];
            let fetch = command(FETCH, "fetch", fetch(backup), &scratch);
            let accept = command(ACCEPT, "accept", accept(backup), &scratch);
            let restore = Container {
                args: Some(restore()),
                volume_mounts: Some(scratch.to_vec()),
                ..container(RESTORE, &cluster.image)
            };
            (Some(vec![save, fetch, restore]), accept)
        }
    };
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        init_containers: init,
        containers: vec![main],
        volumes: Some(volumes),
        ..pod::without_containers(settings.service_account_name.as_ref(), cluster)
    }
}

/// Returns a container without arguments. The container can write only to mounted volumes.
pub(super) fn container(name: &str, image: &str) -> Container {
    built(json!({
        "name": name,
        "image": image,
        "env": [],
        // If the container writes no result, the end of its log becomes the termination message.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": pod::container_security(),
    }))
}

/// Returns the arguments of `backup save` and the volumes of the secrets that the arguments refer to.
fn save(backup: &EtcdBackup, cluster: &Cluster<'_>) -> (Vec<String>, Vec<(Volume, VolumeMount)>) {
    // The ordinals come from the status, because they can have gaps.
    let status = cluster.resource.status.as_ref();
    let members = status.into_iter().flat_map(|status| &status.members);
    let known = members.filter_map(|member| u32::try_from(member.ordinal?).ok());
    let mut endpoints: Vec<_> = known.map(|at| cluster.client_url(at)).collect();
    endpoints.push(cluster.client_endpoint());
    let (mut args, secrets) = source(cluster, &endpoints);
    args.extend([
        format!("--to={}", location(backup)),
        format!("--name={}", stored_name(backup)),
        RESULT.to_owned(),
    ]);
    // An unverified backup removes only unverified backups. If every verification failed, `accept` would never run, and the
    // store would fill up.
    args.extend(retention(backup));
    if backup.spec.settings.verify == Verify::Restore {
        args.extend(["--hash-keys", "--unverified"].map(str::to_owned));
    }
    (args, secrets)
}

/// Returns the arguments for connecting to members and the volumes of the secrets that the arguments refer to.
pub(super) fn source(
    cluster: &Cluster<'_>,
    endpoints: &[String],
) -> (Vec<String>, Vec<(Volume, VolumeMount)>) {
    let spec = cluster.spec();
    let mut args = vec![format!("--endpoints={}", endpoints.join(","))];
    let mut secrets = Vec::new();
    if spec.client_tls().is_some() {
        let files = [
            ("cacert", "ca.crt"),
            ("cert", "tls.crt"),
            ("key", "tls.key"),
        ];
        args.extend(files.map(|(flag, file)| format!("--{flag}={OPERATOR_SECRET}/{file}")));
        let name = cluster.resource.secret_of(CertificateRole::Operator);
        secrets.push(store::secret("operator-tls", &name, OPERATOR_SECRET));
    }
    if let Some(root) = spec.root_secret() {
        args.push("--user=root".to_owned());
        args.push(format!("--password-file={ROOT_SECRET}/password"));
        secrets.push(store::secret("root", &root.name, ROOT_SECRET));
    }
    (args, secrets)
}

/// Returns the arguments for the retention policy.
fn retention(backup: &EtcdBackup) -> Vec<String> {
    let kept = backup.spec.retention.as_ref();
    let last = kept.and_then(|kept| kept.keep_last);
    let last = last.map(|last| format!("--keep-last={last}"));
    let within = kept.and_then(|kept| kept.keep_within.as_ref());
    let within = within.map(|within| format!("--keep-within={}", within.0));
    last.into_iter().chain(within).collect()
}

/// Returns the arguments of `backup fetch`.
fn fetch(backup: &EtcdBackup) -> Vec<String> {
    vec![
        format!("--from={}", location(backup)),
        format!("--name={}", stored_name(backup)),
        format!("--file={SCRATCH}/snapshot.db"),
        format!("--record={SCRATCH}/record.json"),
        RESULT.to_owned(),
    ]
}

/// Returns the arguments of `backup accept`.
fn accept(backup: &EtcdBackup) -> Vec<String> {
    let mut args = vec![
        format!("--from={}", location(backup)),
        format!("--record={SCRATCH}/record.json"),
        RESULT.to_owned(),
    ];
    args.extend(retention(backup));
    args
}

/// Returns the arguments of `snapshot restore`, which compares the restored keys with the record.
fn restore() -> Vec<String> {
    let url = "http://localhost:2380";
    [
        "snapshot",
        "restore",
        &format!("{SCRATCH}/snapshot.db"),
        &format!("--compare={SCRATCH}/record.json"),
        &format!("--data-dir={SCRATCH}/data"),
        "--name=verify",
        &format!("--initial-cluster=verify={url}"),
        &format!("--initial-advertise-peer-urls={url}"),
    ]
    .map(str::to_owned)
    .to_vec()
}
