//! `backup`, `backups` and `restore`: EtcdBackups, and the EtcdCluster that begins from one.

#[cfg(test)]
mod tests;

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::jiff::Timestamp;
use kube::{
    ResourceExt as _,
    api::{ListParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use witan_crd::{
    BackupPhase, BackupSettings, BootstrapSource, EtcdBackup, EtcdBackupSchedule, EtcdBackupSpec,
    EtcdCluster, EtcdClusterSpec, REPLICAS_DEFAULT, Restore, SecretRef, Verify,
};

use super::{
    PluginError,
    command::{BackupFlags, RestoreFlags},
    output::{print, tell, yaml},
    table::{Table, age, or_unknown},
    target::Target,
};

/// How many characters of a cluster's name are in the name of its backup, which has 52 at most.
const NAME_PART_MAX: usize = 36;

/// Reads EtcdBackups, the newest first.
pub(super) async fn list(
    target: &Target,
    cluster: Option<&str>,
) -> Result<Vec<EtcdBackup>, PluginError> {
    let mut all: Vec<EtcdBackup> = target.list(&ListParams::default(), "EtcdBackups").await?;
    all.retain(|backup| cluster.is_none_or(|name| name == backup.spec.cluster_ref.name));
    all.sort_by_key(|backup| std::cmp::Reverse(backup.creation_timestamp().map(|time| time.0)));
    Ok(all)
}

/// Returns a table of backups.
pub(super) fn table(all: &[EtcdBackup], now: Timestamp) -> String {
    let heading = [
        "NAMESPACE",
        "NAME",
        "CLUSTER",
        "PHASE",
        "REVISION",
        "SIZE",
        "COMPLETED",
        "LOCATION",
        "MESSAGE",
    ];
    let mut table = Table::new(heading);
    for backup in all {
        let status = backup.status.clone().unwrap_or_default();
        let phase = status.phase.map(|phase| format!("{phase:?}"));
        table.row([
            backup.namespace().unwrap_or_default(),
            backup.name_any(),
            backup.spec.cluster_ref.name.clone(),
            phase.unwrap_or_else(|| "Pending".to_owned()),
            or_unknown(status.revision.map(|revision| revision.to_string())),
            or_unknown(status.size),
            or_unknown(status.completed_at.map(|time| age(time.0, now) + " ago")),
            or_unknown(status.location),
            super::table::clipped(&status.message.unwrap_or_default(), 120),
        ]);
    }
    if table.is_empty() {
        "no EtcdBackup found\n".to_owned()
    } else {
        table.to_string()
    }
}

/// Creates an EtcdBackup, and waits for its end if asked to.
pub(super) async fn back_up(target: &Target, flags: &BackupFlags) -> Result<(), PluginError> {
    // a name with a typing error would make a backup that waits for ever
    target.cluster(&flags.cluster).await?;
    let settings = match (&flags.like, &flags.to) {
        (Some(schedule), _) => {
            let found: EtcdBackupSchedule = target.get("EtcdBackupSchedule", schedule).await?;
            found.spec.settings
        }
        (None, location) => settings(location.as_deref().unwrap_or_default(), flags)?,
    };
    let backup = backup(flags, settings, Timestamp::now());
    let created = target
        .api::<EtcdBackup>()
        .create(&PostParams::default(), &backup)
        .await;
    let name = backup.name_any();
    created.map_err(|error| PluginError::api(format!("create EtcdBackup {name}"), error))?;
    print(&format!("etcdbackup/{name} created\n"))?;
    if flags.wait {
        wait(target, &name).await?;
    }
    Ok(())
}

/// Makes the EtcdBackup that the flags ask for.
fn backup(flags: &BackupFlags, settings: BackupSettings, now: Timestamp) -> EtcdBackup {
    let part: String = flags.cluster.chars().take(NAME_PART_MAX).collect();
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

/// Makes the settings for a location.
fn settings(location: &str, flags: &BackupFlags) -> Result<BackupSettings, PluginError> {
    let wrong = || {
        let text = "is no location: s3://BUCKET[/PREFIX] or pvc://CLAIM[/FOLDER]";
        PluginError::Words(format!("{location:?} {text}"))
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
            return Err(PluginError::words("a volume has no credentials"));
        }
        store["s3"]["credentialsSecretRef"] = json!({"name": secret});
    }
    let settings = serde_json::from_value(json!({"store": store}));
    settings.map_err(|error| PluginError::Words(format!("{location:?}: {error}")))
}

/// Tells how a backup goes on until it has succeeded; an error if it fails.
async fn wait(target: &Target, name: &str) -> Result<(), PluginError> {
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = watcher(target.api::<EtcdBackup>(), only)
        .applied_objects()
        .boxed();
    let mut told = String::new();
    loop {
        let next = changes.try_next().await;
        let next = next.map_err(|error| {
            PluginError::Words(format!(
                "cannot watch EtcdBackup {name}: {}",
                super::chain(&error)
            ))
        })?;
        let Some(backup) = next else {
            return Err(PluginError::Words(format!(
                "the watch of EtcdBackup {name} ended"
            )));
        };
        let status = backup.status.unwrap_or_default();
        let message = status.message.clone().unwrap_or_default();
        match status.phase {
            Some(BackupPhase::Succeeded) => {
                let revision = or_unknown(status.revision.map(|revision| revision.to_string()));
                let (size, location) = (or_unknown(status.size), or_unknown(status.location));
                return print(&format!(
                    "succeeded: revision {revision}, {size}, in {location}\n"
                ));
            }
            Some(BackupPhase::Failed) => {
                return Err(PluginError::Words(format!(
                    "EtcdBackup {name} failed: {message}"
                )));
            }
            Some(phase @ (BackupPhase::Pending | BackupPhase::Running)) => {
                let line = format!("{phase:?} {message}");
                if line != told {
                    tell(line.trim_end());
                    told = line;
                }
            }
            None => {}
        }
    }
}

/// Creates an EtcdCluster that begins from a backup, or prints it.
pub(super) async fn restore(target: &Target, flags: &RestoreFlags) -> Result<(), PluginError> {
    let backup: EtcdBackup = target.get("EtcdBackup", &flags.from).await?;
    let succeeded = backup.status.as_ref().and_then(|status| status.phase);
    if succeeded != Some(BackupPhase::Succeeded) {
        let from = &flags.from;
        return Err(PluginError::Words(format!(
            "EtcdBackup {from} has not succeeded"
        )));
    }
    let of = &backup.spec.cluster_ref.name;
    let old = target.cluster(of).await.map_err(|error| {
        PluginError::Words(format!(
            "{error}. The new cluster would have its spec: create one with spec.bootstrap.restore by hand"
        ))
    })?;
    let made = EtcdCluster::new(&flags.name, restored(&old.spec, flags));
    if flags.dry_run {
        return print(&yaml(&made)?);
    }
    let created = target
        .api::<EtcdCluster>()
        .create(&PostParams::default(), &made)
        .await;
    let name = &flags.name;
    created.map_err(|error| PluginError::api(format!("create EtcdCluster {name}"), error))?;
    print(&format!(
        "etcdcluster/{name} created; see kubectl witan status {name}\n"
    ))
}

/// Returns the spec of a cluster that begins from a backup of one with the spec `old`. Its Services have default names,
/// because those of the old one may still exist.
fn restored(old: &EtcdClusterSpec, flags: &RestoreFlags) -> EtcdClusterSpec {
    let mut spec = old.clone();
    let restore = Restore {
        backup_ref: Some(SecretRef { name: flags.from.clone() }),
        bump_revision: flags.bump_revision,
        ..Restore::default()
    };
    spec.bootstrap = Some(BootstrapSource { discovery: None, restore: Some(restore) });
    spec.paused = false;
    if spec.replicas == 0 {
        spec.replicas = REPLICAS_DEFAULT;
    }
    if let Some(services) = &mut spec.services {
        if let Some(client) = &mut services.client {
            client.name = None;
        }
        services.peer = None;
    }
    spec
}
