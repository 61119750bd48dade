"""Existing objects with a cluster's names: from its failed first attempt, from its earlier life, and of other owners; and a
member whose address differs from its names.

The helpers are in `trouble.py` and `drive.py`."""

import base64
import signal
import socket
import ssl

from api import encoded, eventually, post
from node import NODES
from trouble import ABSENT, CLUSTERS, CORE, DELETE

BUDGETS = "/apis/policy/v1/namespaces/prod/poddisruptionbudgets"
THEIRS = {"app": "theirs"}


class SameName:
    """Mixin for `Drive`."""

    def second_try(self):
        """A first attempt uses a missing image. Recreated with the right image, the cluster starts on the remaining disks."""
        name = "tried"
        try:
            self.apply(name, replicas=3, storage={"size": "1Gi"}, image=ABSENT)
            eventually("the cluster has disks", lambda: len(self.claims(name)) >= 2)
            self.api.delete(f"{CLUSTERS}/{name}")
            eventually("the cluster's pods are removed", lambda: not self.pods(name))
            assert self.claims(name), "the disks were deleted"
            self.apply(name, replicas=3, storage={"size": "1Gi"})
            self.until_ready("the second attempt", name)
        finally:
            self.remove(name)

    def half_try(self):
        """One member of a first attempt has written to its disk. Recreated under the same name, the cluster replaces that disk
        once a quorum serves without it. Without such a quorum, it waits for the user."""
        name = "halved"
        for replicas in (3, 1):
            try:
                for node in NODES[1:]:
                    self.kubectl("cordon", node)
                self.apply(name, replicas=3, storage={"size": "1Gi"}, podAntiAffinityPreset="hard")
                alone = eventually("one member runs", lambda: next((pod for pod in self.pods(name).values() if pod["status"].get("podIP")), None))
                eventually("the member has written to its disk", lambda: post(alone["status"]["podIP"], "/v3/maintenance/status", {}))
                self.api.delete(f"{CLUSTERS}/{name}")
                eventually("the cluster's pods are removed", lambda: not self.pods(name))
            finally:
                for node in NODES:
                    self.kubectl("uncordon", node)
            try:
                disks = self.claims(name)
                self.apply(name, replicas=replicas, storage={"size": "1Gi"})
                if replicas == 1:
                    self.degraded(name, f"{name}-0", "delete their claims, and then their pods")
                    assert disks <= self.claims(name), "a disk was deleted without permission"
                    self.give_up_disk(f"{name}-0")
                    self.api.delete(f"{CORE}/pods/{name}-0")
                self.until_ready(f"the second attempt, with {replicas} members", name, replicas)
            finally:
                self.remove(name)

    def claims(self, name):
        return {each["metadata"]["uid"] for each in self.api.items(f"{CORE}/persistentvolumeclaims?labelSelector=witan.dev/cluster%3D{name}")}

    def made_again(self):
        """A cluster is deleted with its disks and recreated while the garbage collector is slow: it starts on new disks."""
        name, controllers = "again", self.world.processes["kube-controller-manager"]
        with self.brief(name, writes=False):
            before, disks = self.cluster(name)["status"]["clusterID"], self.claims(name)
            self.put(name, "former", "life")
            controllers.send_signal(signal.SIGSTOP)
            try:
                self.api.delete(f"{CLUSTERS}/{name}")
                self.apply(name, replicas=3, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE)
                eventually("the operator has looked at it", lambda: self.cluster(name).get("status") and self.passes_of(name) >= 2)
            finally:
                controllers.send_signal(signal.SIGCONT)
            self.until_ready("the recreated cluster", name, patience_s=180)
            assert self.cluster(name)["status"]["clusterID"] != before, "the new cluster has the old id"
            assert not self.claims(name) & disks, "the new cluster uses old disks"
            assert not self.has_key(name, "former")

    def put(self, name, key, value):
        self.ask(name, "/v3/kv/put", {"key": encoded(key), "value": encoded(value)})

    def foreign_objects(self):
        """Objects of other owners with a cluster's names are not changed but reported. When they are gone, the cluster starts."""
        name = "wanted"
        service = {"spec": {"clusterIP": "None", "selector": THEIRS, "ports": [{"port": 2379}]}}
        claim = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
        theirs = {
            f"{CORE}/services/{name}-client": service, f"{CORE}/services/{name}-peer": service, f"{CORE}/persistentvolumeclaims/data-{name}-0": claim,
            f"{BUDGETS}/{name}": {"spec": {"minAvailable": 1, "selector": {"matchLabels": THEIRS}}}, f"{CORE}/secrets/{name}-ca": {"stringData": {"tls.crt": "theirs"}},
        }
        for path, body in theirs.items():
            plural, made = path.rsplit("/", 1)
            self.api.create(plural, {"metadata": {"name": made, "labels": THEIRS}, **body})

        def matters(path):
            found = self.api.get(path)
            of = found.get("spec", {})
            return found["metadata"].get("labels"), found["metadata"].get("ownerReferences"), of.get("selector"), of.get("minAvailable"), found.get("data")

        state = lambda: {path: matters(path) for path in theirs}
        before = state()
        try:
            self.apply(name, replicas=3, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE, tls={"peer": {"managed": {}}})
            try:
                self.degraded(name, name)
            finally:
                after = state()
                assert after == before, "\n".join(f"{path}: {before[path]} became {after[path]}" for path in theirs if after[path] != before[path])
            self.api.delete(f"{CLUSTERS}/{name}")
            self.stays_there(state, before)
            self.apply(name, replicas=3, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE, tls={"peer": {"managed": {}}})
            for path in theirs:
                self.api.delete(path)
            self.until_ready("after the objects are deleted", name)
        finally:
            self.remove(name)
            for path in theirs:
                self.api.delete(path)

    def named_services(self):
        """Services with the names from the spec: one of another owner is not changed, and clients reach the cluster and each
        member under these names, with its certificates."""
        name = "named"
        path, headless = f"{CORE}/services/{name}-etcd", f"{name}-etcd-headless"
        services = {"client": {"name": f"{name}-etcd"}, "peer": {"name": headless}}
        self.api.create(f"{CORE}/services", {"metadata": {"name": f"{name}-etcd", "labels": THEIRS}, "spec": {"selector": THEIRS, "ports": [{"port": 2379}]}})
        theirs = self.api.get(path)
        try:
            self.apply(name, replicas=3, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE, services=services,
                       tls={"peer": {"managed": {}}, "client": {"managed": {}, "clientCertAuth": False}})
            self.degraded(name, f"{name}-etcd")
            assert self.api.get(path) == theirs, "the other owner's Service has changed"
            self.api.delete(path)
            self.until_ready("after the Service is deleted", name)
            made = {each["metadata"]["name"] for each in self.api.items(f"{CORE}/services?labelSelector=witan.dev/cluster%3D{name}")}
            assert made == {f"{name}-etcd", headless}, made
            assert self.cluster(name)["status"]["clientEndpoint"] == f"https://{name}-etcd.prod.svc:2379"
            trusted = base64.b64decode(self.api.get(f"{CORE}/secrets/{name}-client-tls")["data"]["ca.crt"]).decode()
            for host in (f"{name}-etcd", f"{name}-etcd.prod.svc.cluster.local", f"{name}-0.{headless}.prod.svc.cluster.local"):
                self.greet(host, trusted)
            # as after kubectl delete --cascade=orphan
            for own in (path, f"{CORE}/services/{headless}", f"{BUDGETS}/{name}"):
                owners = self.api.get(own)["metadata"]["ownerReferences"]
                self.api.patch(own, {"metadata": {"ownerReferences": None}})
                eventually(f"{own} has its owner again", lambda own=own, owners=owners: self.api.get(own)["metadata"].get("ownerReferences") == owners)
        finally:
            if (self.api.find(path) or theirs)["metadata"]["labels"] == THEIRS:
                self.api.delete(path)
            self.remove(name)

    def greet(self, host, trusted):
        """Resolves a host as a pod of the namespace does, verifies its certificate, and requests its version."""
        full = host if "." in host else f"{host}.prod.svc.cluster.local"
        address = eventually(f"{full} has an address", lambda: next(iter(self.names.table.get(full, [])), None))
        context = ssl.create_default_context(cadata=trusted)
        with socket.create_connection((address, 2379), timeout=10) as plain, context.wrap_socket(plain, server_hostname=host) as secured:
            secured.sendall(f"GET /version HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            said = b"".join(iter(lambda: secured.recv(4096), b""))
        assert b"etcdserver" in said, said

    def stays_there(self, state, before):
        """Checks that `state()` is still `before` after the garbage collector has run, which the deletion of an orphaned marker
        shows."""
        owned = {"metadata": {"name": "marker", "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "0c9b3f6e-0000-4000-8000-000000000000"}]}}
        self.api.create(f"{CORE}/configmaps", owned)
        eventually("the garbage collector has run", lambda: self.api.find(f"{CORE}/configmaps/marker") is None)
        assert state() == before, state()

    def member_address(self):
        """A member whose peer URL is an address keeps pod and disk, and repairs continue."""
        name = "moved"
        with self.brief(name):
            kept, pod = self.members_and_disks(name), self.follower(name)
            address = self.pods(name)[pod]["status"]["podIP"]
            named = next(each["peerURLs"] for each in self.listed(name) if each["name"] == pod)
            self.move(name, pod, [f"http://{address}:2380"])
            self.stays(name, 5, lambda: (self.members_and_disks(name)[1], self.uids(name)))
            other = next(each for each in sorted(self.pods(name)) if each not in (pod, self.leader(name)))
            self.comes_back(name, other)
            self.move(name, pod, named)
            self.until_ready("after the peer URL is restored", name)
            assert self.members_and_disks(name) == kept

    def listed(self, name):
        return self.one(name, "/v3/cluster/member/list", {})["members"]

    def move(self, name, pod, urls):
        identity = next(each["ID"] for each in self.listed(name) if each["name"] == pod)
        self.one(name, "/v3/cluster/member/update", {"ID": identity, "peerURLs": urls})

    def one(self, name, path, body):
        """Sends a POST to the leader and returns the answer."""
        address = self.pods(name)[self.leader(name)]["status"]["podIP"]
        return post(address, path, body)
