//! Gives a container access to a backup store through flags of `witan-operator backup`, environment variables and volumes.

use k8s_openapi::api::core::v1::{EnvVar, Volume, VolumeMount};
use serde_json::json;
use witan_crd::{BackupStore, S3Store};

use super::{merge::built, word};

const VOLUME: &str = "/var/lib/backups";
const AUTHORITIES: &str = "/etc/witan/store";

/// The keys of the secret with the credentials. They are also the names of the variables. The last key is optional.
const CREDENTIALS: [&str; 3] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

#[derive(Debug, Default)]
pub(super) struct StoreAccess {
    /// Flags of `witan-operator backup`, without the location.
    pub(super) flags: Vec<String>,
    pub(super) env: Vec<EnvVar>,
    pub(super) volumes: Vec<Volume>,
    pub(super) mounts: Vec<VolumeMount>,
}

/// Returns the URL of a directory below the prefix of a store. If `folder` is empty, returns the URL of the prefix.
pub(crate) fn location(store: &BackupStore, folder: &[&str]) -> String {
    let (root, prefix) = match (&store.s3, &store.persistent_volume_claim) {
        (Some(s3), _) => (format!("s3://{}", s3.bucket), s3.prefix.as_str()),
        (None, Some(volume)) => (format!("file://{VOLUME}"), volume.prefix.as_str()),
        // The CRD rejects a store that has neither.
        (None, None) => (String::new(), ""),
    };
    let parts = [prefix].into_iter().chain(folder.iter().copied());
    let parts = parts.filter(|part| !part.is_empty());
    parts.fold(root, |url, part| format!("{url}/{part}"))
}

/// Returns the flags, variables and volumes with which a container accesses a store. `read_only` mounts the store's volume
/// read-only.
pub(super) fn access(store: &BackupStore, read_only: bool) -> StoreAccess {
    let mut access = StoreAccess::default();
    if let Some(claim) = &store.persistent_volume_claim {
        let claim = json!({"claimName": claim.claim_name});
        let volume = json!({"name": "backups", "persistentVolumeClaim": claim});
        access.volumes.push(built(volume));
        access.mounts.push(VolumeMount {
            read_only: read_only.then_some(true),
            ..mount("backups", VOLUME)
        });
    }
    if let Some(s3) = &store.s3 {
        object_store(s3, &mut access);
    }
    access
}

/// Adds the flags, variables and volumes of an object store.
fn object_store(s3: &S3Store, access: &mut StoreAccess) {
    let encryption = s3.server_side_encryption.map(word);
    let flag = |name: &str, value: &str| format!("--s3-{name}={value}");
    let flags = [
        Some(flag("region", &s3.region)),
        s3.endpoint.as_ref().map(|url| flag("endpoint", url)),
        s3.path_style.then(|| "--s3-path-style".to_owned()),
        encryption.map(|name| flag("server-side-encryption", &name)),
        s3.kms_key_id.as_ref().map(|key| flag("kms-key-id", key)),
    ];
    access.flags.extend(flags.into_iter().flatten());
    if let Some(authorities) = &s3.ca_secret_ref {
        let file = format!("{AUTHORITIES}/ca.crt");
        access.flags.push(flag("cacert", &file));
        let (volume, mount) = secret("store-ca", &authorities.name, AUTHORITIES);
        access.volumes.push(volume);
        access.mounts.push(mount);
    }
    if let Some(credentials) = &s3.credentials_secret_ref {
        access.env.extend(CREDENTIALS.map(|key| -> EnvVar {
            let optional = (key == CREDENTIALS[2]).then_some(true);
            let secret = json!({"name": credentials.name, "key": key, "optional": optional});
            built(json!({"name": key, "valueFrom": {"secretKeyRef": secret}}))
        }));
    }
}

/// Returns a volume for a secret, which the pod's group can read, and the volume's read-only mount at `path`.
pub(super) fn secret(volume: &str, secret: &str, path: &str) -> (Volume, VolumeMount) {
    let mount = VolumeMount { read_only: Some(true), ..mount(volume, path) };
    let secret = json!({"secretName": secret, "defaultMode": 0o440});
    (built(json!({"name": volume, "secret": secret})), mount)
}

pub(super) fn mount(volume: &str, path: &str) -> VolumeMount {
    built(json!({"name": volume, "mountPath": path}))
}

pub(super) fn scratch(name: &str) -> Volume {
    built(json!({"name": name, "emptyDir": {}}))
}
