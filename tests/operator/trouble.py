"""Silent and lost nodes, drains, and unready pods of serving members: no member that answers is removed, and no disk is deleted
because of a node's fault.

Each case has its own cluster (`brief`). The helpers are in `drive.py`."""

import contextlib
import time

from api import MERGE, Refused, condition, eventually
from node import NODES
from world import NODE_GRACE_S

CLUSTERS = "/apis/witan.dev/v1/namespaces/prod/etcdclusters"
CORE = "/api/v1/namespaces/prod"
ABSENT = "docker.io/local/absent:1"
IMAGE = "docker.io/local/witan:1.0.0"
EVENTS = "/apis/events.k8s.io/v1/namespaces/prod/events"
# `unhealthyAfter` of the operator, short enough to wait for it
PATIENCE_S = 8
GATE = "example.com/fit"
DELETE = {"whenDeleted": "Delete", "whenScaled": "Delete"}
# limit for a condition and a warning to appear on a busy machine
SEEN_S = 40


class Trouble:
    """Mixin for `Drive`."""

    @contextlib.contextmanager
    def brief(self, name, replicas=3, ready=True, writes=True, **spec):
        """Creates a cluster for one case, with a client that writes to it. Deletes it at the end of the context."""
        self.apply(name, **{"replicas": replicas, "storage": {"size": "1Gi"}, "persistentVolumeClaimRetentionPolicy": DELETE,
                            "selfHealing": {"unhealthyAfter": f"{PATIENCE_S}s"}, **spec})
        disks, steps = set(), self.world.steps()
        try:
            if ready:
                self.until_ready("a cluster for a case", name, replicas)
                assert self.world.steps() > steps, "the operator's steps are not counted"
            disks = self.claims(name)
            if ready and writes:
                self.write(name)
                eventually("a client writes", lambda: self.writers[name].ask("mark")["written"])
            yield
            if name in self.writers:
                self.noted = self.writers[name].ask("mark")
                self.all_acknowledged_are_there(name)
        except Exception:
            print(self.kubectl("describe", "ec", name, "-n", "prod")[-4000:])
            raise
        finally:
            self.disks_noted = disks, self.claims(name)
            if name in self.writers:
                self.writers.pop(name).end()
            self.remove(name)

    def remove(self, name):
        """Deletes a cluster with all its objects, and the operations on it."""
        labeled = f"?labelSelector=witan.dev/cluster%3D{name}"
        self.api.delete(f"{CLUSTERS}/{name}")
        eventually("the cluster's pods are removed", lambda: not self.pods(name))
        for claim in self.api.items(f"{CORE}/persistentvolumeclaims{labeled}"):
            self.api.delete(f"{CORE}/persistentvolumeclaims/{claim['metadata']['name']}")
        eventually("the cluster's disks are deleted", lambda: not self.api.items(f"{CORE}/persistentvolumeclaims{labeled}"))
        self.forget_operations(name)

    def members_and_disks(self, name):
        """Returns the ids of members and of their disks, by name."""
        members = {each["name"]: each.get("id") for each in self.cluster(name)["status"]["members"]}
        claims = self.api.items(f"{CORE}/persistentvolumeclaims?labelSelector=witan.dev/cluster%3D{name}")
        return members, {each["metadata"]["name"]: each["metadata"]["uid"] for each in claims}

    def uids(self, name):
        return {pod: found["metadata"]["uid"] for pod, found in self.pods(name).items()}

    def stays(self, name, seconds, what):
        """Checks that `what()` does not change for some seconds and at least two passes of the operator."""
        before, looked, begun = what(), self.passes_of(name), time.monotonic()
        while time.monotonic() < begun + seconds or self.passes_of(name) < looked + 2:
            self.follow(self.pods(name), name)
            now = what()
            assert now == before, f"the value was {before}, and after {time.monotonic() - begun:.0f} s {now}"
            time.sleep(0.2)

    def passes_of(self, name):
        count = "witan_operator_reconcile_duration_seconds_count{"
        lines = [line for line in self.world.operator_metrics().splitlines() if line.startswith(count) and f'name="{name}"' in line]
        return float(lines[0].split()[-1]) if lines else 0

    def degraded(self, name, *words):
        """Checks that the cluster's status and a Warning event report a problem with these words."""
        says = lambda: " ".join(each.get("message", "") for each in self.cluster(name)["status"]["conditions"] if each["type"] == "Degraded" and each["status"] == "True")
        try:
            eventually(f"Degraded says {words}", lambda: all(word in says() for word in words), SEEN_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; the condition is: {says() or condition(self.cluster(name), 'Ready')}") from error
        about = lambda: [each.get("note", "") for each in self.api.items(EVENTS) if each.get("type") == "Warning" and each["regarding"]["name"] == name]
        try:
            eventually(f"a warning says {words}", lambda: any(all(word in note for word in words) for note in about()), SEEN_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; warnings: {about()}") from error

    def node_of(self, name, pod):
        return self.pods(name)[pod]["spec"]["nodeName"]

    def other_follower(self, name, away):
        """Returns a follower that is not on the node `away`."""
        return next(pod for pod in sorted(self.pods(name)) if pod != self.leader(name) and self.node_of(name, pod) != away)

    # cases

    def readiness_gate(self):
        """A pod that is unready because of another controller's readiness gate keeps its serving member and its disk. If all
        pods are unready, none of them can be evicted."""
        name = "gated"
        with self.brief(name, ready=False, podTemplate={"spec": {"readinessGates": [{"conditionType": GATE}]}}):
            def open_all():
                for pod in self.pods(name):
                    self.gate(pod, "True")
                return self.is_ready(name)

            eventually("the cluster is ready after the gates open", open_all, 90)
            self.write(name)
            self.gate(self.follower(name), "False")
            eventually("the member's pod is not ready", lambda: sum(1 for pod in self.pods(name).values() if ready(pod)) == 2)
            self.stays(name, 3 * PATIENCE_S, lambda: (self.members_and_disks(name), self.uids(name)))
            for pod in self.pods(name):
                self.gate(pod, "False")
            eventually("the disruption budget counts no healthy pod", lambda: self.budget(name)["status"]["currentHealthy"] == 0)
            for pod in self.pods(name):
                self.cannot_evict(pod)
            for pod in self.pods(name):
                self.gate(pod, "True")
            self.until_ready("after the gates open", name)

    def gate(self, pod, status):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.api.request("PATCH", f"{CORE}/pods/{pod}/status", {"status": {"conditions": [{"type": GATE, "status": status, "lastTransitionTime": at}]}}, MERGE)

    def silent_node(self):
        """A kubelet stops while its member serves: the pod is NotReady, then stuck in Terminating. Member and disk are kept."""
        name = "silent"
        with self.brief(name, podAntiAffinityPreset="hard"):
            kept, pod = self.members_and_disks(name), self.follower(name)
            node = self.node_of(name, pod)
            self.node.stop_kubelet(node)
            try:
                eventually("the member's pod is not ready", lambda: not ready(self.pods(name)[pod]))
                self.stays(name, 2 * PATIENCE_S, lambda: self.members_and_disks(name))
                eventually("the member's pod is stuck in Terminating", lambda: self.pods(name)[pod]["metadata"].get("deletionTimestamp"), 4 * NODE_GRACE_S + 60)
                self.stays(name, 2 * PATIENCE_S, lambda: self.members_and_disks(name))
                # a pod on another node is recreated while this one is stuck
                self.comes_back(name, self.other_follower(name, away=node))
            finally:
                self.node.resume(node)
            self.until_ready("after the node is back", name)
            assert self.members_and_disks(name) == kept, f"{kept} became {self.members_and_disks(name)}"

    def comes_back(self, name, pod):
        uid = self.uids(name)[pod]
        self.api.delete(f"{CORE}/pods/{pod}")

        def back():
            pods = self.pods(name)
            self.follow(pods, name)
            return pods.get(pod, {}).get("metadata", {}).get("uid", uid) != uid and ready(pods[pod])

        eventually(f"{pod} comes back", back)

    def lost_node(self):
        """A node is lost with its member: the cluster reports this, the disk is kept, and the same member returns."""
        name = "left"
        with self.brief(name, podAntiAffinityPreset="hard"):
            kept, pod = self.members_and_disks(name), self.follower(name)
            node = self.node_of(name, pod)
            self.node.lose(node)
            try:
                eventually("the member's pod is stuck in Terminating", lambda: self.pods(name)[pod]["metadata"].get("deletionTimestamp"), 4 * NODE_GRACE_S + 60)
                self.degraded(name, pod)
                self.stays(name, 2 * PATIENCE_S, lambda: self.members_and_disks(name)[1])
            finally:
                self.node.resume(node)
            self.until_ready("after the node is back", name)
            assert self.members_and_disks(name) == kept, f"{kept} became {self.members_and_disks(name)}"

    def lost_node_replaced(self):
        """A node is lost, and the spec limits the wait: another member replaces its member, and its disk is given up only
        then."""
        name = "waited"
        healing = {"unhealthyAfter": f"{PATIENCE_S}s", "nodeLostAfter": f"{3 * PATIENCE_S}s"}
        with self.brief(name, podAntiAffinityPreset="hard", selfHealing=healing):
            pod = self.follower(name)
            node = self.node_of(name, pod)
            healthy = lambda: {each["name"] for each in self.cluster(name)["status"]["members"] if each.get("id") and each.get("isHealthy")}
            kept = healthy() - {pod}
            begun = time.monotonic()
            self.node.lose(node)
            try:
                eventually("the status reports the silent member", lambda: any(each.get("silentSince") for each in self.cluster(name)["status"]["members"] if each["name"] == pod))
                # the pod that does not end keeps the cluster from being Ready
                eventually("another member replaces the lost one", lambda: pod not in healthy() and len(healthy()) == 3, 4 * NODE_GRACE_S + 60)
                assert time.monotonic() - begun > 3 * PATIENCE_S, "the operator did not wait"
                (new,) = healthy() - kept
                assert len(kept & healthy()) == 2 and self.node_of(name, new) != node, f"{kept}, {new}"
            finally:
                self.node.resume(node)
            self.until_ready("after the node is back", name)
            eventually("the lost member's pod and disk are deleted", lambda: pod not in self.pods(name) and len(self.claims(name)) == 3)

    def drain(self):
        """kubectl drains the nodes one after the other. No write fails, and the disruption budget allows one eviction at a
        time."""
        name = "drained"
        with self.brief(name, podAntiAffinityPreset="soft"):
            kept = self.members_and_disks(name)
            first, second = sorted(self.pods(name))[:2]
            self.evict(first)
            self.cannot_evict(second)
            self.until_ready("after an eviction", name)
            for node in NODES:
                self.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector", f"witan.dev/cluster={name}", "--timeout=120s")
                self.until_ready(f"{node} is drained", name)
                assert all(pod["spec"]["nodeName"] != node for pod in self.pods(name).values())
                self.kubectl("uncordon", node)
            assert self.members_and_disks(name) == kept

    def evict(self, pod):
        self.api.create(f"{CORE}/pods/{pod}/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "prod"}})

    def cannot_evict(self, pod):
        try:
            self.evict(pod)
        except Refused as refusal:
            assert refusal.code == 429, refusal
        else:
            raise AssertionError(f"{pod} was evicted")

    def budget(self, name):
        return self.api.get(f"/apis/policy/v1/namespaces/prod/poddisruptionbudgets/{name}")

    def no_room(self):
        """A pod that fits on no node is reported. Its member and disk are kept."""
        name = "crowded"
        with self.brief(name, podAntiAffinityPreset="hard"):
            kept, pod = self.members_and_disks(name), self.follower(name)
            for node in NODES:
                self.kubectl("cordon", node)
            try:
                self.evict(pod)
                self.degraded(name, pod)
                self.stays(name, 2 * PATIENCE_S, lambda: self.members_and_disks(name))
            finally:
                for node in NODES:
                    self.kubectl("uncordon", node)
            self.until_ready("after the nodes accept pods again", name)
            assert self.members_and_disks(name) == kept


def ready(pod):
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
