//! Values of the bitnami chart `etcd`, which have no apiVersion.

mod access;
mod values;
mod workload;

use serde_json::{Map, Value, json};

use super::{
    Outcome, disks,
    fields::Fields,
    finish_cluster,
    made::{Kind, Made},
    ports,
    schema::fits,
    server, stores,
    values::{amount, name},
};
use values::GONE;

/// Keys by which values of the chart are known.
const KNOWN_BY: [&str; 9] = [
    "replicaCount",
    "persistence",
    "autoCompactionMode",
    "autoCompactionRetention",
    "startFromSnapshot",
    "disasterRecovery",
    "removeMemberOnContainerTermination",
    "initialClusterState",
    "statefulset",
];

/// Size of a disk, members and the name of a release in the chart by default.
const SIZE_DEFAULT: &str = "8Gi";
const REPLICAS_DEFAULT: i64 = 1;
const NAME_DEFAULT: &str = "etcd";

/// Domain of a cluster of Kubernetes by default.
const DOMAIN_DEFAULT: &str = "cluster.local";

/// The ports of the chart.
const PORTS: [(&str, i64); 4] = [
    ("service.port", 2379),
    ("service.ports.client", 2379),
    ("service.peerPort", 2380),
    ("service.ports.peer", 2380),
];

/// Whether a document is values of the chart.
pub(super) fn recognizes(fields: &Map<String, Value>) -> bool {
    KNOWN_BY.iter().any(|key| fields.contains_key(*key))
}

/// Converts the values; `name` is the full name of the release.
pub(super) fn convert(fields: &mut Fields, name: Option<&str>) -> Result<Outcome, String> {
    let given = fields.word("fullnameOverride");
    let name = name.map(str::to_owned).or(given);
    if name.is_none() {
        fields.notes.by_hand(
            "metadata.name: values have no name; --name NAME sets it, and the names of the Services with it",
        );
    }
    let name = name.unwrap_or_else(|| NAME_DEFAULT.to_owned());
    let mut made = Made::named(Kind::Cluster, &name)?;
    if let Some(namespace) = fields.word("namespaceOverride") {
        made.set_metadata("namespace", namespace.into());
    }
    storage(fields, &mut made);
    for path in ["replicaCount", "statefulset.replicaCount"] {
        disks::replicas(fields, &mut made, path);
    }
    if made.get("replicas").is_none() {
        made.set("replicas", REPLICAS_DEFAULT);
    }
    restore(fields, &mut made);
    access::certificates(fields, &mut made);
    access::users(fields, &mut made);
    workload::convert(fields, &mut made);
    options(fields, &mut made);
    services(fields, &mut made);
    let schedule = backups(fields, &made);
    if let Some(domain) = fields
        .word("clusterDomain")
        .filter(|name| name != DOMAIN_DEFAULT)
    {
        let reason = format!("{domain}: members find each other by names that end with .svc");
        fields.refuse("clusterDomain", reason);
    }
    fields.all_gone(GONE);
    templates(fields, &made);
    finish_cluster(fields, &made);
    Ok(Outcome::Made(
        std::iter::once(made).chain(schedule).collect(),
    ))
}

/// Converts `persistence` to the claims of the members.
fn storage(fields: &mut Fields, made: &mut Made) {
    let size = amount(fields, "persistence.size").unwrap_or_else(|| SIZE_DEFAULT.to_owned());
    let mut class = None;
    // one for all parts of a release takes precedence, and a default for them comes last
    for path in [
        "global.storageClass",
        "persistence.storageClass",
        "global.defaultStorageClass",
    ] {
        let found = fields.word(path);
        class = class.or(found.filter(|class| fits("storage.storageClassName", class)));
    }
    let modes = fields.list("persistence.accessModes");
    let selector = fields.object("persistence.selector");
    let metadata = disks::metadata(fields, "persistence");
    if fields.switch("persistence.enabled") == Some(false) {
        disks::empty_dir(fields, made, json!({}));
        return;
    }
    let mut claim = Map::new();
    claim.insert(
        "resources".to_owned(),
        json!({"requests": {"storage": size}}),
    );
    if let Some(class) = class {
        let none = class == "-";
        claim.insert(
            "storageClassName".to_owned(),
            if none { "" } else { &class }.into(),
        );
    }
    let usual = json!(["ReadWriteOnce"]);
    if let Some(modes) = modes.map(Value::Array).filter(|modes| *modes != usual) {
        claim.insert("accessModes".to_owned(), modes);
    }
    if let Some(selector) = selector {
        claim.insert("selector".to_owned(), selector.into());
    }
    if let Err(reason) = disks::set_claim(made, claim, metadata, Some(SIZE_DEFAULT)) {
        fields.refuse("persistence", reason);
    }
}

