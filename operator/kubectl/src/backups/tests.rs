//! Manifests of backups.

use super::{
    super::{
        output::yaml,
        testing::{golden, now},
    },
    *,
};

fn flags(to: &str) -> BackupFlags {
    BackupFlags {
        cluster: "orders".to_owned(),
        to: Some(to.to_owned()),
        credentials: None,
        like: None,
        name: None,
        verify: true,
        wait: false,
    }
}

#[test]
fn a_location_is_a_store() {
    let mut flags = flags("s3://bucket/a/b/");
    flags.credentials = Some("s3".to_owned());
    let made = backup(&flags, settings("s3://bucket/a/b/", &flags).unwrap(), now());
    golden("backup.yaml", &yaml(&made).unwrap());
    assert!(
        settings("pvc://disk/a", &flags).is_err(),
        "a volume has no credentials"
    );
    flags.credentials = None;
    let volume = settings("pvc://disk", &flags).unwrap().store;
    assert_eq!(volume.persistent_volume_claim.unwrap().claim_name, "disk");
    for wrong in ["bucket", "s3://", "gs://bucket", ""] {
        assert!(settings(wrong, &flags).is_err(), "{wrong}");
    }
}

#[test]
fn names_of_backups_are_short() {
    let mut flags = flags("pvc://disk");
    flags.cluster = "c".repeat(45);
    let made = backup(&flags, settings("pvc://disk", &flags).unwrap(), now());
    assert_eq!(made.name_any().len(), 52);
}
