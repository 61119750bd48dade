"""Checks the charts and deploy/ with helm and Kubernetes' schemas: lint, a matrix of values, refusals, generated files.

files.py checks alerts, dashboards, workflows and the Dockerfile.
"""

import pathlib
import subprocess

import yaml

import deploy
import schemas

OPERATOR = deploy.CHARTS / "witan-operator"
CLUSTER = deploy.CHARTS / "witan-cluster"
MONITORING = "--api-versions=monitoring.coreos.com/v1"

# by chart: names of sets of values, and the values
MATRIX = {
    OPERATOR: {
        "defaults": [],
        "discovery": ["discovery.serviceURL=https://discovery.example"],
        "two-replicas": ["replicaCount=2", "podDisruptionBudget.enabled=true"],
        "some-namespaces": ["watchNamespaces={a,b,a}"],
        "no-crds": ["crds.enabled=false"],
        "crds-that-go": ["crds.keep=false"],
        "no-metrics": ["metrics.enabled=false"],
        "monitoring": ["metrics.serviceMonitor.enabled=true", "metrics.serviceMonitor.labels.release=kps", "prometheusRule.enabled=true",
                       "prometheusRule.namespace=monitoring", "grafanaDashboard.enabled=true", "grafanaDashboard.annotations.folder=etcd"],
        "network-policy": ["networkPolicy.enabled=true", "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.a=b",
                           "networkPolicy.extraEgress[0].ports[0].port=8443"],
        "own-account": ["serviceAccount.create=false", "serviceAccount.name=mine"],
        "no-rbac": ["rbac.create=false"],
        "tenants": ["admissionPolicies.restrictPodTemplate=true"],
        "no-admission-policies": ["admissionPolicies.enabled=false"],
        "operations-for-editors": ["rbac.aggregateOperations=true"],
        "no-election": ["leaderElection.enabled=false"],
        "digest": ["image.digest=sha256:" + "0" * 64, "image.repository=registry.example:5000/a/b"],
        "private-registry": ["memberImage.repository=registry.example/witan", "memberImage.pullSecrets[0].name=mine", "memberImage.pullSecrets[1].name=ours"],
        "pods": ["nodeSelector.disk=ssd", "tolerations[0].operator=Exists", "priorityClassName=high", "podLabels.a=b", "podAnnotations.c=d",
                 "commonLabels.e=f", "commonAnnotations.g=h", "extraArgs={--log-level=debug}", "extraEnv[0].name=A", "extraEnv[0].value=b",
                 "imagePullSecrets[0].name=s", "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight=1",
                 "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key=k",
                 "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].operator=Exists",
                 "topologySpreadConstraints[0].maxSkew=1", "topologySpreadConstraints[0].topologyKey=zone",
                 "topologySpreadConstraints[0].whenUnsatisfiable=ScheduleAnyway"],
        "long-names": ["fullnameOverride=" + "n" * 63],
    },
    CLUSTER: {
        "defaults": [],
        "five": ["replicaCount=5", "version=1.2.3", "persistence.size=20Gi", "persistence.storageClass=fast"],
        "hibernated": ["replicaCount=0"],
        "no-disk": ["persistence.enabled=false"],
        "secured": ["tls.enabled=true", "auth.rbac.create=true", "auth.rbac.rootPassword=secret"],
        "own-secret": ["tls.enabled=true", "tls.clientCertAuth=false", "auth.rbac.create=true", "auth.rbac.existingSecret=mine"],
        "cert-manager": ["tls.enabled=true", "tls.certManager.issuerRef.name=ours", "auth.rbac.create=true", "auth.rbac.existingSecret=mine"],
        "cert-manager-in-full": ["tls.enabled=true", "tls.certManager.issuerRef.name=ours", "tls.certManager.issuerRef.kind=ClusterIssuer",
                                 "tls.certManager.issuerRef.group=issuers.example", "tls.certManager.duration=2160h", "tls.certManager.renewBefore=720h"],
        "own-certificate": ["tls.enabled=true", "tls.clientCertAuth=false", "tls.existingSecret=given"],
        "own-certificates": ["tls.enabled=true", "tls.existingSecret=given", "tls.existingPeerSecret=peers", "tls.existingOperatorSecret=operator"],
        "private-registry": ["image.name=registry.example/witan:1.0.0", "image.pullSecrets[0].name=mine", "image.pullSecrets[1].name=ours"],
        "discovery": ["bootstrap.discoveryURL=https://discovery.example/abc"],
        "monitoring": ["metrics.serviceMonitor.enabled=true", "metrics.serviceMonitor.labels.release=kps", "metrics.serviceMonitor.namespace=m"],
        "pods-monitored": ["metrics.podMonitor.enabled=true", "metrics.podMonitor.labels.release=kps"],
        "network-policy": ["networkPolicy.enabled=true", "networkPolicy.clientsFrom[0].podSelector.matchLabels.a=b",
                           "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.a=b"],
        "options": ["autoCompactionMode=revision", "autoCompactionRetention=1000", "quotaBackendBytes=4Gi", "logLevel=debug",
                    "extraArgs.max-txn-ops=256", "extraArgs.pre-vote=true", "extraSpec.options.maxRequestBytes=4096", "paused=true"],
        "pods": ["nodeSelector.disk=ssd", "tolerations[0].operator=Exists", "priorityClassName=high", "podLabels.a=b", "podAnnotations.c=d",
                 "commonLabels.e=f", "commonAnnotations.g=h", "image.name=r/i:t", "image.pullPolicy=Always", "image.pullSecrets[0].name=s",
                 "podAntiAffinityPreset=hard", "service.type=LoadBalancer", "service.annotations.x=y", "pdb.create=false",
                 "topologySpreadConstraints[0].maxSkew=1", "persistentVolumeClaimRetentionPolicy.whenDeleted=Delete"],
        "long-names": ["fullnameOverride=" + "n" * 45],
        "named-services": ["service.name=shop-etcd", "service.headless.name=shop-etcd-headless", "tls.enabled=true", "clusterDomain=example.org"],
    },
}

