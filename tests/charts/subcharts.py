"""The chart witan-cluster under the alias `etcd`, as a replacement for the Bitnami chart: with the values that application
charts pass to it (`values/`), and with the names that they use for it.

charts.py tests the chart by itself.
"""

import copy
import pathlib
import shutil

import yaml

import charts

VALUES = pathlib.Path(__file__).parent / "values"
# The addresses that such charts compute: of the client Service, and of a member below the headless Service.
PARENT = """
apiVersion: v1
kind: ConfigMap
metadata: {name: addresses}
data:
  clients: "{{ .Release.Name }}-etcd.{{ .Release.Namespace }}.svc.{{ .Values.etcd.clusterDomain }}"
  member: "{{ .Release.Name }}-etcd-0.{{ .Release.Name }}-etcd-headless.{{ .Release.Namespace }}.svc.{{ .Values.etcd.clusterDomain }}"
"""
CHART = {
    "apiVersion": "v2", "name": "parent", "version": "1.0.0",
    "dependencies": [{"name": "witan-cluster", "version": ">=0.0.0-0", "alias": "etcd", "condition": "etcd.enabled"}],
}

# expected fields of the spec for the values of each file
EXPECTED = {
    "apisix": {("replicas",): 3, ("options", "autoCompactionMode"): "periodic", ("options", "autoCompactionRetention"): "1h", ("auth",): None, ("tls",): None},
    "milvus": {
        ("replicas",): 3, ("storage",): {"size": "10Gi"}, ("podDisruptionBudget", "enabled"): False, ("auth",): None, ("image",): None,
        ("options",): {"autoCompactionMode": "revision", "autoCompactionRetention": "1000", "logLevel": "info", "quotaBackendBytes": 4294967296,
                       "heartbeatIntervalMs": 500, "electionTimeoutMs": 2500},
    },
    "mayastor": {
        ("storage",): {"size": "2Gi", "storageClassName": "mayastor-etcd-localpv"}, ("podAntiAffinityPreset",): "hard",
        ("options", "autoCompactionRetention"): "100", ("options", "quotaBackendBytes"): 8589934592,
        ("additionalMetadata", "labels"): {"app": "etcd", "openebs.io/logging": "true"},
    },
}

