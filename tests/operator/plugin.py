"""The plugin `kubectl witan`: kubectl finds it on the PATH, and it connects to members through the API server. Golden files in
`operator/kubectl/testdata` test its output. The helpers are in `trouble.py`, `drive.py` and `backups.py`."""

import base64
import contextlib
import json
import os
import subprocess
import tarfile

from api import MERGE, encoded, eventually
from backups import BACKUPS, SCHEDULES
from kubelet import Kubelet
from node import NODES, Nodes
from trouble import CLUSTERS, CORE, DELETE

# address of the machine, which the API server reaches
ADDRESS = "192.0.2.10"
PASSWORD = "for the plugin"


class Plugin:
    """Mixin for `Drive`."""

    def witan(self, *arguments, fails=False, text=None):
        """Runs `kubectl witan`. Returns stdout, or stderr if the command must fail."""
        folder = self.world.path("plugins")
        if not os.path.isdir(folder):
            os.makedirs(folder)
            os.symlink(os.environ["OPERATOR_BIN"], os.path.join(folder, "kubectl-witan"))
        environment = {**os.environ, "KUBECONFIG": self.world.kubeconfig, "PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run([f"{self.world.kube}/kubectl", "witan", *arguments, "-n", "prod"], input=text, capture_output=True, text=True,
                              cwd=self.world.folder, env=environment, timeout=180)
        assert (done.returncode != 0) == fails, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stderr if fails else done.stdout

    @contextlib.contextmanager
    def kubelets(self):
        """Lets the simulated nodes answer the API server. A real kubelet already does."""
        if not isinstance(self.node, Nodes):
            yield
            return
        kubelet = Kubelet(self.api, self.world.folder, ADDRESS)
        status = {"addresses": [{"type": "InternalIP", "address": ADDRESS}], "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port}}}
        try:
            for name in NODES:
                self.api.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, MERGE)
            yield
        finally:
            kubelet.end()

    def row(self, text, name):
        """Returns the cells of the table row that starts with this name."""
        return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])

    def key(self, cluster, key):
        """Returns the value of a key, or None."""
        answer = next(iter(self.ask(cluster, "/v3/kv/range", {"key": encoded(key)}).values()))
        return base64.b64decode(answer["kvs"][0]["value"]).decode() if answer.get("kvs") else None

    # cases

    def plugin_status(self):
        """A user inspects a cluster, takes and restores a backup, and collects a report."""
        with self.brief("shown", writes=False, options={"extraArgs": {"flight-recorder-megabytes": "8"}}), self.kubelets():
            text = eventually("the plugin shows all members", lambda: (lambda text: text if "WHY" in text else None)(self.witan("status", "shown")))
            assert "Cluster in healthy state" in text and "Last backup  none" in text, text
            assert self.row(text, self.leader("shown"))[2:4] == ["leader", "yes"], text
            assert json.loads(self.witan("status", "shown", "-o", "json"))["cluster"]["metadata"]["name"] == "shown"
            assert 'etcdclusters.witan.dev "absent" not found' in self.witan("status", "absent", fails=True)
            self.put("shown", "kept", "a value of mine")
            self.backed_up_and_restored()
            self.witan("report", "shown", "--file", "report.tar.gz", "--operator-namespace", "witan-system")
            with tarfile.open(self.world.path("report.tar.gz")) as archive:
                files = {name: archive.extractfile(name).read() for name in archive.getnames()}
            recordings = {name: files.pop(name) for name in list(files) if name.startswith("report/recordings/")}
            assert not any(b"a value of mine" in recording for recording in recordings.values()), "the report contains a value"
            self.replayed(recordings)
            files = {name: text.decode() for name, text in files.items()}
            assert "Cluster in healthy state" in files["report/status.txt"], files
            assert "etcd_server_has_leader 1" in files["report/metrics/shown-0.txt"], sorted(files)
            assert files["report/logs/shown-0.log"], sorted(files)
            assert not any("a value of mine" in text for text in files.values()), "the report contains a value"

    def replayed(self, recordings):
        """Checks that the recordings of all members can be replayed."""
        assert sorted(recordings) == [f"report/recordings/shown-{number}.rec" for number in range(3)], sorted(recordings)
        for name, recording in recordings.items():
            path = self.world.path(os.path.basename(name))
            with open(path, "wb") as file:
                file.write(recording)
            done = subprocess.run([os.environ["WITAN_BIN"], "replay", path, "--to", "0"], capture_output=True, text=True, timeout=180)
            assert done.returncode == 0 and ": reproduced " in done.stdout, f"{name}: {done.stdout}{done.stderr}"

    def backed_up_and_restored(self):
        spec = {"clusterRef": {"name": "shown"}, "schedule": "0 0 1 1 *", "store": self.s3()}
        self.api.create(SCHEDULES, {"apiVersion": "witan.dev/v1", "kind": "EtcdBackupSchedule", "metadata": {"name": "yearly"}, "spec": spec})
        try:
            assert "succeeded: revision" in self.witan("backup", "shown", "--like", "yearly", "--name", "by-plugin", "--wait")
            text = self.witan("status", "shown")
            assert "Last backup  by-plugin" in text and self.row(text, "yearly"), text
            assert "bootstrap" in self.witan("restore", "again", "--from", "by-plugin", "--dry-run") and not self.api.find(f"{CLUSTERS}/again")
            self.witan("restore", "again", "--from", "by-plugin")
            self.until_ready("a cluster that the plugin has restored", "again")
            assert self.key("again", "kept") == "a value of mine"
            self.restored_in_place("again")
        finally:
            self.remove("again")
            self.api.delete(f"{SCHEDULES}/yearly")
            self.api.delete(f"{BACKUPS}/by-plugin")

    def restored_in_place(self, name):
        """Restores the backup in place after the cluster's name was typed, then returns to the later writes."""
        self.put(name, "kept", "another value")
        restore = ["restore", name, "--from", "by-plugin", "--in-place", "--wait"]
        assert "nothing to undo" in self.witan("restore", name, "--undo", "--yes", fails=True)
        said = self.witan(*restore, fails=True, text="other\n")
        assert "in namespace prod of https://" in said and "nothing was changed" in said, said
        assert self.key(name, "kept") == "another value"
        assert "succeeded: the cluster serves the data of" in self.witan(*restore, text=f"{name}\n")
        eventually("the restored cluster is seen", lambda: self.is_ready(name))
        assert self.key(name, "kept") == "a value of mine" and "Restored     from" in self.witan("status", name)
        assert "succeeded: the cluster serves from" in self.witan("restore", name, "--undo", "--yes", "--wait")
        eventually("the cluster of the old disks is seen", lambda: self.is_ready(name))
        assert self.key(name, "kept") == "another value"

    def plugin_acts(self):
        """A user moves the leader, reads and reverts keys, restarts, replaces, and forces a new cluster."""
        with self.brief("moved", writes=False), self.kubelets():
            follower = next(pod for pod in sorted(self.pods("moved")) if pod != self.leader("moved"))
            assert self.witan("move-leader", "moved", follower, "--wait").endswith(f"succeeded: {follower} is the leader\n")
            eventually("the operator sees the leader", lambda: self.leader("moved") == follower)
            assert "is not a voter" in self.witan("move-leader", "moved", "moved-9", "--wait", fails=True)
            members = ",".join(f"{pod['status']['podIP']}:2379" for pod in self.pods("moved").values())
            assert "0 keys, about 0 B" in self.witan("top", "moved", "--endpoints", members), "top needs the API server"
            self.keys_of_plugin()
            ids, uids = lambda: self.members_and_disks("moved")[0], lambda: set(self.uids("moved").values())
            before, pods = ids(), uids()
            assert "succeeded: all members have been restarted" in self.witan("restart", "moved", "--wait")
            eventually("all pods are new", lambda: self.is_ready("moved") and not pods & uids())
            assert "a new member has replaced moved-2" in self.witan("replace", "moved", "moved-2", "--wait")
            eventually("another member has replaced it", lambda: before["moved-2"] not in ids().values() and self.is_ready("moved"))
            assert "a quorum serves" in self.witan("recover", "moved", "moved-0", "--yes", fails=True)
            self.recovered()
        self.with_users()

    def keys_of_plugin(self):
        for key, value in (("/a/x/1", "old"), ("/a/x/2", "kept"), ("/b/y/1", "other")):
            self.put("moved", key, value)
        revision = json.loads(self.witan("history", "moved", "/b/y/1", "-o", "json"))["versions"][0]["revision"]
        for key, value in (("/a/x/1", "new"), ("/a/x/3", "added")):
            self.put("moved", key, value)
        assert self.row(self.witan("top", "moved"), "/a/x/")[1] == "3"
        values = [line.split()[-1] for line in self.witan("history", "moved", "/a/x/1").splitlines()[1:-1]]
        # every member has received a put
        assert list(dict.fromkeys(values)) == ["new", "old"], values
        assert "2 differences" in self.witan("diff", "moved", f"/a/@{revision}")
        assert "nothing was changed" in self.witan("revert", "moved", f"/a/@{revision}") and self.key("moved", "/a/x/1") == "new"
        self.witan("revert", "moved", f"/a/@{revision}", "--yes")
        assert (self.key("moved", "/a/x/1"), self.key("moved", "/a/x/3"), self.key("moved", "/b/y/1")) == ("old", None, "other")
        assert "no key differs" not in self.witan("diff", "moved", f"/a/@{revision}"), "a reverted key must differ by its revision"

    def recovered(self):
        """Two of three disks are lost: the plugin names the survivor after the cluster's name was typed."""
        survivor = next(pod for pod in sorted(self.pods("moved")))
        for pod in sorted(self.pods("moved"))[1:]:
            self.give_up_disk(pod)
            self.api.delete(f"{CORE}/pods/{pod}?gracePeriodSeconds=0")
        lost = lambda: "Available" in self.witan("status", "moved") and "False" in self.witan("status", "moved")
        eventually("the quorum is lost", lost)
        assert "nothing was changed" in eventually("the quorum is lost for the plugin", lambda: self.refused_recovery(survivor))
        assert "etcdoperation/moved-recover-" in self.witan("recover", "moved", survivor, text="moved\n")
        self.until_ready("after the loss of a quorum", "moved", patience_s=180)
        assert self.key("moved", "/a/x/1") == "old"

    def refused_recovery(self, survivor):
        said = self.witan("recover", "moved", survivor, fails=True, text="other\n")
        return said if "a quorum serves" not in said else None

    def with_users(self):
        """Certificates and root's password come from the cluster's secrets."""
        self.api.create(f"{CORE}/secrets", {"metadata": {"name": "locked-root"}, "stringData": {"username": "root", "password": PASSWORD}})
        try:
            self.apply("locked", replicas=1, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE,
                       tls={"client": {"managed": {}}, "peer": {"managed": {}}}, auth={"enabled": True, "rootCredentialsSecretRef": {"name": "locked-root"}})
            self.until_ready("a cluster with users", "locked", 1)
            with self.kubelets():
                assert "0 keys, about 0 B" in self.witan("top", "locked")
                assert "succeeded: locked-0 is already the leader" in self.witan("move-leader", "locked", "locked-0", "--wait")
            assert "locked-operator-tls" in self.witan("status", "locked")
        finally:
            self.remove("locked")
            self.api.delete(f"{CORE}/secrets/locked-root")