# chart, arguments, and a part of the error message
REFUSED = [
    (OPERATOR, ["--set", "replicaCount=three"], "replicaCount: Invalid type"),
    (OPERATOR, ["--set", "replicaCont=3"], "replicaCont is not allowed"),
    (OPERATOR, ["--set", "image.tagg=1"], "tagg is not allowed"),
    (OPERATOR, ["--set", "discovery.serviceURL=discovery.example"], "serviceURL: Does not match pattern"),
    (OPERATOR, ["--set", "crds=true"], "crds: Invalid type"),
    (OPERATOR, ["--set", "watchNamespaces=a"], "watchNamespaces: Invalid type"),
    (OPERATOR, ["--set", "watchNamespaces={A}"], "watchNamespaces.0: Does not match pattern"),
    (OPERATOR, ["--set", "logging.level=loud"], "logging.level must be one of"),
    (OPERATOR, ["--set", "image.digest=latest"], "image.digest: Does not match pattern"),
    (OPERATOR, ["--set", "maxConcurrentReconciles=0"], "maxConcurrentReconciles: Must be greater than or equal to 1"),
    (OPERATOR, ["--set-string", "metrics.serviceMonitor.enabled=true"], "metrics.serviceMonitor.enabled: Invalid type"),
    (OPERATOR, ["--set", "metrics.serviceMonitor.enabled=true"], "needs the kind ServiceMonitor"),
    (OPERATOR, ["--set", "prometheusRule.enabled=true"], "needs the kind PrometheusRule"),
    (OPERATOR, ["--set", "metrics.enabled=false,metrics.serviceMonitor.enabled=true", MONITORING], "needs metrics.enabled=true"),
    (OPERATOR, ["--set", "replicaCount=2,leaderElection.enabled=false"], "needs leaderElection.enabled=true"),
    (OPERATOR, ["--kube-version", "1.28.0"], "incompatible with Kubernetes"),
    (CLUSTER, ["--set", "replicaCount=10"], "replicaCount: Must be less than or equal to 9"),
    (CLUSTER, ["--set", "persistence.size=big"], "persistence.size: Does not match pattern"),
    (CLUSTER, ["--set", "size=3"], "size is not allowed"),
    (CLUSTER, ["--set", "version=latest"], "version: Does not match pattern"),
    (CLUSTER, ["--set", "tls.enabled=yes-please"], "tls.enabled: Invalid type"),
    (CLUSTER, ["--set", "bootstrap.discoveryURL=discovery.example/abc"], "discoveryURL: Does not match pattern"),
    (CLUSTER, ["--set", "metrics.serviceMonitor.enabled=true"], "needs the kind ServiceMonitor"),
    (CLUSTER, ["--set", "metrics.podMonitor.enabled=true"], "needs the kind PodMonitor"),
    (CLUSTER, ["--set", "auth.rbac.create=true,auth.rbac.rootPassword=x"], "needs tls.enabled=true"),
    (OPERATOR, ["--set", "memberImage.pullSecrets={mine}"], "memberImage.pullSecrets.0: Invalid type"),
    (CLUSTER, ["--set", "tls.certManager.issuerRef.name=ours"], "tls.certManager needs tls.enabled=true"),
    (CLUSTER, ["--set", "tls.existingSecret=given"], "tls.existingSecret needs tls.enabled=true"),
    (CLUSTER, ["--set", "tls.enabled=true,tls.existingSecret=given,tls.certManager.issuerRef.name=ours"], "Set only one of tls.certManager and tls.existingSecret"),
    (CLUSTER, ["--set", "tls.enabled=true,tls.existingPeerSecret=peers"], "tls.existingPeerSecret needs tls.existingSecret"),
    (CLUSTER, ["--set", "tls.enabled=true,tls.existingOperatorSecret=operator"], "tls.existingOperatorSecret needs tls.existingSecret"),
    (CLUSTER, ["--set", "tls.enabled=true,tls.certManager.issuer=ours"], "issuer is not allowed"),
    (CLUSTER, ["--set", "tls.enabled=true,tls.certManager.issuerRef.kind=ClusterIssuer"], "tls.certManager needs issuerRef.name"),
    (CLUSTER, ["--set", "auth.rbac.create=true,tls.enabled=true"], "auth.rbac.rootPassword or auth.rbac.existingSecret"),
]

