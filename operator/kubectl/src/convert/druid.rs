//! Resources of Gardener's etcd-druid: `druid.gardener.cloud/v1alpha1`.

mod backup;

use super::{
    DEFRAGMENTATION, IMAGE, Outcome, disks,
    fields::Fields,
    finish_cluster,
    made::{Kind, Made},
    pods, ports,
    selectors::{by_cluster, by_operator},
    server, tls,
};

/// Annotations of the other operator.
const OWN: [&str; 2] = ["druid.gardener.cloud/", "gardener.cloud/"];

/// The annotation that has druid leave a cluster as it is.
const SUSPENDED: &str = "druid.gardener.cloud/suspend-etcd-spec-reconcile";

/// Size of a disk, quota and retention that druid has by default.
const SIZE_DEFAULT: &str = "16Gi";
const QUOTA_DEFAULT: &str = "8Gi";
const RETENTION_DEFAULT: &str = "30m";

/// Why namespaces of secrets are left out.
const NAMESPACE: &str = "secrets are in the namespace of the cluster";

/// Ports that druid has by default.
const PORTS: [(&str, i64); 3] = [
    ("spec.etcd.clientPort", 2379),
    ("spec.etcd.serverPort", 2380),
    ("spec.etcd.wrapperPort", 9095),
];

/// Fields that have no counterpart.
const GONE: [(&str, &str); 12] = [
    (
        "spec.selector",
        "the operator knows its pods by its own labels",
    ),
    ("spec.memberNamePrefix", "a member has the name of its pod"),
    ("spec.runAsRoot", pods::SECURITY),
    (
        "spec.volumeClaimTemplate",
        "it is the name of the claims, which are data-NAME-0 and so on here",
    ),
    ("spec.etcd.image", IMAGE),
    (
        "spec.etcd.snapshotCount",
        "it has no effect here (docs/reference/flags.md)",
    ),
    (
        "spec.etcd.backendBboltFreelistType",
        "there is no bbolt here",
    ),
    ("spec.etcd.defragmentationSchedule", DEFRAGMENTATION),
    ("spec.etcd.etcdDefragTimeout", DEFRAGMENTATION),
    (
        "spec.etcd.heartbeatDuration",
        "it is how often druid's sidecar renews its Lease, not etcd's heartbeat",
    ),
    (
        "spec.etcd.additionalAdvertisePeerURLs",
        "members have the URLs of their pods alone",
    ),
    (
        "spec.etcd.bootstrapWithExistingCluster",
        "members of etcd and of Witan are in no cluster together; see the line about the data",
    ),
];

pub(super) fn convert(kind: &str, fields: &mut Fields) -> Result<Outcome, String> {
    match kind {
        "Etcd" => cluster(fields),
        "EtcdOpsTask" => Ok(Outcome::PassedOver(
            "a snapshot on demand is an EtcdBackup (docs/operating/kubernetes-backup.md)",
        )),
        "EtcdCopyBackupsTask" => Ok(Outcome::PassedOver(
            "backups of etcd-backup-restore are no backups of Witan",
        )),
        _ => Ok(Outcome::UNKNOWN),
    }
}

/// Converts an Etcd to an EtcdCluster and, if it has backups, an EtcdBackupSchedule.
fn cluster(fields: &mut Fields) -> Result<Outcome, String> {
    let suspended = fields.annotation(SUSPENDED);
    let mut made = Made::of(Kind::Cluster, fields, &OWN)?;
    if suspended {
        made.set("paused", true);
    }
    let name = made.name().to_owned();
    let renamed = [
        by_cluster("app.kubernetes.io/part-of", &name),
        by_cluster("instance", &name),
        by_operator("etcd-druid"),
    ];
    disks::size(fields, &mut made, "spec.storageCapacity", SIZE_DEFAULT);
    let class = "storage.storageClassName";
    pods::word(fields, &mut made, "spec.storageClass", class);
    disks::replicas(fields, &mut made, "spec.replicas");
    access(fields, &mut made);
    pods::labels(fields, &mut made, "spec.labels", "spec.annotations");
    pods::resources(fields, &mut made, "spec.etcd.resources");
    let scheduling = "spec.schedulingConstraints";
    pods::affinity(
        fields,
        &mut made,
        &format!("{scheduling}.affinity"),
        &renamed,
    );
    let spread = format!("{scheduling}.topologySpreadConstraints");
    pods::spread(fields, &mut made, &spread, &renamed);
    pods::word(
        fields,
        &mut made,
        "spec.priorityClassName",
        "priorityClassName",
    );
    options(fields, &mut made);
    services(fields, &mut made);
    fields.all_gone(&GONE);
    let schedule = backup::convert(fields, &made);
    finish_cluster(fields, &made);
    Ok(Outcome::Made(
        std::iter::once(made).chain(schedule).collect(),
    ))
}

