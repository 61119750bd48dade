//! Claims that cannot be changed to match the spec.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{
    super::{
        applied_to, grown, must_migrate,
        names::{INSTANCE, REQUESTED},
    },
    *,
};

/// Calls `with` with a cluster of this storage. `migration` is the uid of a running EtcdOperation that migrates the storage.
fn stored<T>(storage: &Value, migration: Option<&str>, with: impl FnOnce(&Cluster<'_>) -> T) -> T {
    let mut resource = resource(json!({"storage": storage}));
    let running = migration.map(|uid| json!({"name": "move", "uid": uid, "migrateStorage": true}));
    let status = json!({"requests": {"operation": running}});
    resource.status = serde_json::from_value(status).expect("a status");
    with(&cluster(resource))
}

fn claim_of(cluster: &Cluster<'_>) -> PersistentVolumeClaim {
    claim(cluster, 0, PeerTls::Off).expect("a claim")
}

#[test]
fn a_claim_that_cannot_follow_the_spec_must_migrate() {
    let slow = json!({"size": "8Gi", "storageClassName": "slow"});
    let fast = json!({"size": "8Gi", "storageClassName": "fast"});
    let larger = json!({"size": "9Gi", "storageClassName": "slow"});
    let smaller = json!({"size": "7Gi", "storageClassName": "slow"});
    let modes =
        json!({"size": "8Gi", "storageClassName": "slow", "accessModes": ["ReadWriteOncePod"]});
    let template = |class| json!({"volumeClaimTemplate": {"spec": {"storageClassName": class, "resources": {"requests": {"storage": "8Gi"}}}}});
    for (before, after, expected) in [
        ((&slow, None), (&slow, None), false),
        ((&slow, None), (&fast, None), true),
        ((&slow, None), (&template("slow"), None), false),
        ((&slow, None), (&template("fast"), None), true),
        // The spec accepts any class and any size.
        ((&slow, None), (&json!({"size": "8Gi"}), None), false),
        (
            (&larger, None),
            (&json!({"volumeClaimTemplate": {}}), None),
            false,
        ),
        ((&slow, None), (&larger, None), false),
        ((&slow, None), (&smaller, None), true),
        ((&slow, None), (&modes, None), true),
        ((&slow, None), (&slow, Some("first")), true),
        ((&slow, Some("first")), (&slow, Some("first")), false),
        ((&slow, Some("first")), (&slow, Some("second")), true),
        // The operation has finished.
        ((&slow, Some("first")), (&slow, None), false),
    ] {
        let live = stored(before.0, before.1, claim_of);
        stored(after.0, after.1, |cluster| {
            assert_eq!(
                must_migrate(cluster, &live),
                expected,
                "{before:?} {after:?}"
            );
            // An apply changes neither the claim's spec nor the recorded request.
            let applied = applied_to(&live, claim_of(cluster));
            assert_eq!(applied.spec, live.spec);
            assert_eq!(must_migrate(cluster, &applied), expected, "applied");
        });
    }
}

/// Velero maps storage classes, webhooks change them, and autoscalers enlarge claims.
#[test]
fn a_claim_that_others_changed_is_kept() {
    let storage = json!({"size": "8Gi", "storageClassName": "slow"});
    stored(&storage, None, |cluster| {
        let mut live = claim_of(cluster);
        let other = json!({"storageClassName": "other", "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "12Gi"}}});
        live.spec = serde_json::from_value(other).expect("a spec");
        assert!(!must_migrate(cluster, &live));
        let by_the_operator = grown(claim_of(cluster), 12 << 30);
        assert!(must_migrate(cluster, &by_the_operator));
        let is_current = is_current(&claim_of(cluster), &by_the_operator);
        assert!(is_current, "the size is not compared");
    });
}

#[test]
fn a_claim_without_a_record_gets_one_from_the_spec() {
    let storage = json!({"size": "8Gi"});
    let mut live = stored(&storage, None, claim_of);
    live.metadata
        .annotations
        .get_or_insert_default()
        .remove(REQUESTED);
    stored(&storage, Some("first"), |cluster| {
        assert!(!must_migrate(cluster, &live));
        let applied = applied_to(&live, claim_of(cluster));
        assert!(
            must_migrate(cluster, &applied),
            "it was not created for the migration"
        );
    });
    stored(&json!({"size": "4Gi"}), None, |cluster| {
        let applied = applied_to(&live, claim_of(cluster));
        assert!(!must_migrate(cluster, &applied));
    });
}

/// Argo CD deletes an object without an owner if this label names an application whose manifests lack the object.
#[test]
fn a_claim_has_the_label_of_an_application_only_if_the_spec_sets_it() {
    let label = |spec: Value| {
        let labels = claim_of(&cluster(resource(spec))).metadata.labels;
        labels.unwrap_or_default().get(INSTANCE).cloned()
    };
    assert_eq!(label(json!({})), None);
    let deleted = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}});
    assert_eq!(label(deleted), None);
    let template = json!({"metadata": {"labels": {INSTANCE: "shop"}}});
    let given = json!({"storage": {"volumeClaimTemplate": template}});
    assert_eq!(label(given).as_deref(), Some("shop"));
}