POLICIES = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
CLUSTER_KINDS = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace", *POLICIES}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs helm and returns the completed process."""
    return subprocess.run(["helm", *arguments], capture_output=True, text=True, check=False)


def template(release: str, chart: pathlib.Path, *arguments: str) -> list[dict]:
    """Returns the objects of a release. Raises helm's error if helm refuses the values."""
    said = helm("template", release, str(chart), *arguments)
    assert said.returncode == 0, said.stderr.strip()
    return [document for document in yaml.safe_load_all(said.stdout) if document]


def render(chart: pathlib.Path, values: list[str], *more: str) -> list[dict]:
    """Returns the objects of a chart with these values."""
    sets = [part for value in values for part in ("--set", value)]
    return template("release", chart, "--namespace", "spaced", *sets, *more)


def objects(documents: list[dict], kind: str) -> list[dict]:
    """Returns the objects of a kind."""
    return [document for document in documents if document["kind"] == kind]


def refusal(act, *arguments: object) -> str:
    """Returns the error of an act, or an empty string if the act succeeds."""
    try:
        act(*arguments)
    except AssertionError as error:
        return str(error)
    return ""


def is_refused(words: str, act, *arguments: object) -> None:
    """Checks that an act is refused with these words."""
    said = refusal(act, *arguments)
    assert words in said, said or "it was accepted"