SECURE = {"auth": {"client": {"secureTransport": True, "useAutoTLS": True}}}
ROOT = {"auth": {**SECURE["auth"], "rbac": {"create": True, "rootPassword": "secret"}}}
# values, and the expected fields of the spec
BECOMES = [
    (SECURE, {("tls",): {"client": {"managed": {}, "clientCertAuth": False}}}),
    ({"auth": {"client": {"secureTransport": True, "enableAuthentication": True, "existingSecret": "a"}, "peer": {"secureTransport": True, "existingSecret": "b"}}},
     {("tls",): {"client": {"secretRef": {"name": "a"}, "clientCertAuth": True}, "peer": {"secretRef": {"name": "b"}}}}),
    (SECURE | {"clusterDomain": "example.org"}, {("tls", "client", "additionalDNSNames"): [
        f"{name}.spaced.svc.example.org" for name in ("shop-etcd", "shop-etcd-headless", "*.shop-etcd-headless")]}),
    (ROOT, {("auth",): {"enabled": True, "rootCredentialsSecretRef": {"name": "shop-etcd"}}}),
    ({"auth": {"rbac": {"enabled": True, "existingSecret": "mine", "existingSecretPasswordKey": "password"}, **SECURE["auth"]}},
     {("auth", "rootCredentialsSecretRef"): {"name": "mine"}}),
    ({"autoCompactionMode": "", "autoCompactionRetention": ""}, {("options", "autoCompactionMode"): "periodic", ("options", "autoCompactionRetention"): "0"}),
    ({"extraEnvVars": [{"name": "ETCD_MAX_CONCURRENT_STREAMS", "value": "100"}, {"name": "ETCD_QUOTA_BACKEND_BYTES", "value": "1"}], "quotaBackendBytes": "2Gi",
      "extraArgs": {"max-concurrent-streams": 200}}, {("options", "extraArgs"): {"max-concurrent-streams": "200"}, ("options", "quotaBackendBytes"): "2Gi"}),
    ({"image": {"pullSecrets": ["a", {"name": "b"}]}, "global": {"imagePullSecrets": ["a", {"name": "c"}]}}, {("imagePullSecrets",): [{"name": name} for name in "acb"]}),
    ({"global": {"defaultStorageClass": "fast"}}, {("storage", "storageClassName"): "fast"}),
    ({"persistence": {"storageClass": "-", "accessModes": ["ReadWriteOnce"]}}, {("storage", "storageClassName"): "", ("storage", "accessModes"): ["ReadWriteOnce"]}),
    ({"pdb": {"minAvailable": "51%"}}, {("podDisruptionBudget",): {"enabled": True, "minAvailable": "51%"}}),
    ({"pdb": {"minAvailable": 0}}, {("podDisruptionBudget",): {"enabled": True, "minAvailable": 0}}),
    ({"pdb": {"maxUnavailable": 0}}, {("podDisruptionBudget",): {"enabled": True, "maxUnavailable": 0}}),
    ({"podAntiAffinityPreset": ""}, {("podAntiAffinityPreset",): "none"}),
    ({"fullnameOverride": "mine"}, {("services", "client", "name"): "mine", ("services", "peer", "name"): "mine-headless"}),
    ({"nameOverride": "store"}, {("services", "client", "name"): "shop-store", ("services", "peer", "name"): "shop-store-headless"}),
    ({"service": {"name": "one", "headless": {"name": "two"}}}, {("services", "client", "name"): "one", ("services", "peer", "name"): "two"}),
    ({"service": {"ports": {"client": 2379, "peer": 2380}}, "metrics": {"enabled": True}}, {("services", "client", "type"): "ClusterIP"}),
]
# values, and a part of the error message
REFUSED = [
    ({"service": {"port": 2380}}, "service.port is 2380"),
    ({"service": {"ports": {"peer": 1}}}, "service.ports.peer is 1"),
    ({"service": {"enabled": False}}, "service.enabled=false"),
    ({"service": {"type": "NodePort", "nodePorts": {"client": 30000}}}, "nodePorts cannot be set"),
    ({"service": {"name": "one", "headless": {"name": "one"}}}, "are both one"),
    ({"service": {"name": "a.b"}}, "service.name: Does not match pattern"),
    ({"image": {"repository": "registry.example/witan"}}, "set image.name to the image of the members"),
    ({"resourcesPreset": "micro"}, "resourcesPreset is micro"),
    ({"metrics": {"prometheusRule": {"enabled": True}}}, "alerts are in the chart witan-operator"),
    ({"extraEnvVars": [{"name": "GOMAXPROCS", "value": "2"}]}, "extraEnvVars has GOMAXPROCS"),
    ({"extraEnvVars": [{"name": "ETCD_NAME", "valueFrom": {}}]}, "extraEnvVars has ETCD_NAME"),
    ({"extraEnvVars": [{"name": "ETCD_QUOTA_BACKEND_BYTES", "value": "4G"}]}, "ETCD_QUOTA_BACKEND_BYTES=4G, which is not a number"),
    ({"auth": {"rbac": {"create": True, "rootPassword": "x"}}}, "needs tls.enabled=true"),
    ({"auth": {"rbac": {"rootPassword": "x"}}}, "need auth.rbac.create=true"),
    ({"auth": {"rbac": {"allowNoneAuthentication": False}}}, "every client is admitted"),
    ({"auth": {**SECURE["auth"], "rbac": {"create": True, "existingSecret": "s", "existingSecretPasswordKey": "etcd-root-password"}}}, "existingSecretPasswordKey is etcd-root-password"),
    ({"auth": {"client": {"existingSecret": "s"}}}, "needs auth.client.secureTransport=true"),
    ({"auth": {"client": {"secureTransport": True, "existingSecret": "s", "certFilename": "cert.pem"}}}, "auth.client.certFilename is cert.pem"),
    ({"disasterRecovery": {"enabled": True}}, "disasterRecovery is not allowed"),
]


def parent(work: pathlib.Path) -> pathlib.Path:
    """Creates a chart with witan-cluster as its etcd. Returns its directory."""
    folder = work / "parent"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(yaml.safe_dump(CHART))
    (folder / "templates" / "addresses.yaml").write_text(PARENT)
    shutil.copytree(charts.CLUSTER, folder / "charts" / "witan-cluster")
    return folder


def render(folder: pathlib.Path, values: dict, release: str = "shop") -> list[dict]:
    """Returns the objects of the parent chart for these values of its etcd. Values of `global` belong to the parent."""
    whole = {"etcd": {name: value for name, value in values.items() if name != "global"}, "global": values.get("global", {})}
    file = folder.parent / "values.yaml"
    file.write_text(yaml.safe_dump(whole))
    return charts.template(release, folder, "--namespace", "spaced", "--values", str(file), charts.MONITORING)


