"""A stand-in for some nodes: what the kubelet, the container runtime and the network do for a pod that the scheduler has bound, done
with processes and Linux' namespaces. A node can fall silent, with or without its processes, and return. Each pod has a network of its own
on one bridge. What happens inside of a pod is in `pod.py`.

Needs root inside of the namespaces that `run` makes. Images are names of programs (`images`)."""

import ipaddress
import os
import threading
import time

from api import MERGE, Refused, now
from names import ADDRESS
from pod import Pod, shell

NODES = ("node1", "node2", "node3", "node4")
# between two renewals of a node's lease
BEAT_S = 2


class Nodes:
    """All pods of the API server run here."""

    def __init__(self, api, folder, images):
        self.api, self.folder, self.images = api, folder, images
        self.pods, self.lock, self.next_address = {}, threading.Lock(), int(ipaddress.ip_address("10.244.0.10"))
        self.log = open(os.path.join(folder, "node.log"), "a", buffering=1)
        # nodes whose kubelet says and hears nothing
        self.silent = set()
        # claims whose volumes cannot be attached now
        self.held = set()
        for name in NODES:
            api.create("/api/v1/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}}})
            self.report_node(name)
        threading.Thread(target=self.beat, daemon=True).start()
        threading.Thread(target=api.watch, args=("/api/v1/pods", self.heard), daemon=True).start()
        threading.Thread(target=api.watch, args=("/api/v1/persistentvolumeclaims", self.claim_heard), daemon=True).start()

    def report_node(self, name):
        resources = {"cpu": "16", "memory": "32Gi", "pods": "110"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now(), "lastTransitionTime": now()}
        self.api.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"capacity": resources, "allocatable": resources, "conditions": [ready]}}, MERGE)
        self.lease(name)

    def lease(self, name):
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())}
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
        self.api.apply(path, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec}, name)

    def beat(self):
        while True:
            time.sleep(BEAT_S)
            for name in NODES:
                try:
                    if name not in self.silent:
                        self.lease(name)
                except (OSError, Refused) as error:
                    print(now(), "lease", error, file=self.log)

    def stop_kubelet(self, name):
        """Its containers go on, and nobody hears of them."""
        self.silent.add(name)

    def lose(self, name):
        """The node ends, with its processes."""
        self.silent.add(name)
        with self.lock:
            pods = [pod for pod in self.pods.values() if pod.spec.get("nodeName") == name]
        for pod in pods:
            pod.kill()

    def resume(self, name):
        """It is back, and says how its pods are."""
        if name in self.silent:
            self.silent.discard(name)
            self.report_node(name)

    def heard(self, kind, what):
        for pod in what if kind == "LISTED" else [what]:
            uid = pod["metadata"]["uid"]
            with self.lock:
                known = self.pods.get(uid)
                if kind == "DELETED":
                    if known:
                        known.events.put(None)
                        del self.pods[uid]
                    continue
                if not known:
                    known = self.pods[uid] = Pod(self, pod)
            known.events.put(pod)

    def claim_heard(self, kind, what):
        """A volume that may grow grows at once, as an external resizer would make it."""
        for claim in what if kind == "LISTED" else [what]:
            asked, has = claim["spec"]["resources"]["requests"]["storage"], claim.get("status", {}).get("capacity", {}).get("storage")
            if kind != "DELETED" and has and asked != has:
                meta = claim["metadata"]
                try:
                    self.api.patch(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}", {"spec": {"capacity": {"storage": asked}}})
                    self.api.patch(f"/api/v1/namespaces/{meta['namespace']}/persistentvolumeclaims/{meta['name']}/status", {"status": {"capacity": {"storage": asked}}})
                except (OSError, Refused) as error:
                    print(now(), "resize", error, file=self.log)

    def address(self):
        with self.lock:
            self.next_address += 1
            return str(ipaddress.ip_address(self.next_address))

    def kill(self, namespace, name):
        """kill -9 of a pod's processes."""
        with self.lock:
            pods = [pod for pod in self.pods.values() if (pod.namespace, pod.name) == (namespace, name)]
        for pod in pods:
            pod.kill()

    def end(self):
        with self.lock:
            for pod in self.pods.values():
                pod.kill()


def prepare_network():
    """The bridge of all pods, inside of the namespaces that `run` has made."""
    shell("ip", "link", "add", "pods", "type", "bridge")
    shell("ip", "addr", "add", f"{ADDRESS}/16", "dev", "pods")
    shell("ip", "link", "set", "pods", "up")
