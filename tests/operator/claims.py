"""Claims of running members are deleted, lose their labels, or change their owner. No acknowledged write is lost.

The helpers are in `trouble.py` and `drive.py`."""

import contextlib
import threading
import time

from api import Refused, condition, eventually
from operations import OPERATIONS
from trouble import CLUSTERS, CORE

CLAIMS = f"{CORE}/persistentvolumeclaims"


class Claims:
    """Mixin for `Drive`."""

    @contextlib.contextmanager
    def voters_watched(self, name):
        """Yields a list that contains the lowest number of voters at the end."""
        lowest, seen, stop = [], [], threading.Event()

        def watch():
            while not stop.is_set():
                members = self.cluster(name)["status"].get("members", [])
                seen.append(sum(1 for member in members if not member.get("isLearner")))
                time.sleep(0.1)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield lowest
        finally:
            stop.set()
            thread.join()
            lowest.append(min(seen))

    # cases

    def claims_deleted(self):
        """All claims of a running cluster are deleted together, as for a change of the storage class. The API server refuses
        this until the claims allow it. Then each member is replaced while a quorum serves, and no write is lost."""
        name = "classless"
        with self.brief(name):
            before = self.claims(name)
            for pod in self.pods(name):
                try:
                    self.api.delete(f"{CLAIMS}/data-{pod}")
                except Refused as refusal:
                    assert "votes with this disk" in refusal.message and "witan.dev/allow-deletion" in refusal.message, refusal.message
                else:
                    raise AssertionError(f"the disk of {pod} was deleted")
            with self.voters_watched(name) as lowest:
                for pod in self.pods(name):
                    self.give_up_disk(pod)
                eventually("all disks are new", lambda: self.is_ready(name) and not before & self.claims(name), 240)
            assert lowest[0] >= 3, f"{lowest[0]} voters were left"

    def storage_changed(self):
        """The storage class changes, first to one that does not exist, and the size shrinks: each member is replaced by one with
        a new claim while a quorum serves. The operator is killed during the migration."""
        name = "moved"
        with self.brief(name, storage={"size": "2Gi"}):
            before = self.claims(name)
            with self.voters_watched(name) as lowest:
                self.change(name, storage={"size": "1Gi", "storageClassName": "fsat"})
                eventually("a claim of that class", lambda: "fsat" in self.classes(name))
                self.stays(name, 10, lambda: len(before & self.claims(name)))
                assert before <= self.claims(name), "no member is removed before its replacement votes"
                self.change(name, storage={"size": "1Gi", "storageClassName": "fast"})
                eventually("the first member has moved", lambda: len(before & self.claims(name)) < 3, 120)
                self.restart_operator()
                eventually("all members have moved", lambda: self.is_ready(name) and not before & self.claims(name), 240)
            assert lowest[0] >= 3, f"{lowest[0]} voters were left"
            assert self.classes(name) == {"fast"} and self.sizes(name) == {"1Gi"}, (self.classes(name), self.sizes(name))

    def storage_migrated(self):
        """An EtcdOperation replaces all claims with claims of the same spec, once."""
        name = "renewed"
        with self.brief(name):
            before, began = self.claims(name), time.monotonic()
            with self.voters_watched(name) as lowest:
                self.operate("migrate", name, migrateStorage={})
                self.until_phase("migrate", "Succeeded", patience_s=240)
            print(f"        migrated within {time.monotonic() - began:.0f} s, at least {lowest[0]} voters")
            assert lowest[0] >= 3, f"{lowest[0]} voters were left"
            eventually("the former disks are deleted", lambda: not before & self.claims(name))
            after = self.claims(name)
            assert len(after) == 3, after
            self.stays(name, 10, lambda: self.claims(name))
            assert self.claims(name) == after, "the members were migrated twice"
            self.change(name, replicas=1)
            self.until_ready("a single member", name, 1)
            (alone,) = self.claims(name)
            self.operate("migrate-alone", name, migrateStorage={})
            self.until_phase("migrate-alone", "Succeeded", patience_s=120)
            eventually("the single member has a new disk", lambda: len(self.claims(name)) == 1 and alone not in self.claims(name))
            # a deleted operation does not move other members
            self.change(name, replicas=3)
            self.until_ready("three members", name)
            before = self.claims(name)
            self.operate("canceled", name, migrateStorage={})
            eventually("the first member has moved", lambda: len(before & self.claims(name)) < 3, 120)
            self.api.delete(f"{OPERATIONS}/canceled")
            self.until_ready("a cluster whose migration was canceled", name)
            self.stays(name, 15, lambda: self.claims(name))
            assert len(before & self.claims(name)) == 2, "not exactly one member has moved"

    def claims_of(self, name):
        return [claim["spec"] for claim in self.api.items(f"{CLAIMS}?labelSelector=witan.dev/cluster%3D{name}")]

    def classes(self, name):
        return {claim["storageClassName"] for claim in self.claims_of(name)}

    def sizes(self, name):
        return {claim["resources"]["requests"]["storage"] for claim in self.claims_of(name)}

    def claim_label_removed(self):
        """The claim of a running member loses a label: the member keeps its disk, and the operator restores the label."""
        name = "unlabeled"
        with self.brief(name):
            kept, pods = self.members_and_disks(name), self.uids(name)
            path = f"{CLAIMS}/data-{self.follower(name)}"
            self.api.patch(path, {"metadata": {"labels": {"witan.dev/cluster": None}}})
            eventually("the label is back", lambda: self.api.get(path)["metadata"].get("labels", {}).get("witan.dev/cluster") == name)
            self.stays(name, 10, lambda: (self.members_and_disks(name), self.uids(name)))
            assert (self.members_and_disks(name), self.uids(name)) == (kept, pods)

    def retain_while_hibernated(self):
        """`whenDeleted` changes to Retain while no member runs: the disks outlive the cluster."""
        name = "asleep"
        with self.brief(name, writes=False):
            self.change(name, replicas=0)
            eventually("no pod is left", lambda: condition(self.cluster(name), "Hibernated")[0] == "True")
            self.change(name, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain"})
            found = lambda: self.cluster(name)
            eventually("the change is observed", lambda: found()["status"]["observedGeneration"] == found()["metadata"]["generation"])
            disks = self.claims(name)
            self.api.delete(f"{CLUSTERS}/{name}")
            eventually("the cluster is deleted", lambda: self.api.find(f"{CLUSTERS}/{name}") is None)
            self.apply("asleep-witness", replicas=1, storage={"size": "1Gi"})
            self.until_ready("another cluster, while the garbage collector runs", "asleep-witness", 1)
            self.remove("asleep-witness")
            assert self.claims(name) == disks, "disks were deleted"
