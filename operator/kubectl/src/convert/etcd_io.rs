//! Resources of the etcd-operator of etcd's own project: `operator.etcd.io/v1alpha1`.

use serde_json::json;

use super::{
    IMAGE, VERSION, disks,
    fields::Fields,
    finish_cluster,
    made::{Kind, Made},
    pods,
    selectors::by_cluster,
    server, tls,
    values::seconds,
};

/// Annotations of the other operator.
const OWN: [&str; 1] = ["operator.etcd.io/"];

/// Size of a disk if the document has none that is possible: ours.
const SIZE_DEFAULT: &str = "8Gi";

/// Fields of certificates that have no counterpart, below `autoCfg` and `certManagerCfg`.
const OF_CERTIFICATES: [(&str, &str); 3] = [
    (
        "commonName",
        "the operator chooses the subjects of certificates",
    ),
    (
        "organizations",
        "the operator chooses the subjects of certificates",
    ),
    (
        "caBundleSecret",
        "members trust the CA that signs their certificates",
    ),
];

/// Converts an EtcdCluster.
pub(super) fn cluster(fields: &mut Fields) -> Result<Made, String> {
    let mut made = Made::of(Kind::Cluster, fields, &OWN)?;
    let name = made.name().to_owned();
    let renamed = [by_cluster("app", &name), by_cluster("controller", &name)];
    storage(fields, &mut made);
    disks::replicas(fields, &mut made, "spec.size");
    certificates(fields, &mut made)?;
    pods::labels_of_template(fields, &mut made);
    pods::affinity(
        fields,
        &mut made,
        "spec.podTemplate.spec.affinity",
        &renamed,
    );
    pods::node_selector(fields, &mut made, "spec.podTemplate.spec.nodeSelector");
    pods::tolerations(fields, &mut made, "spec.podTemplate.spec.tolerations");
    let flags = server::of_arguments(fields, "spec.etcdOptions");
    server::options(fields, &mut made, flags);
    // clients know the members by names below this Service, which is the only one there
    made.services(fields, None, Some(&name));
    fields.gone("spec.version", VERSION);
    fields.gone("spec.imageRegistry", IMAGE);
    finish_cluster(fields, &made);
    Ok(made)
}

/// Converts `spec.storageSpec` to the claims of the members; without it members have no disk.
fn storage(fields: &mut Fields, made: &mut Made) {
    if !fields.has("spec.storageSpec") {
        disks::empty_dir(fields, made, json!({}));
        return;
    }
    let size = "spec.storageSpec.volumeSizeRequest";
    disks::size(fields, made, size, SIZE_DEFAULT);
    pods::word(
        fields,
        made,
        "spec.storageSpec.storageClassName",
        "storage.storageClassName",
    );
    let path = "spec.storageSpec.accessModes";
    let modes = fields.word(path).map(|mode| json!([mode]));
    made.put(fields, path, "storage.accessModes", modes);
    fields.gone(
        "spec.storageSpec.volumeSizeLimit",
        "a claim has a size and no limit",
    );
    fields.gone(
        "spec.storageSpec.pvcName",
        "each member has a claim of its own",
    );
}

/// Converts `spec.tls`, by which the other operator or cert-manager issues certificates.
fn certificates(fields: &mut Fields, made: &mut Made) -> Result<(), String> {
    if !fields.has("spec.tls") {
        return Ok(());
    }
    let provider = fields
        .word("spec.tls.provider")
        .unwrap_or_else(|| "auto".to_owned());
    let (given, source) = match provider.as_str() {
        "cert-manager" => ("spec.tls.providerCfg.certManagerCfg", "certManager"),
        _ => ("spec.tls.providerCfg.autoCfg", "managed"),
    };
    if source == "certManager" {
        let issuer = (format!("{given}.issuerName"), format!("{given}.issuerKind"));
        tls::issuer(fields, made, (&issuer.0, &issuer.1), &tls::PORTS)?;
        tls::about_issuers(fields);
    } else {
        for port in tls::PORTS {
            made.set(&format!("tls.{port}.managed"), json!({}));
        }
        if provider != "auto" {
            let reason = format!("{provider} is not known: the operator issues the certificates");
            fields.refuse("spec.tls.provider", reason);
        }
    }
    if let Some(seconds) = seconds(fields, &format!("{given}.validityDuration")) {
        for port in tls::PORTS {
            if let Err(reason) = tls::validity(made, port, source, seconds) {
                fields.refuse(&format!("{given}.validityDuration"), reason);
                break;
            }
        }
    }
    let names = format!("{given}.altNames.dnsNames");
    tls::more_names(
        fields,
        made,
        &names,
        &format!("{given}.altNames.ipAddresses"),
    );
    for (key, reason) in OF_CERTIFICATES {
        fields.gone(&format!("{given}.{key}"), reason);
    }
    fields.notes.by_hand("clients have to show a certificate of the cluster's CA, or set spec.tls.client.clientCertAuth: false");
    Ok(())
}