/// Converts `spec.etcd.clientService`, and refuses ports other than those of members.
fn services(fields: &mut Fields, made: &mut Made) {
    for key in ["labels", "annotations"] {
        let texts = fields.texts(&format!("spec.etcd.clientService.{key}"));
        made.set_some(&format!("services.client.{key}"), texts);
    }
    let distribution = "spec.etcd.clientService.trafficDistribution";
    let target = "services.client.trafficDistribution";
    pods::word(fields, made, distribution, target);
    ports(fields, &PORTS);
}

/// Converts the fields of `spec.etcd` and `spec.sharedConfig` that are flags of etcd.
fn options(fields: &mut Fields, made: &mut Made) {
    let typed = [
        (
            "spec.etcd.quota",
            "quota-backend-bytes",
            Some(QUOTA_DEFAULT),
        ),
        ("spec.etcd.metrics", "metrics", None),
        ("spec.etcd.enableGRPCGateway", "enable-grpc-gateway", None),
        (
            "spec.sharedConfig.autoCompactionMode",
            "auto-compaction-mode",
            None,
        ),
        (
            "spec.sharedConfig.autoCompactionRetention",
            "auto-compaction-retention",
            Some(RETENTION_DEFAULT),
        ),
    ];
    let flags = server::of_fields(fields, &typed);
    server::options(fields, made, flags);
}

/// Converts the secrets of `peerUrlTls` and `clientUrlTls`, and then `authSecretRef`, which turns users on: these need
/// TLS for clients.
fn access(fields: &mut Fields, made: &mut Made) {
    for (from, target) in [
        ("spec.etcd.peerUrlTls", "tls.peer.secretRef"),
        ("spec.etcd.clientUrlTls", "tls.client.secretRef"),
    ] {
        let path = format!("{from}.serverTLSSecretRef.name");
        let Some(secret) = tls::secret(fields, made, &path, target, None) else {
            continue;
        };
        tls::ca_secret(fields, &format!("{from}.tlsCASecretRef.name"), &secret);
        let key = fields.word(&format!("{from}.tlsCASecretRef.dataKey"));
        if let Some(key) = key.filter(|key| key != "ca.crt") {
            fields.notes.by_hand(format!(
                "secret {secret}: the CA is in the key {key} there, and has to be in ca.crt"
            ));
        }
    }
    if made.get("tls.client").is_some() {
        let path = "spec.etcd.clientUrlTls.clientTLSSecretRef.name";
        let target = "tls.client.operatorSecretRef";
        if let Some(secret) = tls::secret(fields, made, path, target, None) {
            fields.notes.by_hand(format!(
                "secret {secret}: spec.{target} reads tls.crt, tls.key and ca.crt"
            ));
        }
    }
    let peer = "spec.etcd.peerUrlTls";
    fields.gone(
        &format!("{peer}.clientTLSSecretRef"),
        "members show each other their one certificate",
    );
    fields.gone(
        &format!("{peer}.skipClientSANVerification"),
        "members always skip it, and check the CA",
    );
    for secret in ["tlsCASecretRef", "serverTLSSecretRef", "clientTLSSecretRef"] {
        for port in ["clientUrlTls", "peerUrlTls"] {
            let path = format!("spec.etcd.{port}.{secret}.namespace");
            fields.gone(&path, NAMESPACE);
        }
    }
    fields.gone("spec.etcd.authSecretRef.namespace", NAMESPACE);
    let secret = fields.word("spec.etcd.authSecretRef.name");
    if let Some(secret) = secret
        && tls::users(fields, made, "spec.etcd.authSecretRef", &secret)
    {
        tls::password(fields, &secret, "it has a user and a password");
    }
}
