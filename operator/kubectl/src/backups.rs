//! `backup`: creates EtcdBackups.

#[cfg(test)]
mod tests;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;
use witan_crd::{
    BackupPhase, BackupSettings, EtcdBackup, EtcdBackupSchedule, EtcdBackupSpec, SecretRef, Verify,
};

use super::{
    command::BackupFlags,
    error::PluginError,
    follow::{Stage, follow},
    output::print,
    table::or_unknown,
    target::Target,
};

/// Number of characters that a cluster's name contributes to a backup's default name, which has at most 52.
const CLUSTER_CHARS: usize = 36;

/// Creates an EtcdBackup from the flags or from a schedule's settings. With `--wait`, shows its progress.
pub(super) async fn back_up(target: &Target, flags: &BackupFlags) -> Result<(), PluginError> {
    // A backup of a mistyped name would wait forever.
    target.cluster(&flags.cluster).await?;
    let settings = match (&flags.like, &flags.to) {
        (Some(schedule), _) => {
            let found: EtcdBackupSchedule = target.get(schedule).await?;
            found.spec.settings
        }
        (None, location) => settings(location.as_deref().unwrap_or_default(), flags)?,
    };
    let backup = backup(flags, settings, Timestamp::now());
    let name = backup.name_any();
    target.create(&backup).await?;
    print(&format!("etcdbackup/{name} created\n"))?;
    if flags.wait {
        follow(target, &name, stage).await?;
    }
    Ok(())
}

fn backup(flags: &BackupFlags, settings: BackupSettings, now: Timestamp) -> EtcdBackup {
    let part: String = flags.cluster.chars().take(CLUSTER_CHARS).collect();
    let default = || format!("{part}-{}", now.strftime("%Y%m%d-%H%M%S"));
    let name = flags.name.clone().unwrap_or_else(default);
    let verify = if flags.verify {
        Verify::Restore
    } else {
        settings.verify
    };
    let spec = EtcdBackupSpec {
        cluster_ref: SecretRef { name: flags.cluster.clone() },
        folder: String::new(),
        retention: None,
        settings: BackupSettings { verify, ..settings },
    };
    EtcdBackup::new(&name, spec)
}

/// Parses a location, `s3://BUCKET[/PREFIX]` or `pvc://CLAIM[/FOLDER]`, into settings.
fn settings(location: &str, flags: &BackupFlags) -> Result<BackupSettings, PluginError> {
    let wrong = || {
        let text = "is not a location: use s3://BUCKET[/PREFIX] or pvc://CLAIM[/FOLDER]";
        words!("{location:?} {text}")
    };
    let (scheme, rest) = location.split_once("://").ok_or_else(wrong)?;
    let (name, folder) = rest.split_once('/').unwrap_or((rest, ""));
    let folder = folder.trim_end_matches('/');
    let mut store = match scheme {
        "s3" => json!({"s3": {"bucket": name, "prefix": folder}}),
        "pvc" => json!({"persistentVolumeClaim": {"claimName": name, "prefix": folder}}),
        _ => return Err(wrong()),
    };
    if name.is_empty() {
        return Err(wrong());
    }
    if let Some(secret) = &flags.credentials {
        if scheme != "s3" {
            return Err(words!("a volume has no credentials"));
        }
        store["s3"]["credentialsSecretRef"] = json!({"name": secret});
    }
    let settings = serde_json::from_value(json!({"store": store}));
    settings.map_err(|error| words!("{location:?}: {error}"))
}

fn stage(backup: EtcdBackup) -> Stage {
    let status = backup.status.unwrap_or_default();
    let message = status.message.unwrap_or_default();
    match status.phase {
        Some(BackupPhase::Succeeded) => {
            let revision = or_unknown(status.revision);
            let (size, location) = (or_unknown(status.size), or_unknown(status.location));
            let warning = Some(message).filter(|message| !message.is_empty());
            let warning = warning.map(|message| format!("; {message}"));
            let warning = warning.unwrap_or_default();
            Stage::Succeeded(format!(
                "revision {revision}, {size}, in {location}{warning}"
            ))
        }
        Some(BackupPhase::Failed) => Stage::Failed(message),
        Some(phase @ (BackupPhase::Pending | BackupPhase::Running | BackupPhase::Unknown)) => {
            Stage::Runs(format!("{phase:?} {message}"))
        }
        None => Stage::Runs(String::new()),
    }
}
