"""installs.py PROGRAM KUBE: helm and a user at a real kube-apiserver (in the directory KUBE), whose store is PROGRAM. Installs,
upgrades, rolls back and uninstalls the charts, creates the samples, and checks the permissions of the operator's account.

tests/operator runs pods and the operator.
"""

import json
import os
import pathlib
import secrets
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import yaml

import charts
import deploy
import subcharts
from charts import is_refused, refusal
from live import wait_for
from ports import free_port
from report import Report

OPERATOR = str(deploy.CHARTS / "witan-operator")
CLUSTER = str(deploy.CHARTS / "witan-cluster")
GROUP = "/apis/witan.dev/v1"
ACCOUNT = "system:serviceaccount:witan-system:witan-operator"

# actions that are forbidden to the operator's account, whichever namespaces it watches
FORBIDDEN = [
    ("list", "", "secrets", ""), ("watch", "", "secrets", ""), ("list", "cert-manager.io", "certificates", ""), ("create", "", "pods", "exec"), ("get", "", "pods", "log"),
    ("list", "", "nodes", ""), ("create", "rbac.authorization.k8s.io", "roles", ""), ("delete", "witan.dev", "etcdclusters", ""),
    ("create", "witan.dev", "etcdclusters", ""), ("create", "apps", "deployments", ""), ("update", "", "persistentvolumes", ""),
    ("impersonate", "", "users", ""), ("create", "", "serviceaccounts", "token"), ("delete", "", "namespaces", ""),
]


class Server:
    """A store, a kube-apiserver on it, and the administrator's client."""

    def __init__(self, program: str, kube: pathlib.Path, work: pathlib.Path):
        store, peer, api = free_port(), free_port(), free_port()
        token = secrets.token_hex(16)
        (work / "tokens.csv").write_text(f'{token},admin,1,"system:masters"\n')
        subprocess.run(["openssl", "genrsa", "-out", str(work / "sa.key"), "2048"], check=True, capture_output=True)
        client, other = f"http://127.0.0.1:{store}", f"http://127.0.0.1:{peer}"
        self.work, self.processes = work, []
        self.start("store", program, "--data-dir=store", f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
                   f"--listen-peer-urls={other}", f"--initial-advertise-peer-urls={other}", f"--initial-cluster=default={other}")
        self.start("kube-apiserver", str(kube / "kube-apiserver"), f"--etcd-servers={client}", "--bind-address=127.0.0.1", f"--secure-port={api}",
                   "--advertise-address=192.0.2.10", "--cert-dir=certs", "--authorization-mode=RBAC", "--token-auth-file=tokens.csv",
                   "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc",
                   "--service-account-key-file=sa.key", "--service-account-signing-key-file=sa.key")
        self.url, self.token = f"https://127.0.0.1:{api}", token
        wait_for("kube-apiserver", lambda: self.request("GET", "/readyz") == "ok", self.processes, work)
        context = {"cluster": {"server": self.url, "certificate-authority": str(work / "certs" / "apiserver.crt")}, "user": {"token": token}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "a", "clusters": [{"name": "a", "cluster": context["cluster"]}],
                  "users": [{"name": "a", "user": context["user"]}], "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}]}
        (work / "kubeconfig").write_text(json.dumps(config))
        os.chmod(work / "kubeconfig", 0o600)

    def start(self, name: str, *command: str) -> None:
        """Starts a process with its log."""
        with open(self.work / f"{name}.log", "w") as log:
            self.processes.append(subprocess.Popen(command, cwd=self.work, stdout=log, stderr=log))

    def request(self, method: str, path: str, body: object = None):
        """Sends a request and returns the answer, parsed if it is JSON."""
        trusted = ssl.create_default_context(cafile=str(self.work / "certs" / "apiserver.crt"))
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body is not None else None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20, context=trusted) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.code} {error.read().decode()}") from error
        return json.loads(text) if text.startswith("{") else text

    def helm(self, *arguments: str) -> str:
        """Runs helm as the administrator and returns its output."""
        said = subprocess.run(["helm", *arguments, "--kubeconfig", str(self.work / "kubeconfig")], capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        return said.stdout

    def may(self, verb: str, group: str, resource: str, subresource: str = "", namespace: str = "default", name: str = "") -> bool:
        """Returns whether the operator's account has a permission."""
        attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace, "name": name}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": ACCOUNT, "resourceAttributes": attributes}}
        return self.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]

    def stop(self) -> None:
        """Stops both processes, the store last."""
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def clusters(server: Server, namespace: str = "default") -> str:
    """Returns the path of EtcdClusters."""
    return f"{GROUP}/namespaces/{namespace}/etcdclusters"


