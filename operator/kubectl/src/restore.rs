//! `restore` creates an EtcdCluster from a backup. With `--in-place` or `--undo`, creates an EtcdOperation instead.

#[cfg(test)]
mod tests;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt as _;
use witan_crd::{
    BackupPhase, BootstrapSource, CONFIRMED, EtcdBackup, EtcdCluster, EtcdClusterSpec,
    EtcdOperation, EtcdOperationSpec, REPLICAS_DEFAULT, Restore, RestoreInPlace, RestorePhase,
    RestoreStatus, SecretRef, UndoRestore,
};

use super::{
    command::RestoreFlags,
    error::{PluginError, of_kube},
    operations,
    output::{confirmed, print, print_yaml, tell},
    table::{age, or_unknown},
    target::Target,
};

/// Creates the resource that restores a backup or undoes the last restore. Fails if the EtcdBackup has not succeeded, and warns
/// if it is unconfirmed.
pub(super) async fn run(target: &Target, flags: &RestoreFlags) -> Result<(), PluginError> {
    let Some(from) = &flags.from else {
        return in_place(target, flags, None).await;
    };
    let backup: EtcdBackup = target.get(from).await?;
    if backup.phase() != Some(BackupPhase::Succeeded) {
        return Err(words!("EtcdBackup {from} has not succeeded"));
    }
    if let Some(warning) = unconfirmed_warning(&backup) {
        tell(&warning);
    }
    match flags.in_place {
        true => in_place(target, flags, Some(&backup)).await,
        false => new_cluster(target, flags, &backup).await,
    }
}

/// Returns a warning with the reason if the backup is unconfirmed.
fn unconfirmed_warning(backup: &EtcdBackup) -> Option<String> {
    let mut conditions = backup.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.find(|one| one.type_ == CONFIRMED && one.status == "False")?;
    let why = match found.message.as_str() {
        "" => "it can lack acknowledged writes or have wrong keys",
        message => message,
    };
    let name = backup.name_any();
    Some(format!(
        "EtcdBackup {name} is unconfirmed ({CONFIRMED} is False): {why}"
    ))
}

/// Creates an EtcdCluster from a backup, with the spec of the cluster that was backed up. With `--dry-run`, only prints it.
async fn new_cluster(
    target: &Target,
    flags: &RestoreFlags,
    backup: &EtcdBackup,
) -> Result<(), PluginError> {
    let of = &backup.spec.cluster_ref.name;
    let old = target.cluster(of).await.map_err(|error| {
        words!(
            "{error}. The new cluster needs the spec of this EtcdCluster; create an EtcdCluster with spec.bootstrap.restore instead"
        )
    })?;
    let made = EtcdCluster::new(&flags.name, restored(&old.spec, flags));
    if flags.dry_run {
        return print_yaml(&made);
    }
    target.create(&made).await?;
    let name = &flags.name;
    print(&format!(
        "etcdcluster/{name} created; see kubectl witan status {name}\n"
    ))
}

