//! Resources of the etcd-operator of Cozystack: `etcd-operator.cozystack.io/v1alpha2`.

use super::{
    DEFRAGMENTATION, Outcome, VERSION, disks,
    fields::Fields,
    finish_cluster,
    made::{Kind, Made},
    pods,
    selectors::by_cluster,
    server,
    stores::{self, Bucket},
    tls,
    values::{name, reference},
};

/// Annotations of the other operator.
const OWN: [&str; 1] = ["etcd-operator.cozystack.io/"];

/// Size of a disk by default.
const SIZE_DEFAULT: &str = "1Gi";

pub(super) fn convert(kind: &str, fields: &mut Fields) -> Result<Outcome, String> {
    match kind {
        "EtcdCluster" => cluster(fields).map(|made| Outcome::Made(vec![made])),
        "EtcdSnapshot" => snapshot(fields),
        "EtcdMember" => Ok(Outcome::PassedOver(
            "the operator makes the members of a cluster",
        )),
        "EtcdDefrag" | "EtcdDefragPolicy" => Ok(Outcome::PassedOver(DEFRAGMENTATION)),
        _ => Ok(Outcome::UNKNOWN),
    }
}

/// Converts an EtcdCluster.
fn cluster(fields: &mut Fields) -> Result<Made, String> {
    let mut made = Made::of(Kind::Cluster, fields, &OWN)?;
    let name = made.name().to_owned();
    let key = "etcd-operator.cozystack.io/cluster";
    let renamed = [by_cluster(key, &name)];
    disks::size(fields, &mut made, "spec.storage.size", SIZE_DEFAULT);
    match fields.word("spec.storage.medium").as_deref() {
        None => {}
        Some("Memory") => made.set("storage.medium", "Memory"),
        Some(other) => fields.refuse("spec.storage.medium", format!("{other} is none of Memory")),
    }
    // an empty class is one, too: that of volumes which nobody provisions
    let path = "spec.storage.storageClassName";
    let class = fields.text(path);
    made.put(fields, path, "storage.storageClassName", class);
    disks::replicas(fields, &mut made, "spec.replicas");
    restore(fields, &mut made);
    certificates(fields, &mut made)?;
    let secret = fields.word("spec.auth.rootCredentialsSecretRef.name");
    if fields.switch("spec.auth.enabled") == Some(true) {
        let secret = secret.unwrap_or_else(|| format!("{name}-root"));
        tls::users(fields, &mut made, "spec.auth", &secret);
    }
    pods::resources(fields, &mut made, "spec.resources");
    let metadata = "spec.additionalMetadata";
    pods::additional(
        fields,
        &mut made,
        &format!("{metadata}.labels"),
        &format!("{metadata}.annotations"),
    );
    pods::affinity(fields, &mut made, "spec.affinity", &renamed);
    pods::spread(
        fields,
        &mut made,
        "spec.topologySpreadConstraints",
        &renamed,
    );
    pods::pull_secrets(fields, &mut made, "spec.imagePullSecrets");
    options(fields, &mut made);
    made.services(fields, None, Some(&name));
    fields.gone("spec.version", VERSION);
    fields.gone(
        "spec.progressDeadlineSeconds",
        "a changed spec counts at once",
    );
    finish_cluster(fields, &made);
    Ok(made)
}

/// Converts `spec.options`.
fn options(fields: &mut Fields, made: &mut Made) {
    let typed = [
        ("spec.options.quotaBackendBytes", "quota-backend-bytes"),
        ("spec.options.autoCompactionMode", "auto-compaction-mode"),
        (
            "spec.options.autoCompactionRetention",
            "auto-compaction-retention",
        ),
        ("spec.options.snapshotCount", "snapshot-count"),
    ];
    let flags = server::of_fields(fields, &typed.map(|(path, name)| (path, name, None)));
    server::options(fields, made, flags);
}

