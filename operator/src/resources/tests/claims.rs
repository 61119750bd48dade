//! Claims that cannot follow the spec.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{
    super::{applied_to, must_migrate},
    *,
};

fn claim_of(storage: &Value, requests: &Value) -> PersistentVolumeClaim {
    let mut resource = resource(json!({"storage": storage}));
    let status = json!({"requests": requests});
    resource.status = serde_json::from_value(status).expect("a status");
    claim(&cluster(resource), 0, PeerTls::Off).expect("a claim")
}

#[test]
fn a_claim_that_cannot_follow_the_spec_must_migrate() {
    let none = json!({});
    let first = json!({"migrateStorage": "2026-01-02T03:04:05Z"});
    let later = json!({"migrateStorage": "2026-01-02T03:04:06Z"});
    let slow = json!({"size": "8Gi", "storageClassName": "slow"});
    let fast = json!({"size": "8Gi", "storageClassName": "fast"});
    let template = |class| json!({"volumeClaimTemplate": {"spec": {"storageClassName": class, "resources": {"requests": {"storage": "8Gi"}}}}});
    for (is, wanted, expected) in [
        ((&slow, &none), (&slow, &none), false),
        ((&slow, &none), (&fast, &none), true),
        ((&slow, &none), (&template("slow"), &none), false),
        ((&slow, &none), (&template("fast"), &none), true),
        // any class will do
        ((&slow, &none), (&json!({"size": "8Gi"}), &none), false),
        (
            (&slow, &none),
            (&json!({"size": "9Gi", "storageClassName": "slow"}), &none),
            false,
        ),
        (
            (&slow, &none),
            (&json!({"size": "7Gi", "storageClassName": "slow"}), &none),
            true,
        ),
        (
            (&slow, &none),
            (
                &json!({"size": "8Gi", "accessModes": ["ReadWriteOncePod"]}),
                &none,
            ),
            true,
        ),
        ((&slow, &none), (&slow, &first), true),
        ((&slow, &first), (&slow, &first), false),
        ((&slow, &first), (&slow, &later), true),
    ] {
        let (live, wanted) = (claim_of(is.0, is.1), claim_of(wanted.0, wanted.1));
        assert_eq!(must_migrate(&live, &wanted), expected, "{is:?} {wanted:?}");
        // an apply changes neither what the claim is nor what it was created for
        let applied = applied_to(&live, wanted.clone());
        assert_eq!(applied.spec, live.spec);
        assert_eq!(must_migrate(&applied, &wanted), expected, "applied");
    }
}

/// An autoscaler of volumes enlarges claims beyond the spec.
#[test]
fn a_claim_that_somebody_else_has_enlarged_stays() {
    let wanted = claim_of(&json!({"size": "8Gi"}), &json!({}));
    let mut live = wanted.clone();
    let size = json!({"requests": {"storage": "12Gi"}});
    live.spec.get_or_insert_default().resources = serde_json::from_value(size).expect("a size");
    assert!(!must_migrate(&live, &wanted));
    let by_the_operator = grown(wanted.clone(), 12 << 30);
    assert!(must_migrate(&by_the_operator, &wanted));
}