def check_form(documents: list[dict]) -> None:
    """Checks properties that every rendered object must have."""
    seen = set()
    for document in documents:
        kind, metadata = document["kind"], document["metadata"]
        key = (kind, metadata.get("namespace"), metadata["name"])
        assert key not in seen, f"twice: {key}"
        seen.add(key)
        assert len(metadata["name"]) <= 63, f"{kind} {metadata['name']} has a long name"
        assert kind in CLUSTER_KINDS or metadata.get("namespace"), f"{kind} {metadata['name']} has no namespace"
        labels = metadata["labels"]
        for label in ("name", "instance", "version", "component", "part-of", "managed-by"):
            assert f"app.kubernetes.io/{label}" in labels, f"{kind} {metadata['name']} has no label {label}"
        assert all(isinstance(value, str) and len(value) <= 63 for value in labels.values()), f"labels of {kind}: {labels}"
        if kind == "Deployment":
            check_restricted(document["spec"]["template"]["spec"])


def check_restricted(pod: dict) -> None:
    """Checks Kubernetes' pod security standard `restricted` and a read-only root file system."""
    assert not pod.get("hostNetwork") and not pod.get("hostPID") and not pod.get("volumes")
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True and security["runAsUser"] > 0
    assert security["seccompProfile"]["type"] == "RuntimeDefault"
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"]


# The permissions that the operator's code uses; no other permission is granted. get also finds the owner of an object that
# has a name of the cluster; patch is an apply or a label.
USED = {
    "etcdclusters": {"get", "list", "watch"},
    "etcdclusters/status": {"patch"},
    "etcdclusters/finalizers": {"update"},
    "etcdbackups": {"get", "list", "watch", "create", "delete"},
    "etcdbackups/status": {"patch"},
    "etcdbackups/finalizers": {"update"},
    "etcdbackupschedules": {"get", "list", "watch"},
    "etcdbackupschedules/status": {"patch"},
    "etcdbackupschedules/finalizers": {"update"},
    "etcdoperations": {"get", "list", "watch", "delete"},
    "etcdoperations/status": {"patch"},
    "etcdoperations/finalizers": {"update"},
    "jobs": {"get", "list", "watch", "create"},
    "pods": {"get", "list", "watch", "create", "patch", "delete"},
    "persistentvolumeclaims": {"get", "list", "watch", "create", "patch", "delete"},
    "services": {"get", "list", "watch", "create", "patch", "delete"},
    "poddisruptionbudgets": {"get", "list", "watch", "create", "patch", "delete"},
    "secrets": {"get", "create", "patch", "delete"},
    "certificates": {"get", "create", "patch", "delete"},
    "events": {"create", "patch", "list"},
}


def check_rights(role: dict) -> None:
    """Checks that the operator's role grants exactly the used permissions."""
    granted: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for resource in rule["resources"]:
            granted.setdefault(resource, set()).update(rule["verbs"])
    assert granted == USED, granted


def check_roles(documents: list[dict]) -> None:
    """Checks that roles name their verbs, and do not grant listing secrets."""
    own = [role for role in objects(documents, "Role") + objects(documents, "ClusterRole") if any("pods" in rule["resources"] for rule in role["rules"])]
    assert own, "the operator has a role"
    for role in own:
        check_rights(role)
    for role in objects(documents, "Role") + objects(documents, "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"], f"{role['metadata']['name']}: {rule}"
            assert "secrets" not in rule["resources"] or set(rule["verbs"]) == {"get", "create", "patch", "delete"}, rule