def create(server: Server, resource: dict, *options: str) -> dict:
    """Creates a resource of group witan.dev. An unknown field is an error."""
    path = f"{GROUP}/namespaces/default/{resource['kind'].lower()}s"
    return server.request("POST", path + "?" + "&".join(["fieldValidation=Strict", *options]), resource)


def check_rights(server: Server, namespace: str, allowed: bool) -> None:
    """Checks each verb of the chart's rules in a namespace."""
    rules = [role for role in yaml.safe_load_all((deploy.DEPLOY / "operator.yaml").read_text()) if role["kind"] == "ClusterRole" and role["metadata"]["name"] == "witan-operator"][0]["rules"]
    for rule in rules:
        for resource in rule["resources"]:
            name, _, sub = resource.partition("/")
            for verb in rule["verbs"]:
                assert server.may(verb, rule["apiGroups"][0], name, sub, namespace) is allowed, f"{verb} {resource} in {namespace}"


def bare(name: str, **spec: object) -> dict:
    """Returns an EtcdCluster."""
    return {"apiVersion": "witan.dev/v1", "kind": "EtcdCluster", "metadata": {"name": name}, "spec": spec}


def check_claims(server: Server) -> None:
    """Checks which claims can be deleted: orders-0 is a voter and orders-1 a learner. The cluster asleep is hibernated."""
    server.request("POST", clusters(server), bare("asleep", replicas=0))
    members = [{"name": "orders-0"}, {"name": "orders-1", "isLearner": True}]
    body = {"apiVersion": "witan.dev/v1", "kind": "EtcdCluster", "metadata": {"name": "orders"}, "status": {"members": members}}
    server.request("PATCH", clusters(server) + "/orders/status", body)
    path = "/api/v1/namespaces/default/persistentvolumeclaims"
    size = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}

    def claim(name: str, cluster: str = "orders", **annotations: str) -> str:
        meta = {"name": name, "labels": {"witan.dev/cluster": cluster}, "annotations": annotations}
        server.request("POST", path, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": size})
        return f"{path}/{name}"

    voter = claim("data-orders-0")
    is_refused("a member of EtcdCluster orders votes with this disk", server.request, "DELETE", voter)
    server.request("DELETE", claim("data-orders-1"))
    server.request("DELETE", claim("data-carts-0", "carts"))
    patch = {"metadata": {"annotations": {"witan.dev/allow-deletion": "true"}}}
    server.request("PATCH", voter, patch)
    server.request("DELETE", voter)
    kept = claim("data-asleep-0", "asleep")
    hibernated = "EtcdCluster asleep is hibernated"
    wait_for("the policy", lambda: hibernated in refusal(server.request, "DELETE", kept + "?dryRun=All"), server.processes, server.work)
    is_refused(hibernated, server.request, "DELETE", kept)
    server.request("DELETE", claim("data-asleep-1", "asleep", **{"witan.dev/retired": "true"}))
    server.request("DELETE", clusters(server) + "/asleep")


def run(report: Report, server: Server) -> None:
    """Runs all cases, in the order in which a user meets them."""
    with report.case("helm install witan-operator"):
        server.helm("install", "witan-operator", OPERATOR, "--namespace", "witan-system", "--create-namespace")
        wait_for("the definition", lambda: server.request("GET", clusters(server))["items"] == [], server.processes, server.work)
    with report.case("the account has the permissions of the chart"):
        check_rights(server, "default", True)
        assert server.may("get", "coordination.k8s.io", "leases", "", "witan-system", "witan-operator")
        assert server.may("create", "coordination.k8s.io", "leases", "", "witan-system")
    with report.case("the account has no other permissions"):
        for verb, group, resource, sub in FORBIDDEN:
            assert not server.may(verb, group, resource, sub), f"{verb} {resource} {sub}"
        assert not server.may("update", "coordination.k8s.io", "leases", "", "witan-system", "another")
        assert not server.may("update", "coordination.k8s.io", "leases", "", "default", "witan-operator")
    for path in sorted((deploy.DEPLOY / "samples").glob("*.yaml")):
        with report.case(f"{path.name} is accepted"):
            for document in yaml.safe_load_all(path.read_text()):
                if document["kind"] == "EtcdCluster":
                    create(server, document, "dryRun=All")
    for name, values in charts.MATRIX[charts.CLUSTER].items():
        with report.case(f"witan-cluster {name} is accepted"):
            for document in charts.objects(charts.render(charts.CLUSTER, values, charts.MONITORING), "EtcdCluster"):
                document["metadata"].pop("namespace")
                create(server, document, "dryRun=All")
    folder = subcharts.parent(server.work)
    for name, values in subcharts.passed().items():
        with report.case(f"etcd of {name} is accepted"):
            document = subcharts.cluster(subcharts.render(folder, values))
            document["metadata"].pop("namespace")
            create(server, document, "dryRun=All")
    with report.case("an unknown field is refused"):
        is_refused("replcas", create, server, bare("x", replcas=3), "dryRun=All")
    with report.case("helm install witan-cluster"):
        values = "persistence.size=1Gi,tls.enabled=true,auth.rbac.create=true,auth.rbac.rootPassword=secret,service.name=orders-etcd"
        said = server.helm("install", "orders", CLUSTER, "--set", values)
        assert "https://orders-etcd.default.svc:2379" in said and "orders-client." not in said, said
        spec = server.request("GET", clusters(server) + "/orders")["spec"]
        assert spec["replicas"] == 3 and spec["auth"]["enabled"] is True, spec
    with report.case("helm upgrade and rollback of witan-cluster"):
        server.helm("upgrade", "orders", CLUSTER, "--reuse-values", "--set", "replicaCount=5,persistence.size=2Gi")
        assert server.request("GET", clusters(server) + "/orders")["spec"]["replicas"] == 5
        server.helm("upgrade", "orders", CLUSTER, "--reuse-values", "--set", "replicaCount=1")
        server.helm("rollback", "orders", "2")
        assert server.request("GET", clusters(server) + "/orders")["spec"]["replicas"] == 5
    with report.case("the claim of a voter or of a hibernated cluster is deleted only if its annotation allows it"):
        check_claims(server)
    with report.case("a cluster in the operator's namespace is refused"):
        is_refused("not allowed in the namespace of witan-operator", server.request, "POST", clusters(server, "witan-system"), bare("inside"))
    with report.case("a pod template of a tenant is refused"):
        server.helm("upgrade", "witan-operator", OPERATOR, "--namespace", "witan-system", "--set", "admissionPolicies.restrictPodTemplate=true")
        for field, value in (("podTemplate", {"spec": {}}), ("serviceAccountName", "mine"), ("image", "r/i:t")):
            tenant = bare("tenant", **{field: value})
            wait_for("the policy", lambda: refusal(server.request, "POST", clusters(server) + "?dryRun=All", tenant), server.processes, server.work)
            is_refused("spec.podTemplate, spec.serviceAccountName and spec.image are not allowed", server.request, "POST", clusters(server) + "?dryRun=All", tenant)
        server.request("POST", clusters(server) + "?dryRun=All", bare("tenant"))
        server.helm("rollback", "witan-operator", "1", "--namespace", "witan-system")
    with report.case("helm upgrade and rollback of witan-operator keep the clusters"):
        before = server.request("GET", clusters(server) + "/orders")["metadata"]
        server.helm("upgrade", "witan-operator", OPERATOR, "--namespace", "witan-system", "--set", "replicaCount=2,watchNamespaces={default}")
        deployment = "/apis/apps/v1/namespaces/witan-system/deployments/witan-operator"
        assert server.request("GET", deployment)["spec"]["replicas"] == 2
        check_rights(server, "default", True)
        check_rights(server, "kube-system", False)
        server.helm("rollback", "witan-operator", "1", "--namespace", "witan-system")
        assert server.request("GET", deployment)["spec"]["replicas"] == 1
        check_rights(server, "kube-system", True)
        after = server.request("GET", clusters(server) + "/orders")["metadata"]
        assert (before["uid"], before["resourceVersion"]) == (after["uid"], after["resourceVersion"])
    with report.case("monitoring is refused without its CRDs"):
        upgrade = ["upgrade", "witan-operator", OPERATOR, "--namespace", "witan-system"]
        is_refused("needs the kind PrometheusRule", server.helm, *upgrade, "--set", "prometheusRule.enabled=true")
    with report.case("helm uninstall keeps the definition and the clusters"):
        server.helm("uninstall", "witan-operator", "--namespace", "witan-system")
        assert not server.may("get", "", "secrets")
        assert server.request("GET", clusters(server) + "/orders")["metadata"]["uid"] == before["uid"]
        server.helm("install", "witan-operator", OPERATOR, "--namespace", "witan-system")
        assert server.request("GET", clusters(server) + "/orders")["metadata"]["uid"] == before["uid"]


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        server = Server(sys.argv[1], pathlib.Path(sys.argv[2]), folder)
        try:
            run(report, server)
        finally:
            server.stop()
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
