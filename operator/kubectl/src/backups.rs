//! `backup`: creates EtcdBackups.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
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

/// Maximum number of characters of the cluster's name in a default backup name, which has at most 52 characters.
const CLUSTER_CHARS: usize = 36;

/// Creates an EtcdBackup with a schedule's settings. Fails if the cluster does not exist. With `--wait`, follows the backup
/// until it ends, and fails if the backup fails.
pub(super) async fn back_up(target: &Target, flags: &BackupFlags) -> Result<(), PluginError> {
    // A backup of a missing cluster would wait forever.
    target.cluster(&flags.cluster).await?;
    let schedule: EtcdBackupSchedule = target.get(&flags.like).await?;
    let backup = backup(flags, schedule.spec.settings, Timestamp::now());
    let name = backup.name_any();
    target.create(&backup).await?;
    print(&format!("etcdbackup/{name} created\n"))?;
    if flags.wait {
        follow(target, &name, stage).await?;
    }
    Ok(())
}

/// Builds an EtcdBackup, which no retention policy removes. The default name consists of the name of the cluster, possibly
/// truncated, and `now`. `--verify` overrides the setting of the schedule.
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

/// Returns the stage of a backup: `Runs` if its phase is missing or unknown.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::yaml,
        testing::{facts, golden, now},
    };

    /// Returns the backup of a cluster with the settings of the schedule in `healthy.yaml` and `--verify`.
    fn made(cluster: &str) -> EtcdBackup {
        let flags = BackupFlags {
            cluster: cluster.to_owned(),
            like: "orders-daily".to_owned(),
            name: None,
            verify: true,
            wait: false,
        };
        let schedule = facts("healthy.yaml").schedules.remove(0);
        backup(&flags, schedule.spec.settings, now())
    }

    #[test]
    fn a_backup_has_the_settings_of_a_schedule() {
        golden("backup.yaml", &yaml(&made("orders")).unwrap());
    }

    #[test]
    fn names_of_backups_are_short() {
        assert_eq!(made(&"c".repeat(45)).name_any().len(), 52);
    }
}