def check_operator() -> None:
    """Checks the effects of particular values of the operator's chart."""
    everything = render(OPERATOR, [])
    check_roles(everything)
    bound = objects(everything, "ClusterRoleBinding")
    assert [binding["roleRef"]["name"] for binding in bound] == ["release-witan-operator"]
    sources = list(yaml.safe_load_all((deploy.FILES / "crd.yaml").read_text()))
    for crd, source in zip(objects(everything, "CustomResourceDefinition"), sources, strict=True):
        assert crd["spec"] == source["spec"] and crd["metadata"]["name"] == source["metadata"]["name"]
        assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    listed = yaml.safe_load(yaml.safe_load((OPERATOR / "Chart.yaml").read_text())["annotations"]["artifacthub.io/crds"])
    assert [(crd["kind"], crd["version"], crd["name"]) for crd in listed] == [
        (crd["spec"]["names"]["kind"], crd["spec"]["versions"][0]["name"], crd["metadata"]["name"]) for crd in sources
    ], "Chart.yaml lists the kinds of crd.yaml"
    assert "annotations" not in objects(render(OPERATOR, ["crds.keep=false"]), "CustomResourceDefinition")[0]["metadata"]

    for values, may in ([], False), (MATRIX[OPERATOR]["operations-for-editors"], True):
        editors = [role for role in objects(render(OPERATOR, values), "ClusterRole") if role["metadata"]["name"].endswith("-edit")]
        assert any("etcdoperations" in rule["resources"] for rule in editors[0]["rules"]) is may

    for values, strategy in ([], None), (MATRIX[OPERATOR]["no-election"], {"type": "Recreate", "rollingUpdate": None}):
        deployment = objects(render(OPERATOR, values), "Deployment")[0]["spec"]
        assert deployment.get("strategy") == strategy, f"two operators act during an update: {deployment}"

    some = render(OPERATOR, ["watchNamespaces={a,b,a}"])
    assert {document["kind"] for document in some} & CLUSTER_KINDS == {"CustomResourceDefinition"}
    roles = {(role["metadata"]["namespace"], role["metadata"]["name"]) for role in objects(some, "Role")}
    name = "release-witan-operator"
    assert roles == {("a", name), ("b", name), ("spaced", f"{name}-lease")}, roles
    arguments = objects(some, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--watch-namespaces=a,b" in arguments
    page = (deploy.ROOT / "docs" / "reference" / "operator.md").read_text()
    for values in ("discovery", "private-registry"):
        arguments += objects(render(OPERATOR, MATRIX[OPERATOR][values]), "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    for flag in {argument.split("=")[0] for argument in arguments} - {"run"}:
        assert f"| `{flag}` |" in page, f"docs/reference/operator.md does not list {flag}"
    cluster_rules = next(role["rules"] for role in objects(everything, "ClusterRole") if role["metadata"]["name"] == name)
    assert all(role["rules"] == cluster_rules for role in objects(some, "Role") if role["metadata"]["name"] == name)

    watched = render(OPERATOR, MATRIX[OPERATOR]["monitoring"], MONITORING)
    rule = objects(watched, "PrometheusRule")[0]
    assert rule["spec"] == yaml.safe_load((deploy.FILES / "rules.yaml").read_text())
    monitor = objects(watched, "ServiceMonitor")[0]
    service = objects(watched, "Service")[0]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "kps"
    boards = {key: text for map in objects(watched, "ConfigMap") for key, text in map["data"].items()}
    for board in ("members", "fleet"):
        assert boards[f"witan-{board}.json"].strip() == (deploy.FILES / "dashboards" / f"{board}.json").read_text().strip()


def check_pull_secrets() -> None:
    """Checks that the operator's pods and the members have separate pull secrets."""
    container = objects(render(OPERATOR, MATRIX[OPERATOR]["private-registry"]), "Deployment")[0]["spec"]["template"]["spec"]
    assert "--member-image-pull-secrets=mine,ours" in container["containers"][0]["args"]
    assert "imagePullSecrets" not in container
    spec = render(CLUSTER, MATRIX[CLUSTER]["private-registry"])[0]["spec"]
    assert spec["imagePullSecrets"] == [{"name": "mine"}, {"name": "ours"}], spec


def check_certificates() -> None:
    """Checks which certificates the values select for the peer port and the client port."""
    def tls(name: str) -> dict:
        return objects(render(CLUSTER, MATRIX[CLUSTER][name]), "EtcdCluster")[0]["spec"]["tls"]

    ours = {"issuerRef": {"name": "ours", "kind": "Issuer", "group": "cert-manager.io"}}
    assert tls("secured") == {"peer": {"managed": {}}, "client": {"managed": {}, "clientCertAuth": True}}
    assert tls("cert-manager") == {"peer": {"certManager": ours}, "client": {"certManager": ours, "clientCertAuth": True}}
    full = tls("cert-manager-in-full")["peer"]["certManager"]
    assert full == {"issuerRef": {"name": "ours", "kind": "ClusterIssuer", "group": "issuers.example"}, "duration": "2160h", "renewBefore": "720h"}, full
    given = {"secretRef": {"name": "given"}}
    assert tls("own-certificate") == {"peer": given, "client": {**given, "clientCertAuth": False}}
    client = {**given, "operatorSecretRef": {"name": "operator"}, "clientCertAuth": True}
    assert tls("own-certificates") == {"peer": {"secretRef": {"name": "peers"}}, "client": client}


def check_first_commands(path: pathlib.Path) -> None:
    """No image is published: checks that a page builds and loads both images before the first command that needs them."""
    text = path.read_text()
    dockerfile = (deploy.ROOT / "Dockerfile").read_text()
    installs = text.index("helm install")
    for target, image in (("server", "witan"), ("operator", "witan-operator")):
        build = f"docker build --target {target} --tag ghcr.io/witan/{image}:0.1.0 ."
        assert build in dockerfile and build in text[:installs], f"{path.name} does not say: {build}"
    assert "kind load docker-image ghcr.io/witan/witan:0.1.0 ghcr.io/witan/witan-operator:0.1.0" in text[:installs]
    used = objects(render(OPERATOR, []), "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]
    assert used["image"] == "ghcr.io/witan/witan-operator:0.1.0" and "--member-image=ghcr.io/witan/witan:0.1.0" in used["args"]


def check_numbers(work: pathlib.Path) -> None:
    """Checks that large numbers in a values file stay integers."""
    work.mkdir(parents=True, exist_ok=True)
    file = work / "values.yaml"
    file.write_text("quotaBackendBytes: 8589934592\nautoCompactionMode: revision\nautoCompactionRetention: 10000000\n"
                    "persistence: {size: 21474836480}\nextraArgs: {max-request-bytes: 10485760, pre-vote: true}\n")
    spec = render(CLUSTER, [], "--values", str(file))[0]["spec"]
    assert spec["storage"] == {"size": 21474836480}, spec
    options = spec["options"]
    assert (options["quotaBackendBytes"], options["autoCompactionRetention"]) == (8589934592, "10000000"), options
    assert options["extraArgs"] == {"max-request-bytes": "10485760", "pre-vote": "true"}, options


def check_names() -> None:
    """Checks that names that look like numbers or booleans are rendered as strings."""
    for chart, values in (
        (OPERATOR, [*MATRIX[OPERATOR]["monitoring"], "networkPolicy.enabled=true"]),
        (CLUSTER, ["tls.enabled=true", "tls.existingSecret=on", "service.name=true", "networkPolicy.enabled=true", "metrics.serviceMonitor.enabled=true"]),
        (CLUSTER, ["tls.enabled=true", "auth.rbac.create=true", "image.name=8"]),
    ):
        sets = [part for value in values for part in ("--set-string" if value.endswith(("=on", "name=true", "name=8")) else "--set", value)]
        more = ["--set-string", "fullnameOverride=7", MONITORING]
        more += ["--set-string", "auth.rbac.existingSecret=9"] if "auth.rbac.create=true" in values else []
        for document in template("7", chart, "--namespace", "8", *sets, *more):
            check_texts(document)


def check_texts(value: object) -> None:
    """Checks that each field that holds a name is a string."""
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        names = ("name", "namespace", "image", "serviceAccountName", "policyName", "app.kubernetes.io/instance", "witan.dev/cluster", "witan.dev/backup-of")
        assert key not in names or isinstance(below, str | dict), f"{key}: {below!r}"
        for one in below if key in ("matchNames", "resourceNames") else ():
            assert isinstance(one, str), f"{key}: {below!r}"
        check_texts(below)


def check_schema(chart: pathlib.Path) -> None:
    """Checks that every value has a type in the schema, and that the schema has no other values except those without effect."""
    values = yaml.safe_load((chart / "values.yaml").read_text())
    schema = yaml.safe_load((chart / "values.schema.json").read_text())
    assert schema["additionalProperties"] is False
    without = {name for name, each in schema["properties"].items() if each.get("description", "").startswith("No effect: ")}
    assert not without & set(values), without & set(values)
    assert set(schema["properties"]) - without - {"global"} == set(values), (set(schema["properties"]) - without) ^ set(values)

    def typed(name: str, schema: dict, value: object) -> None:
        assert "type" in schema, f"{name} has no type"
        if "properties" in schema:
            assert isinstance(value, dict) and set(schema["properties"]) >= set(value), name
            for key, below in value.items():
                typed(f"{name}.{key}", schema["properties"][key], below)

    for key, value in values.items():
        typed(key, schema["properties"][key], value)


def run(report, cache: pathlib.Path, work: pathlib.Path) -> None:
    """Runs all cases of this file."""
    places = schemas.write(cache, deploy.FILES / "crd.yaml", work / "schemas")
    for chart in MATRIX:
        with report.case(f"lint {chart.name}"):
            said = helm("lint", "--strict", str(chart))
            assert said.returncode == 0, said.stdout
        with report.case(f"schema of {chart.name}"):
            check_schema(chart)
        for name, values in MATRIX[chart].items():
            with report.case(f"{chart.name} {name}"):
                documents = render(chart, values, MONITORING)
                check_form(documents)
                places.conform(documents)
    with report.case("witan-operator in detail"):
        check_operator()
    with report.case("pull secrets"):
        check_pull_secrets()
    with report.case("certificates of witan-cluster"):
        check_certificates()
    for page in (deploy.ROOT / "README.md", deploy.ROOT / "docs" / "start" / "kubernetes.md"):
        with report.case(f"{page.name} builds and loads the images before it uses them"):
            check_first_commands(page)
    with report.case("large numbers of witan-cluster"):
        check_numbers(work)
    with report.case("names that look like numbers"):
        check_names()
    for chart, arguments, words in REFUSED:
        with report.case(f"{chart.name} refuses {' '.join(arguments)}"):
            is_refused(words, template, "release", chart, *arguments)
    for path, text in deploy.wanted().items():
        with report.case(f"{path.relative_to(deploy.ROOT)} is current"):
            assert path.read_text() == text, "run tests/charts/run --write"
    manifests = [deploy.DEPLOY / name for name in ("crd.yaml", "operator.yaml", "prometheus/members.yaml")]
    for path in [*manifests, *sorted((deploy.DEPLOY / "samples").glob("*.yaml"))]:
        with report.case(f"{path.relative_to(deploy.ROOT)} conforms"):
            documents = list(yaml.safe_load_all(path.read_text()))
            places.conform(documents)
            assert not objects(documents, "Secret"), "a sample contains a password, which some users would not change"
    with report.case("a manifest with a mistake does not conform"):
        for spec in ({"replcas": 3}, {"replicas": "three"}, {"storage": {"siez": "1Gi"}}, {"replicas": 12}):
            wrong = {"apiVersion": "witan.dev/v1", "kind": "EtcdCluster", "metadata": {"name": "x"}, "spec": spec}
            assert refusal(places.conform, [wrong]), f"accepted: {spec}"
