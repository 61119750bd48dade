//! Tests the manifests and warnings of restores.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use witan_crd::{EtcdClusterStatus, RestorePoint, RestoreStatus};

use super::{
    super::{
        output::yaml,
        testing::{facts, golden, now},
    },
    *,
};

fn flags(name: &str) -> RestoreFlags {
    RestoreFlags {
        name: name.to_owned(),
        from: Some("orders-daily-8".to_owned()),
        bump_revision: 1000,
        ..RestoreFlags::default()
    }
}

fn undo() -> RestoreFlags {
    RestoreFlags {
        name: "orders".to_owned(),
        undo: true,
        ..RestoreFlags::default()
    }
}

/// Returns a cluster after an in-place restore that kept the disks of the cluster `kept_cluster_id`.
fn restored_in_place(kept_cluster_id: Option<&str>) -> EtcdCluster {
    let mut cluster = facts("healthy.yaml").cluster;
    let restore = RestoreStatus {
        operation: "back-to-monday".to_owned(),
        operation_uid: "u".to_owned(),
        number: 1,
        phase: RestorePhase::Done,
        started_at: Time(now()),
        source: Some(RestorePoint::default()),
        first_ordinal: Some(3),
        disks: vec![],
        cluster_id: None,
        kept_disks: ["data-orders-0", "data-orders-1"]
            .map(str::to_owned)
            .to_vec(),
        kept_cluster_id: kept_cluster_id.map(str::to_owned),
    };
    let status = cluster
        .status
        .get_or_insert_with(EtcdClusterStatus::default);
    status.restore = Some(restore);
    cluster
}

#[test]
fn a_restored_cluster_has_the_spec_of_the_old_one() {
    let old = facts("healthy.yaml").cluster;
    let made = EtcdCluster::new("again", restored(&old.spec, &flags("again")));
    golden("restored.yaml", &yaml(&made).unwrap());
}

#[test]
fn restores_in_place_are_operations() {
    let to_time = Some("2026-11-25T03:00:00Z".parse().unwrap());
    let flags = RestoreFlags { to_time, in_place: true, ..flags("orders") };
    let facts = facts("healthy.yaml");
    let (orders, backup) = (&facts.cluster, &facts.backups[1]);
    let carts = RestoreFlags { name: "carts".to_owned(), ..flags.clone() };
    let other = EtcdCluster::new("carts", orders.spec.clone());
    let made = [
        operation(orders, &flags, Some(backup), now()),
        operation(&other, &carts, Some(backup), now()),
        operation(orders, &undo(), None, now()),
    ];
    let text = made.map(|made| yaml(&made).unwrap()).join("---\n");
    golden("restore-in-place.yaml", &text);
}

#[test]
fn restore_in_place_explains_its_effects() {
    let facts = facts("healthy.yaml");
    let backup = &facts.backups[1];
    let plain = RestoreFlags { bump_revision: 0, ..flags("orders") };
    let later = RestoreFlags { to_revision: Some(700_400), ..flags("carts") };
    let carts = EtcdCluster::new("carts", facts.cluster.spec.clone());
    let warnings = [
        replace_warning(&facts.cluster, backup, &plain, now()),
        replace_warning(&carts, backup, &later, now()),
        undo_warning(&restored_in_place(Some("c1"))).unwrap(),
    ];
    golden("restore-in-place.txt", &warnings.join("\n"));
}

#[test]
fn a_restore_reports_why_its_backup_is_unconfirmed() {
    let mut backup = facts("healthy.yaml").backups.remove(1);
    assert_eq!(unconfirmed_warning(&backup), None);
    for (message, why) in [
        (
            "the CORRUPT alarm was raised for its member",
            "the CORRUPT alarm was raised for its member",
        ),
        ("", "it can lack acknowledged writes or have wrong keys"),
    ] {
        let status = backup.status.get_or_insert_default();
        status.conditions = vec![Condition {
            type_: CONFIRMED.to_owned(),
            status: "False".to_owned(),
            reason: "Unconfirmed".to_owned(),
            message: message.to_owned(),
            observed_generation: None,
            last_transition_time: Time(now()),
        }];
        let warning = unconfirmed_warning(&backup).unwrap();
        let wanted =
            format!("EtcdBackup orders-daily-8 is unconfirmed (Confirmed is False): {why}");
        assert_eq!(warning, wanted);
    }
}

#[test]
fn undo_returns_only_to_disks_that_served() {
    for cluster in [facts("healthy.yaml").cluster, restored_in_place(None)] {
        let why = undo_warning(&cluster).unwrap_err();
        assert!(why.starts_with("there is nothing to undo"), "{why}");
    }
}

/// The record of an undo names no kept cluster if the restore never served.
#[test]
fn an_unfinished_undo_can_be_continued() {
    let mut cluster = restored_in_place(None);
    let status = cluster.status.as_mut();
    let restore = status.and_then(|status| status.restore.as_mut());
    let restore = restore.expect("a restore");
    (restore.source, restore.phase) = (None, RestorePhase::Stopping);
    restore.disks = vec!["data-orders-7".to_owned()];
    let warning = undo_warning(&cluster).unwrap();
    assert!(warning.contains("data-orders-7"), "{warning}");
}
