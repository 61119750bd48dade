"""Replaces nodes: does the work of kubelet, container runtime and network for bound pods with processes and Linux namespaces. A
node can fall silent, with or without its processes, and return. Each pod has its own network on one bridge. `pod.py` runs one
pod.

Needs root inside the namespaces that `run` creates. Images are names of programs (`images`)."""

import ipaddress
import os
import threading
import time

from api import MERGE, Refused, now
from names import ADDRESS
from pod import Pod, shell

NODES = ("node1", "node2", "node3", "node4")
# time between two renewals of a node's lease
BEAT_S = 2


class Nodes:
    """All nodes. They run all pods of the API server."""

    def __init__(self, api, folder, images):
        self.api, self.folder, self.images = api, folder, images
        self.pods, self.lock, self.next_address = {}, threading.Lock(), int(ipaddress.ip_address("10.244.0.10"))
        self.log = open(os.path.join(folder, "node.log"), "a", buffering=1)
        # nodes whose kubelet neither reports nor receives anything
        self.silent = set()
        # claims whose volumes cannot be attached at the moment
        self.held = set()
        for name in NODES:
            api.create("/api/v1/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}}})
            self.report_node(name)
        threading.Thread(target=self.beat, daemon=True).start()
        threading.Thread(target=api.watch, args=("/api/v1/pods", self.observe), daemon=True).start()
        threading.Thread(target=api.watch, args=("/api/v1/persistentvolumeclaims", self.observe_claim), daemon=True).start()

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
        """Stops a node's kubelet. Its containers continue."""
        self.silent.add(name)

    def lose(self, name):
        """Stops a node with its processes."""
        self.silent.add(name)
        with self.lock:
            pods = [pod for pod in self.pods.values() if pod.spec.get("nodeName") == name]
        for pod in pods:
            pod.kill()

    def resume(self, name):
        """Ends the silence of a node, which then reports the state of its pods."""
        if name in self.silent:
            self.silent.discard(name)
            self.report_node(name)

    def observe(self, kind, what):
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

    def observe_claim(self, kind, what):
        """Grows a volume immediately, like an external resizer."""
        for claim in what if kind == "LISTED" else [what]:
            requested, has = claim["spec"]["resources"]["requests"]["storage"], claim.get("status", {}).get("capacity", {}).get("storage")
            if kind != "DELETED" and has and requested != has:
                meta = claim["metadata"]
                try:
                    self.api.patch(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}", {"spec": {"capacity": {"storage": requested}}})
                    self.api.patch(f"/api/v1/namespaces/{meta['namespace']}/persistentvolumeclaims/{meta['name']}/status", {"status": {"capacity": {"storage": requested}}})
                except (OSError, Refused) as error:
                    print(now(), "resize", error, file=self.log)

    def address(self):
        with self.lock:
            self.next_address += 1
            return str(ipaddress.ip_address(self.next_address))

    def kill(self, namespace, name):
        """Kills a pod's processes with SIGKILL."""
        with self.lock:
            pods = [pod for pod in self.pods.values() if (pod.namespace, pod.name) == (namespace, name)]
        for pod in pods:
            pod.kill()

    def end(self):
        with self.lock:
            for pod in self.pods.values():
                pod.kill()


def prepare_network():
    """Creates the bridge of all pods inside the namespaces of `run`."""
    shell("ip", "link", "add", "pods", "type", "bridge")
    shell("ip", "addr", "add", f"{ADDRESS}/16", "dev", "pods")
    shell("ip", "link", "set", "pods", "up")
