//! Resources of the etcd-operator of CoreOS: `etcd.database.coreos.com/v1beta2`.

use serde_json::json;

use super::{
    IMAGE, Outcome, VERSION, disks,
    fields::Fields,
    finish_cluster,
    made::{Kind, Made},
    pods,
    selectors::by_cluster,
    server,
    stores::{self, Bucket},
    tls,
    values::{is_name, reference, span},
};

/// Annotations of the other operator.
const OWN: [&str; 1] = ["etcd.database.coreos.com/"];

/// Fields that have no counterpart.
const GONE: [(&str, &str); 6] = [
    ("spec.version", VERSION),
    ("spec.repository", IMAGE),
    ("spec.pod.busyboxImage", "no init container waits for DNS"),
    (
        "spec.pod.DNSTimeoutInSecond",
        "no init container waits for DNS",
    ),
    (
        "spec.pod.ClusterDomain",
        "members find each other by names that end with .svc",
    ),
    ("spec.pod.securityContext", pods::SECURITY),
];

pub(super) fn convert(kind: &str, fields: &mut Fields) -> Result<Outcome, String> {
    match kind {
        "EtcdCluster" => cluster(fields).map(|made| Outcome::Made(vec![made])),
        "EtcdBackup" => backup(fields),
        "EtcdRestore" => Ok(Outcome::PassedOver(
            "a cluster begins from a snapshot by spec.bootstrap.restore (docs/operating/kubernetes-backup.md#restore)",
        )),
        _ => Ok(Outcome::UNKNOWN),
    }
}

/// Converts an EtcdCluster.
fn cluster(fields: &mut Fields) -> Result<Made, String> {
    let mut made = Made::of(Kind::Cluster, fields, &OWN)?;
    let name = made.name().to_owned();
    let renamed = [
        by_cluster("etcd_cluster", &name),
        ("app", "etcd", "app.kubernetes.io/name", "etcd"),
    ];
    if fields.has("spec.pod.persistentVolumeClaimSpec") {
        disks::claim(
            fields,
            &mut made,
            "spec.pod.persistentVolumeClaimSpec",
            None,
        );
    } else {
        disks::empty_dir(fields, &mut made, json!({}));
    }
    disks::replicas(fields, &mut made, "spec.size");
    made.set_some("paused", fields.switch("spec.paused"));
    certificates(fields, &mut made);
    pods::labels(fields, &mut made, "spec.pod.labels", "spec.pod.annotations");
    pods::resources(fields, &mut made, "spec.pod.resources");
    let apart = fields.switch("spec.pod.antiAffinity") == Some(true);
    if !pods::affinity(fields, &mut made, "spec.pod.affinity", &renamed) && apart {
        made.set("podAntiAffinityPreset", "hard");
    }
    pods::node_selector(fields, &mut made, "spec.pod.nodeSelector");
    pods::tolerations(fields, &mut made, "spec.pod.tolerations");
    let flags = server::of_variables(fields, "spec.pod.etcdEnv");
    server::options(fields, &mut made, flags);
    // members had names below it, and certificates were made for these
    made.services(fields, None, Some(&name));
    fields.all_gone(&GONE);
    finish_cluster(fields, &made);
    Ok(made)
}

/// Converts the secrets of `spec.TLS.static`, and notes the keys that they need.
fn certificates(fields: &mut Fields, made: &mut Made) {
    let peer = "peer.crt, peer.key and peer-ca.crt";
    let server = "server.crt, server.key and server-ca.crt";
    let operator = "etcd-client.crt, etcd-client.key and etcd-client-ca.crt";
    let member = "spec.TLS.static.member";
    for (path, target, keys) in [
        (format!("{member}.peerSecret"), "tls.peer.secretRef", peer),
        (
            format!("{member}.serverSecret"),
            "tls.client.secretRef",
            server,
        ),
    ] {
        tls::secret(fields, made, &path, target, Some(keys));
    }
    let path = "spec.TLS.static.operatorSecret";
    if made.get("tls.client").is_some() {
        let target = "tls.client.operatorSecretRef";
        tls::secret(fields, made, path, target, Some(operator));
    } else {
        fields.gone(path, "clients connect in clear text without a serverSecret");
    }
}

/// Converts a backup: one, or one after another at an interval.
fn backup(fields: &mut Fields) -> Result<Outcome, String> {
    let interval = fields.number("spec.backupPolicy.backupIntervalInSecond");
    let interval = interval
        .and_then(|seconds| u64::try_from(seconds).ok())
        .unwrap_or(0);
    let kind = if interval > 0 {
        Kind::Schedule
    } else {
        Kind::Backup
    };
    let mut made = Made::of(kind, fields, &OWN)?;
    let Some(cluster) = cluster_of(fields) else {
        return Ok(Outcome::PassedOver(
            "spec.etcdEndpoints does not say which cluster it is of",
        ));
    };
    made.set("clusterRef", reference(&cluster));
    if interval > 0 {
        let (schedule, exact) = stores::every(interval);
        made.set("schedule", schedule);
        if !exact {
            fields.notes.note(format!(
                "spec.schedule: every {interval} s is no schedule of five fields; {schedule} is the next one"
            ));
        }
    }
    if let Some(number) = fields
        .number("spec.backupPolicy.maxBackups")
        .filter(|n| *n != 0)
    {
        stores::keep_last(fields, &mut made, "spec.backupPolicy.maxBackups", number);
    }
    let timeout = fields
        .number("spec.backupPolicy.timeoutInSecond")
        .filter(|n| *n > 0);
    let timeout = timeout.and_then(|seconds| u64::try_from(seconds).ok());
    made.put(
        fields,
        "spec.backupPolicy.timeoutInSecond",
        "timeout",
        timeout.map(span),
    );
    fields.gone(
        "spec.clientTLSSecret",
        "the operator uses its own certificate",
    );
    fields.take("spec.storageType");
    let Some(store) = store(fields) else {
        return Ok(Outcome::PassedOver(
            "backups go to stores that speak S3, or to volumes, and this names none that is possible",
        ));
    };
    made.set("store", store);
    Ok(Outcome::Made(vec![made]))
}

/// Takes the endpoints, out of whose host names the cluster follows: `NAME-client`, or a member below `NAME`.
fn cluster_of(fields: &mut Fields) -> Option<String> {
    let endpoints = fields.list("spec.etcdEndpoints")?;
    let endpoint = endpoints.first()?.as_str()?;
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let host = host.split([':', '/']).next()?;
    let mut labels = host.split('.');
    let first = labels.next()?;
    let name = first.strip_suffix("-client").or_else(|| labels.next())?;
    is_name(name).then(|| name.to_owned())
}

/// Converts the bucket of `spec.s3`; `None` if it cannot be a store.
fn store(fields: &mut Fields) -> Option<serde_json::Value> {
    let path = fields.word("spec.s3.path")?;
    let (bucket, prefix) = path.split_once('/').unwrap_or((&path, ""));
    let parts = Bucket {
        endpoint: "spec.s3.endpoint",
        region: "spec.s3.region",
        path_style: "spec.s3.forcePathStyle",
        secret: "spec.s3.awsSecret",
    };
    let store = stores::s3(fields, bucket, prefix, &parts)?;
    let secret = &store["s3"]["credentialsSecretRef"]["name"];
    if let Some(secret) = secret.as_str() {
        stores::credentials(fields, secret, "the files credentials and config of AWS");
    }
    fields.notes.by_hand(
        "spec.store.s3.region: the old secret has it; without a region here it is us-east-1",
    );
    Some(store)
}
