//! Backups that are verified before they succeed.

use super::*;

#[test]
fn a_verification_reads_the_backup_back_and_restores_it() {
    let store = json!({"persistentVolumeClaim": {"claimName": "disk"}});
    let more =
        json!({"spec": {"nodeSelector": {"zone": "a"}}, "metadata": {"labels": {"team": "x"}}});
    let job = made(
        json!({
            "store": store, "verify": "Restore", "folder": "daily", "podTemplate": more,
            "retention": {"keepLast": 3},
        }),
        json!({"replicas": 1}),
    );
    let template = &job["spec"]["template"];
    let pod = &template["spec"];
    let init = pod["initContainers"].as_array().expect("init containers");
    let names: Vec<_> = init.iter().map(|each| each["name"].as_str()).collect();
    assert_eq!(names, [Some("save"), Some("fetch"), Some("restore")]);
    let to = "file:///var/lib/backups/shop/orders/daily";
    assert!(arguments(&init[0]).contains(&format!("--to={to}").as_str()));
    assert!(arguments(&init[1]).contains(&format!("--from={to}").as_str()));
    let restore = &init[2];
    assert_eq!(restore["image"], "witan:1.0.0");
    assert_eq!(
        arguments(restore)[..3],
        ["snapshot", "restore", "/var/lib/scratch/snapshot.db"]
    );
    // The restored keys are compared with the hash in the record.
    let record = "/var/lib/scratch/record.json";
    assert!(arguments(&init[0]).contains(&"--hash-keys"));
    assert!(arguments(&init[1]).contains(&format!("--record={record}").as_str()));
    assert!(arguments(restore).contains(&format!("--compare={record}").as_str()));
    // Only a backup that was verified removes other verified backups.
    let accept = &pod["containers"][0];
    assert_eq!(
        arguments(accept),
        [
            "backup",
            "accept",
            &format!("--from={to}"),
            &format!("--record={record}"),
            "--result=/dev/termination-log",
            "--keep-last=3",
        ]
    );
    assert_eq!(accept["image"], init[0]["image"]);
    assert!(arguments(&init[0]).contains(&"--unverified"));
    assert!(arguments(&init[0]).contains(&"--keep-last=3"));
    assert_eq!(pod["nodeSelector"]["zone"], "a");
    let labels = &template["metadata"]["labels"];
    assert_eq!(
        (&labels["team"], &labels["witan.dev/backup"]),
        (&json!("x"), &json!("now"))
    );
}

/// In release 0.1, `restore` was the main container.
#[test]
fn a_pod_template_of_an_earlier_release_still_finds_its_container() {
    let limits = json!({"limits": {"memory": "1Gi"}});
    let containers = json!([{"name": "restore", "resources": limits}]);
    let template = json!({"spec": {"containers": containers}});
    let job = made(
        json!({"store": s3(), "verify": "Restore", "podTemplate": template}),
        json!({"replicas": 1}),
    );
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["initContainers"][2]["resources"], limits);
    assert_eq!(pod["initContainers"][2]["image"], "witan:1.0.0");
    assert_eq!(pod["containers"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_failed_verification_fails_the_backup() {
    let saved = testing::saved(&json!({}));
    let pods = [pod(
        "4",
        json!({
            "phase": "Failed",
            "initContainerStatuses": [
                terminated("save", 0, &saved), terminated("fetch", 0, &json!({})),
                terminated("restore", 1, &json!("snapshot file is damaged")),
            ],
        }),
    )];
    let failed = json!({"conditions": [{"type": "Failed", "status": "True", "message": "limit"}]});
    let backup = backup(json!({"store": s3(), "verify": "Restore"}));
    let status = of_pods(&backup, failed, &pods);
    assert_eq!(status.phase, Some(BackupPhase::Failed));
    let text = "pod now-4: container restore terminated with exit code 1: snapshot file is damaged";
    assert_eq!(status.message.as_deref(), Some(text));
    assert_eq!(status.conditions[0].status, "False");
}

#[test]
fn the_result_of_a_verified_backup_reports_the_retention() {
    let mut saved = testing::saved(&json!({"unverified": true}));
    let first = terminated("save", 0, &saved);
    saved["unverified"] = json!(false);
    saved["warning"] = json!("failed to apply the retention policy");
    let pods = [pod(
        "4",
        json!({
            "phase": "Succeeded", "initContainerStatuses": [first],
            "containerStatuses": [terminated("accept", 0, &saved)],
        }),
    )];
    let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    let backup = backup(json!({"store": s3(), "verify": "Restore"}));
    let status = of_pods(&backup, done, &pods);
    assert_eq!(status.phase, Some(BackupPhase::Succeeded));
    let text = "failed to apply the retention policy";
    assert_eq!(status.message.as_deref(), Some(text));
}
