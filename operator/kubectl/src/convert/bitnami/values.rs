//! Values without a counterpart, and values that are fields of a pod.

use super::super::{DEFRAGMENTATION, IMAGE, pods::SECURITY};

/// Values that are lists in a pod, and their names there.
pub(super) const LISTS_OF_POD: [(&str, &str); 3] = [
    ("initContainers", "initContainers"),
    ("extraVolumes", "volumes"),
    ("hostAliases", "hostAliases"),
];

/// Values that are words in a pod, under the same name.
pub(super) const WORDS_OF_POD: [&str; 2] = ["schedulerName", "runtimeClassName"];

const ITSELF: &str = "the operator adds, starts and removes members";
const PROBES: &str = "the operator sets probes of its own";
const FLAGS: &str = "write the settings of the server as spec.options";
const AFFINITY: &str = "write it as spec.affinity";
const PARTS: &str = "it is for all parts of a release";

/// Values that have no counterpart. A part of such an object that was converted before is not named.
pub(super) const GONE: &[(&str, &str)] = &[
    ("global", PARTS),
    ("kubeVersion", "it is of helm"),
    ("nameOverride", "metadata.name is the whole name"),
    ("extraDeploy", "apply these objects by themselves"),
    ("usePasswordFiles", "the operator reads the secret"),
    (
        "diagnosticMode",
        "kubectl witan status and logs show a member that does not start",
    ),
    ("image", IMAGE),
    (
        "auth.token",
        "clients see no difference between kinds of tokens",
    ),
    ("initialClusterToken", "the operator chooses it"),
    ("initialClusterState", ITSELF),
    ("removeMemberOnContainerTermination", ITSELF),
    ("podManagementPolicy", ITSELF),
    ("preUpgradeJob", ITSELF),
    ("statefulset", ITSELF),
    (
        "updateStrategy",
        "members are restarted one at a time, the leader last",
    ),
    ("maxProcs", "spec.resources.limits.cpu limits it"),
    ("configuration", FLAGS),
    ("existingConfigmap", FLAGS),
    ("extraEnvVarsCM", FLAGS),
    ("extraEnvVarsSecret", FLAGS),
    ("configFileConfigMap", FLAGS),
    ("envVarsConfigMap", FLAGS),
    ("command", FLAGS),
    ("args", FLAGS),
    ("automountServiceAccountToken", "members have no token"),
    (
        "lifecycleHooks",
        "a member hands over by itself when it is stopped",
    ),
    ("containerPorts", "members listen on 2379, 2380 and 2381"),
    ("podSecurityContext", SECURITY),
    ("containerSecurityContext", SECURITY),
    ("securityContext", SECURITY),
    (
        "resourcesPreset",
        "write requests and limits as spec.resources",
    ),
    ("livenessProbe", PROBES),
    ("readinessProbe", PROBES),
    ("startupProbe", PROBES),
    ("customLivenessProbe", PROBES),
    ("customReadinessProbe", PROBES),
    ("customStartupProbe", PROBES),
    ("extraVolumeClaimTemplates", "a member has one disk"),
    ("podAffinityPreset", AFFINITY),
    ("nodeAffinityPreset", AFFINITY),
    (
        "service",
        "the Service has a type and annotations; make another one for more",
    ),
    (
        "volumePermissions",
        "a disk belongs to the group of its member",
    ),
    (
        "networkPolicy",
        "the chart witan-cluster has one; members have the label witan.dev/cluster",
    ),
    (
        "metrics",
        "members serve /metrics on port 2381; the charts have a ServiceMonitor and alerts",
    ),
    ("serviceAccount", "members need no rights"),
    (
        "disasterRecovery",
        "the pods of backups have spec.podTemplate of the schedule",
    ),
    ("defrag", DEFRAGMENTATION),
];