/// Converts `startFromSnapshot` to `spec.bootstrap.restore`.
fn restore(fields: &mut Fields, made: &mut Made) {
    let path = "startFromSnapshot";
    let claim = fields.word(&format!("{path}.existingClaim"));
    let file = fields.word(&format!("{path}.snapshotFilename"));
    if fields.switch(&format!("{path}.enabled")) != Some(true) {
        return;
    }
    let file = file.unwrap_or_default();
    let found = stores::file(&file).and_then(|(folder, name)| {
        Some((stores::volume(&claim.unwrap_or_default(), folder)?, name))
    });
    if !stores::restore(made, found) {
        let reason = "it does not name a claim and a file as spec.bootstrap.restore can";
        fields.refuse(path, reason);
    }
}

/// Converts the flags of etcd among the values (`autoCompactionMode`, `autoCompactionRetention`, `logLevel` unless it
/// is the default) and in `extraEnvVars` (`ETCD_…`) to `spec.options`, as [`server::options`] does. Notes in `fields`
/// what has no counterpart.
fn options(fields: &mut Fields, made: &mut Made) {
    let mut flags = server::of_variables(fields, "extraEnvVars");
    let typed = [
        ("autoCompactionMode", "auto-compaction-mode", None),
        ("autoCompactionRetention", "auto-compaction-retention", None),
        ("logLevel", "log-level", None),
    ];
    let typed = server::of_fields(fields, &typed).into_iter();
    flags.extend(typed.filter(|flag| flag.name != "log-level" || flag.value != "info"));
    server::options(fields, made, flags);
}

/// Keeps the names of the chart's Services, and converts type and annotations of the one for clients.
fn services(fields: &mut Fields, made: &mut Made) {
    let name = made.name().to_owned();
    made.services(fields, Some(&name), Some(&format!("{name}-headless")));
    let kind = fields
        .word("service.type")
        .filter(|kind| kind != "ClusterIP");
    made.put(fields, "service.type", "services.client.type", kind);
    made.set_some(
        "services.client.annotations",
        fields.texts("service.annotations"),
    );
    ports(fields, &PORTS);
}

/// Makes an EtcdBackupSchedule of `disasterRecovery`, which stores backups on a volume. Returns `None` if it is off or, with a
/// note, if its volume cannot be a store.
fn backups(fields: &mut Fields, cluster: &Made) -> Option<Made> {
    let path = |key: &str| format!("disasterRecovery.{key}");
    let on = fields.switch(&path("enabled")) == Some(true);
    let times = path("cronjob.schedule");
    let mut made = stores::schedule_of(fields, cluster, &times, "*/30 * * * *");
    let kept = path("cronjob.snapshotHistoryLimit");
    let number = fields.number(&kept).unwrap_or(1);
    let claim = name(fields, &path("pvc.existingClaim"));
    let folder = fields.word(&path("pvc.subPath")).unwrap_or_default();
    let size = fields.word(&path("pvc.size"));
    let class = fields.word(&path("pvc.storageClassName"));
    if !on {
        fields.take("disasterRecovery");
        return None;
    }
    stores::keep_last(fields, &mut made, &kept, number);
    let own = format!("{}-snapshotter", cluster.name());
    let store = stores::volume(claim.as_deref().unwrap_or(&own), &folder);
    let Some(store) = store else {
        fields.refuse(
            "disasterRecovery.pvc",
            "its claim or its folder is not possible, so that no backup is taken",
        );
        return None;
    };
    if claim.is_none() {
        fields.notes.by_hand(format!(
            "claim {own}: make one for the backups, which several nodes can mount ({}, class {})",
            size.as_deref().unwrap_or("2Gi"),
            class.as_deref().unwrap_or("nfs")
        ));
    }
    made.set("store", store);
    Some(made)
}

/// Says that texts of the values are templates, which only helm can fill.
fn templates(fields: &mut Fields, made: &Made) {
    if made.text().contains("{{") {
        fields
            .notes
            .by_hand("texts with {{ are templates of helm: write what they become");
    }
}
