"""The commands of README.md and docs/start/kubernetes.md: helm, kubectl, curl and etcdctl against a cluster of one node without
an operator. Needs real containers (`run --containerd`), because kubectl forwards ports through a kubelet."""

import contextlib
import json
import os
import re
import signal
import subprocess

from api import eventually
from release import RELEASE
from world import OPERATOR_NAMESPACE

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# longer than any machine needs
LIMIT_S = 900
PAGE = "docs/start/kubernetes.md"
PLAIN = "/apis/witan.dev/v1/namespaces/default/etcdclusters/plain"


class Documents:
    """Mixin for `Drive`."""

    def documents(self):
        self.world.kill("operator", signal.SIGTERM)
        self.clean("helm")
        with open(os.path.join(ROOT, "README.md")) as file:
            readme = file.read()
        self.run_page("README.md", blocks(readme[readme.index("\n## Kubernetes\n") : readme.index("\n## Comparison with etcd\n")]),
                      "etcdcluster.witan.dev/plain created", "condition met", '"etcdserver"', "etcd_server_has_leader 1", "witan_operator_leader 1")
        self.clean("helm")
        # the page has two ways to install; README.md uses the first
        with open(os.path.join(ROOT, PAGE)) as file:
            page = blocks(file.read())
        page.remove(next(block for block in page if block.startswith("helm install witan-operator")))
        self.run_page(PAGE, page, "condition met", "plain-2", "Hello world", "etcd_server_has_leader 1", "witan_operator_leader 1")
        self.day_two()
        self.helm("uninstall", "orders", namespace="default")
        self.clean("kubectl")
        self.install()

    def day_two(self):
        """Runs the page's table of tasks, as far as an action is a command or a field."""
        def spec(**fields):
            return ["kubectl", "patch", "ec", "plain", "--type=merge", "--patch", json.dumps({"spec": fields})]

        ready = ["kubectl", "wait", "--for=condition=Ready", "etcdcluster/plain", "--timeout=5m"]
        for do in (["kubectl", "scale", "ec", "plain", "--replicas=1"], spec(version="0.1.1"), spec(storage={"size": "9Gi"}), spec(tls={"peer": {"managed": {}}}),
                   ["kubectl", "scale", "ec", "plain", "--replicas=3"]):
            before = self.api.get(PLAIN)["metadata"]["generation"]
            self.kubectl(*do[1:])
            eventually(f"{do} is seen", lambda: self.api.get(PLAIN)["status"].get("observedGeneration", 0) > before)
            self.kubectl(*ready[1:])
        status = self.api.get(PLAIN)["status"]
        assert status["currentVersion"] == status["targetVersion"] == "0.1.1", status
        self.kubectl("delete", "ec", "plain")

    @contextlib.contextmanager
    def plain_cluster(self, *made):
        """Creates the cluster of deploy/samples/plain.yaml for the commands of a page. At the end of the context, deletes it and
        the objects that the commands have made."""
        try:
            self.kubectl("apply", "-f", os.path.join(ROOT, "deploy", "samples", "plain.yaml"))
            self.kubectl("wait", "--for=condition=Ready", "etcdcluster/plain", "--timeout=3m")
            yield
        finally:
            for kind, name in (*made, ("etcdcluster", "plain")):
                self.kubectl("delete", kind, name, "-n", "default", "--ignore-not-found")
            eventually("the clusters' pods are removed", lambda: not self.api.items("/api/v1/namespaces/default/pods?labelSelector=witan.dev/cluster"))
            self.kubectl("delete", "pvc", "--all", "-n", "default")

    def run_page(self, name, page, *expected):
        """Runs blocks in one shell, prints commands and output, and checks that the output contains the expected texts."""
        env = {**os.environ, "KUBECONFIG": self.world.kubeconfig, "PS4": "$ "}
        path = self.world.path(os.path.basename(name) + ".log")
        with open(path, "w") as log:
            shell = subprocess.Popen(["bash", "-exc", "\n".join(page)], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            try:
                code = shell.wait(LIMIT_S)
            finally:
                # the shell or the port forwards, if any remain
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
        with open(path) as log:
            said = log.read()
        shown = [line for line in said.splitlines() if not re.match(r"(# |[a-z_]+[{ ].*[0-9]$|Handling connection|Forwarding)", line)]
        print("\n".join([f"        ---- {name}", *(f"        {line}" for line in shown)]), flush=True)
        assert code == 0, f"{name} ended with {code}"
        for text in expected:
            assert text in said, f"{name}: no {text!r}"

    def clean(self, way):
        """Restores the state before the first command: no cluster, no claim, no definition, no operator."""
        self.kubectl("delete", "etcdclusters", "--all", "--all-namespaces")
        eventually("no pod of a cluster is left", lambda: not self.api.items("/api/v1/pods?labelSelector=witan.dev/cluster"))
        if way == "helm":
            self.helm("uninstall", RELEASE)
        else:
            self.kubectl("delete", "-f", os.path.join(ROOT, "deploy", "operator.yaml"))
        self.kubectl("delete", "crd", "etcdclusters.witan.dev")
        self.kubectl("delete", "namespace", OPERATOR_NAMESPACE, "--ignore-not-found")
        self.kubectl("delete", "pvc", "--all")


def blocks(text):
    """Returns the commands, except those that build the images: containers run the programs under test."""
    found = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for block in found if not block.startswith("docker build")]