/// Returns the spec of the new cluster. The new cluster is neither paused nor hibernated. `old` is the spec of the cluster that
/// was backed up. The Services get default names, because the old cluster's Services may still exist.
fn restored(old: &EtcdClusterSpec, flags: &RestoreFlags) -> EtcdClusterSpec {
    let mut spec = old.clone();
    spec.bootstrap = Some(BootstrapSource { discovery: None, restore: wanted(flags) });
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

/// Returns the restore that the flags request; `None` with `--undo`.
fn wanted(flags: &RestoreFlags) -> Option<Restore> {
    let name = flags.from.clone()?;
    Some(Restore {
        backup_ref: Some(SecretRef { name }),
        to_revision: flags.to_revision,
        to_time: flags.to_time.map(Time),
        bump_revision: flags.bump_revision,
        ..Restore::default()
    })
}

/// Creates the EtcdOperation for an in-place restore, or for its undo if `backup` is `None`. Fails if the user does not confirm
/// the operation. With `--dry-run`, only prints it. With `--wait`, follows it until it ends.
async fn in_place(
    target: &Target,
    flags: &RestoreFlags,
    backup: Option<&EtcdBackup>,
) -> Result<(), PluginError> {
    let cluster = target.cluster(&flags.name).await?;
    let now = Timestamp::now();
    let made = operation(&cluster, flags, backup, now);
    if flags.dry_run {
        return print_yaml(&made);
    }
    let warning = match backup {
        Some(backup) => replace_warning(&cluster, backup, flags, now),
        None => {
            let warning = undo_warning(&cluster).map_err(PluginError)?;
            check_ended(target, &cluster).await?;
            warning
        }
    };
    print(&warning)?;
    if !flags.yes && !confirmed(target, &flags.name)? {
        return Err(words!("canceled: nothing was changed"));
    }
    operations::create_operation(target, &made, flags.wait).await
}

/// Returns the operation that the flags request. `backup` is `None` for an undo. The backup can be of another cluster.
fn operation(
    cluster: &EtcdCluster,
    flags: &RestoreFlags,
    backup: Option<&EtcdBackup>,
    now: Timestamp,
) -> EtcdOperation {
    let verb = if flags.undo {
        "undo-restore"
    } else {
        "restore"
    };
    let of = backup.map(|backup| backup.spec.cluster_ref.name.clone());
    let from_cluster = of.filter(|of| *of != flags.name);
    let undone = last_restore(cluster).map(|restore| restore.operation.clone());
    let spec = EtcdOperationSpec {
        restore: wanted(flags).map(|from| RestoreInPlace {
            from,
            from_cluster,
            ..RestoreInPlace::default()
        }),
        undo_restore: flags.undo.then_some(UndoRestore { operation: undone }),
        ..EtcdOperationSpec::default()
    };
    operations::operation((cluster, verb), spec, now)
}

/// Returns the warning to show before an in-place restore.
fn replace_warning(
    cluster: &EtcdCluster,
    backup: &EtcdBackup,
    flags: &RestoreFlags,
    now: Timestamp,
) -> String {
    let (name, from) = (cluster.name_any(), backup.name_any());
    let status = backup.status.clone().unwrap_or_default();
    let revision = or_unknown(status.revision);
    let taken = or_unknown(status.completed_at.map(|at| age(at.0, now) + " ago"));
    let revision_to = flags.to_revision.map(|to| format!("revision {to}"));
    let to = revision_to.or(flags.to_time.map(|to| to.to_string()));
    let changes = to.map(|to| format!(", with the changes up to {to}"));
    let of = &backup.spec.cluster_ref.name;
    let other = match *of == name {
        true => String::new(),
        false => format!("The EtcdBackup is a backup of another cluster, {of}.\n"),
    };
    let watches = match flags.bump_revision {
        0 => "Without --bump-revision, clients with open watches can miss changes.\n",
        _ => "",
    };
    format!(
        "This operation replaces the data of {name} with EtcdBackup {from}: revision {revision}, {taken}{}.\n{other}\
         When the backup has been restored in a scratch directory, all members are stopped. The cluster is unavailable until the \
         new members serve.\nLater writes are lost, but the old disks are kept: kubectl witan restore {name} --undo returns to them.\n\
         {watches}",
        changes.unwrap_or_default(),
    )
}

/// Returns the warning to show before an undo, or before the continuation of an unfinished undo. Fails if there are no disks to
/// which the cluster can return, or if it has already returned to them.
fn undo_warning(cluster: &EtcdCluster) -> Result<String, String> {
    let name = cluster.name_any();
    let last = last_restore(cluster);
    if let Some(last) = last.filter(|last| last.source.is_none())
        && last.phase != RestorePhase::Done
    {
        let (claims, operation) = (last.disks.join(", "), &last.operation);
        return Ok(format!(
            "This operation continues the undo of EtcdOperation {operation}, which returns {name} to the PVCs {claims}.\n\
             The cluster is unavailable until the members on these PVCs serve.\nWrites since the restore are lost, but the \
             current PVCs are kept.\n"
        ));
    }
    let Some(last) = last.filter(|last| last.kept_cluster_id.is_some()) else {
        return Err(format!(
            "there is nothing to undo: no restore of {name} has kept the disks of a cluster that served"
        ));
    };
    let (claims, operation) = (last.kept_disks.join(", "), &last.operation);
    if last.source.is_none() {
        return Err(format!(
            "EtcdOperation {operation} has already returned {name} to its previous PVCs; the PVCs of the restore are kept: {claims}"
        ));
    }
    Ok(format!(
        "This operation returns {name} to the PVCs that EtcdOperation {operation} kept: {claims}.\n\
         All members are stopped. The cluster is unavailable until the members on these PVCs serve.\nWrites since the restore \
         are lost, but the current PVCs are kept.\n"
    ))
}

fn last_restore(cluster: &EtcdCluster) -> Option<&RestoreStatus> {
    cluster.status.as_ref()?.restore.as_ref()
}

/// Fails if the EtcdOperation of the last restore has not ended, because an undo would wait for it.
async fn check_ended(target: &Target, cluster: &EtcdCluster) -> Result<(), PluginError> {
    let last = last_restore(cluster);
    let Some(last) = last.filter(|last| last.phase != RestorePhase::Done) else {
        return Ok(());
    };
    let name = &last.operation;
    let found = target.api::<EtcdOperation>().get_opt(name).await;
    let found =
        found.map_err(|error| words!("cannot read EtcdOperation {name}: {}", of_kube(&error)))?;
    if found.is_none_or(|found| found.uid().as_ref() != Some(&last.operation_uid)) {
        return Ok(());
    }
    Err(words!(
        "EtcdOperation {name} has not ended, and an undo would wait for it; delete it (kubectl delete etcdop {name}) and try \
         again. The deletion alone changes nothing"
    ))
}
