"""One pod from its binding to its end, as in a kubelet: its network, its init containers in sequence, its containers, and its
status at the API server. `pod_container.py` runs a container, `pod_volumes.py` provides volumes, `node.py` simulates nodes."""

import os
import queue
import subprocess
import threading
import time

from api import MERGE, Refused, now
from names import ADDRESS
from pod_container import Container
from pod_volumes import Volumes

# time between two checks for changed secrets
REFRESH_S = 1


def shell(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Pod(threading.Thread):
    """One pod. Only this thread changes it."""

    def __init__(self, node, pod):
        super().__init__(daemon=True)
        meta = pod["metadata"]
        self.node, self.api, self.namespace, self.name, self.uid = node, node.api, meta["namespace"], meta["name"], meta["uid"]
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self.events, self.ip, self.net, self.spec, self.seen = queue.Queue(), None, None, pod["spec"], pod
        self.root = os.path.join(node.folder, "pods", self.uid)
        self.volumes = Volumes(self)
        self.inits = [Container(self, each, init=True) for each in self.spec.get("initContainers", [])]
        self.mains = [Container(self, each) for each in self.spec["containers"]]
        self.begun, self.reported, self.since, self.refreshed = now(), None, {}, 0
        self.start()

    def run(self):
        try:
            self.live()
        except Exception as error:  # a failed simulation must report itself; the test then fails because the pod is missing
            self.say(f"ended by {error!r}")
            raise
        finally:
            self.kill()

    def say(self, text):
        print(now(), f"{self.namespace}/{self.name}", text, file=self.node.log)

    def kill(self):
        """Kills all processes with SIGKILL."""
        for each in self.inits + self.mains:
            each.kill()

    def live(self):
        while True:
            try:
                self.seen = self.events.get(timeout=0.1 if self.ip else 0.5)
            except queue.Empty:
                pass
            if self.spec.get("nodeName") in self.node.silent:
                self.reported = None
                continue
            if self.seen is None:
                return
            self.spec = self.seen["spec"]
            if self.seen["metadata"].get("deletionTimestamp"):
                return self.finish(self.seen["metadata"].get("deletionGracePeriodSeconds", 30))
            try:
                if not self.spec.get("nodeName"):
                    continue
                if not self.ip:
                    self.prepare()
                else:
                    self.tend()
                self.report()
            except (Refused, OSError) as error:
                self.say(f"{error}")

    def prepare(self):
        """Waits for the pod's volumes and creates its network."""
        if not self.volumes.prepare():
            return
        net, link = f"p-{self.uid[:8]}", f"v{self.uid[:8]}"
        ip = self.node.address()
        shell("ip", "netns", "add", net)
        shell("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", net)
        shell("ip", "link", "set", link, "master", "pods", "up")
        shell("ip", "-n", net, "addr", "add", f"{ip}/16", "dev", "eth0")
        shell("ip", "-n", net, "link", "set", "eth0", "up")
        shell("ip", "-n", net, "link", "set", "lo", "up")
        shell("ip", "-n", net, "route", "add", "default", "via", ADDRESS)
        self.ip, self.net = ip, net

    def leave_network(self):
        if self.net:
            subprocess.run(["ip", "netns", "del", self.net], check=False)
            self.net = None

    def field(self, path):
        """Returns a field of the downward API. An absent annotation is empty, as in the kubelet."""
        if path.startswith("metadata.annotations['"):
            return self.seen["metadata"].get("annotations", {}).get(path.split("'")[1], "")
        return {"metadata.name": self.name, "metadata.namespace": self.namespace, "metadata.uid": self.uid, "status.podIP": self.ip,
                "spec.nodeName": self.spec.get("nodeName"), "spec.serviceAccountName": self.spec.get("serviceAccountName")}[path]

    def initialized(self):
        return all(each.succeeded() for each in self.inits)

    def over(self):
        """Returns whether no container will start again: all have ended, or an init container has failed permanently."""
        return any(each.failed() for each in self.inits) or all(each.over for each in self.mains)

    def tend(self):
        """Starts containers whose turn it is, restarts ended ones, and updates changed secrets."""
        for each in self.inits:
            if not each.succeeded():
                each.tend()
                break
        else:
            for each in self.mains:
                each.tend()
        if self.over():
            self.leave_network()
        elif time.monotonic() >= self.refreshed + REFRESH_S:
            self.refreshed = time.monotonic()
            self.volumes.refresh()

    def phase(self):
        if self.over():
            return "Succeeded" if all(each.succeeded() for each in self.mains) else "Failed"
        return "Running" if self.initialized() and all(each.launches for each in self.mains) else "Pending"

    def conditions(self):
        said = {each["type"]: each["status"] for each in self.seen["status"].get("conditions", [])}
        gates = all(said.get(gate["conditionType"]) == "True" for gate in self.spec.get("readinessGates", []))
        ready = all(each.ready for each in self.mains)
        for kind, value in (("Initialized", self.initialized()), ("ContainersReady", ready), ("Ready", ready and gates)):
            status = "True" if value else "False"
            if self.since.get(kind, ("",))[0] != status:
                self.since[kind] = status, now()
        return [{"type": kind, "status": status, "lastTransitionTime": at} for kind, (status, at) in self.since.items()]

    def report(self):
        status = {
            "phase": self.phase(), "hostIP": "192.0.2.10", "startTime": self.begun, "conditions": self.conditions(),
            "containerStatuses": [each.status() for each in self.mains],
            **({"initContainerStatuses": [each.status() for each in self.inits]} if self.inits else {}),
            **({"podIP": self.ip, "podIPs": [{"ip": self.ip}]} if self.ip else {}),
        }
        if status != self.reported:
            self.api.request("PATCH", f"{self.path}/status", {"metadata": {"uid": self.uid}, "status": status}, MERGE)
            self.reported = status

    def finish(self, grace):
        """Sends SIGTERM, waits for the grace period, sends SIGKILL and reports. Then deletes the object once it has no
        finalizers."""
        begun, all_of_it = time.monotonic(), self.inits + self.mains
        for each in all_of_it:
            each.terminate()
        for each in all_of_it:
            each.close(max(begun + grace - time.monotonic(), 0.1))
        self.leave_network()
        for _ in range(100):
            try:
                self.report()
                self.api.delete(self.path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})
                return
            except (OSError, Refused) as error:
                if isinstance(error, Refused) and error.code in (404, 409):
                    return  # deleted, or another pod has its name
                self.say(f"deletion: {error}")
                time.sleep(0.2)