def cluster(documents: list[dict]) -> dict:
    """Returns the only EtcdCluster."""
    found = charts.objects(documents, "EtcdCluster")
    assert len(found) == 1, found
    return found[0]


def passed() -> dict[str, dict]:
    """Returns the values that each application chart passes, by the chart's name."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(VALUES.glob("*.yaml"))}


def check_becomes(spec: dict, places: dict) -> None:
    """Checks fields of a spec; None means absent."""
    for place, wanted in places.items():
        found = spec
        for name in place:
            found = (found or {}).get(name)
        assert found == wanted, f"{'.'.join(place)}: {found}"


def check_addresses(documents: list[dict]) -> None:
    """Checks that the parent computes the addresses of the Services and pods that the operator creates."""
    named = cluster(documents)
    services = named["spec"]["services"]
    domain = f"{named['metadata']['namespace']}.svc.cluster.local"
    computed = charts.objects(documents, "ConfigMap")[0]["data"]
    assert computed["clients"] == f"{services['client']['name']}.{domain}", services
    assert computed["member"] == f"{named['metadata']['name']}-0.{services['peer']['name']}.{domain}", services


def leaves(values: object, place: tuple = ()):
    """Yields the path of each value in nested values."""
    nested = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else None
    if nested is None:
        yield place
        return
    for name, value in nested:
        yield from leaves(value, (*place, name))


def changed(values: dict, place: tuple) -> dict:
    """Returns a copy of the values with another value at a path."""
    values = copy.deepcopy(values)
    at = values
    for name in place[:-1]:
        at = at[name]
    old = at[place[-1]]
    if isinstance(old, bool):
        at[place[-1]] = not old
    elif str(old).isdigit():
        at[place[-1]] = type(old)(int(old) + 1)
    else:
        at[place[-1]] = f"{old or ''}x"
    return values


def is_without_effect(schema: dict, place: tuple) -> bool:
    """Returns whether the schema says that a value, or a value that contains it, has no effect."""
    for name in place:
        schema = schema.get("items", {}) if isinstance(name, int) else schema.get("properties", {}).get(name, {})
        if schema.get("description", "").startswith("No effect"):
            return True
    return False


def check_nothing_is_ignored(folder: pathlib.Path, values: dict) -> None:
    """Checks that another value is refused or changes the cluster, unless the schema says that it has no effect."""
    schema = yaml.safe_load((charts.CLUSTER / "values.schema.json").read_text())
    before, ignored, tried = cluster(render(folder, values)), [], 0
    for place in leaves(values):
        if is_without_effect(schema, place):
            continue
        tried += 1
        try:
            if cluster(render(folder, changed(values, place))) == before:
                ignored.append(place)
        except AssertionError:
            pass
    assert tried > 3 and not ignored, f"{tried} tried, ignored: {ignored}"


def check_secret(folder: pathlib.Path) -> None:
    """Checks that root's password is at the place where parent charts read it."""
    secret = charts.objects(render(folder, ROOT), "Secret")[0]
    assert secret["metadata"]["name"] == "shop-etcd"
    assert secret["stringData"] == {"username": "root", "password": "secret", "etcd-root-password": "secret"}, secret


def run(report, places, work: pathlib.Path) -> None:
    """Runs all cases of this file."""
    folder = parent(work)
    assert set(passed()) == set(EXPECTED)
    for name, values in passed().items():
        with report.case(f"etcd of {name}"):
            documents = render(folder, values)
            places.conform(documents)
            check_becomes(cluster(documents)["spec"], EXPECTED[name])
            check_addresses(documents)
        with report.case(f"no value of {name} is ignored"):
            check_nothing_is_ignored(folder, values)
    for values, wanted in BECOMES:
        with report.case(f"etcd with {values}"):
            documents = render(folder, values)
            places.conform(documents)
            check_becomes(cluster(documents)["spec"], wanted)
    for values, words in REFUSED:
        with report.case(f"etcd refuses {values}"):
            charts.is_refused(words, render, folder, values)
    with report.case("root's password of an etcd"):
        check_secret(folder)
    with report.case("a release whose name contains the alias"):
        spec = cluster(render(folder, {}, "my-etcd"))["spec"]
        check_becomes(spec, {("services", "client", "name"): "my-etcd", ("services", "peer", "name"): "my-etcd-headless"})
    with report.case("a release whose name is too long for its members"):
        charts.is_refused("choose a shorter name for the release", render, folder, {}, "n" * 41)
    with report.case("an etcd that is disabled"):
        assert not charts.objects(render(folder, {"enabled": False}), "EtcdCluster")