/// Converts `spec.tls`: secrets, or issuers of cert-manager.
fn certificates(fields: &mut Fields, made: &mut Made) -> Result<(), String> {
    let peer = "spec.tls.peer.secretRef.name";
    tls::secret(fields, made, peer, "tls.peer.secretRef", None);
    let client = "spec.tls.client.serverSecretRef.name";
    tls::secret(fields, made, client, "tls.client.secretRef", None);
    let mut issued = false;
    for (port, from) in [
        ("peer", "spec.tls.peer.certManager.issuerRef"),
        ("client", "spec.tls.client.certManager.serverIssuerRef"),
    ] {
        if fields.has(from) && made.get(&format!("tls.{port}")).is_none() {
            let paths = (format!("{from}.name"), format!("{from}.kind"));
            tls::issuer(fields, made, (&paths.0, &paths.1), &[port])?;
            issued = true;
        }
    }
    if issued {
        tls::about_issuers(fields);
    }
    if made.get("tls.client").is_none() {
        return Ok(());
    }
    let operators = "spec.tls.client.certManager.operatorClientIssuerRef";
    let own = "spec.tls.client.operatorClientSecretRef.name";
    let shown = fields.has(operators) || fields.has(own);
    made.set("tls.client.clientCertAuth", shown);
    if made.get("tls.client.secretRef").is_some() {
        let target = "tls.client.operatorSecretRef";
        tls::secret(fields, made, own, target, None);
    }
    let issuer = fields.word(&format!("{operators}.name"));
    let same = made.get("tls.client.certManager.issuerRef.name");
    if issuer.is_some_and(|issuer| same.is_none_or(|same| *same != issuer)) {
        fields.refuse(
            operators,
            "one issuer signs the certificates of members and operator",
        );
    }
    fields.take(&format!("{operators}.kind"));
    Ok(())
}

/// Converts the bucket or the claim at `path` to a store; `key` is the prefix in it. `None` if it cannot be a store.
fn store(fields: &mut Fields, path: &str, key: &str) -> Option<serde_json::Value> {
    if let Some(claim) = fields.word(&format!("{path}.pvc.claimName")) {
        return stores::volume(&claim, key);
    }
    let bucket = fields.word(&format!("{path}.s3.bucket"))?;
    let parts = Bucket {
        endpoint: &format!("{path}.s3.endpoint"),
        region: &format!("{path}.s3.region"),
        path_style: &format!("{path}.s3.forcePathStyle"),
        secret: &format!("{path}.s3.credentialsSecretRef.name"),
    };
    stores::s3(fields, &bucket, key, &parts)
}

/// Takes where a snapshot is in its store.
fn key(fields: &mut Fields, path: &str) -> String {
    let key = fields.word(&format!("{path}.s3.key"));
    let below = fields.word(&format!("{path}.pvc.subPath"));
    key.or(below).unwrap_or_default()
}

/// Converts `spec.bootstrap.restore`.
fn restore(fields: &mut Fields, made: &mut Made) {
    let path = "spec.bootstrap.restore.source";
    if !fields.has(path) {
        return;
    }
    let key = key(fields, path);
    let found = stores::file(&key);
    let found = found.and_then(|(folder, name)| Some((store(fields, path, folder)?, name)));
    if !stores::restore(made, found) {
        fields.take(path);
        let reason = "it does not name a snapshot as spec.bootstrap.restore can";
        fields.refuse(path, reason);
    }
}

/// Converts an EtcdSnapshot to an EtcdBackup.
fn snapshot(fields: &mut Fields) -> Result<Outcome, String> {
    let mut made = Made::of(Kind::Backup, fields, &OWN)?;
    let cluster = name(fields, "spec.clusterRef.name");
    let cluster = cluster.ok_or("spec.clusterRef.name is missing: the cluster")?;
    made.set("clusterRef", reference(&cluster));
    let path = "spec.destination";
    let key = key(fields, path);
    let Some(store) = store(fields, path, &key) else {
        return Ok(Outcome::PassedOver(
            "spec.destination names no store that is possible",
        ));
    };
    made.set("store", store);
    Ok(Outcome::Made(vec![made]))
}
