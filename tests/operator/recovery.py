"""A permanently lost quorum: most disks of a cluster are lost, and a user forces a new cluster from the surviving member.

The helpers are in `trouble.py` and `drive.py`."""

import os
import shutil

from api import condition, eventually
from trouble import CORE


class Recovery:
    """Mixin for `Drive`."""

    def lose_quorum(self, name, survivor):
        """Deletes the disks and pods of all members except the survivor."""
        others = [pod for pod in self.pods(name) if pod != survivor]
        for pod in others:
            self.give_up_disk(pod)
            self.api.delete(f"{CORE}/pods/{pod}?gracePeriodSeconds=0")
        eventually("their disks are gone", lambda: not any(self.api.find(f"{CORE}/persistentvolumeclaims/data-{pod}") for pod in others))

    def recover(self, name, survivor, operation):
        self.operate(operation, name, recoverQuorum={"survivor": survivor})

    def recovery(self, name):
        return self.cluster(name).get("status", {}).get("recovery", {})

    def recover_quorum(self):
        """Two of three disks are lost while a client writes. The operator waits for an EtcdOperation. Then the survivor continues
        with all acknowledged writes, and two new members join it. A second loss needs a second operation."""
        name = "reduced"
        with self.brief(name):
            survivor, identity = self.leader(name), self.cluster(name)["status"]["clusterID"]
            members, disks = self.members_and_disks(name)
            self.lose_quorum(name, survivor)
            self.degraded(name, "too few voters serve", f"recoverQuorum and the survivor {survivor}")
            self.recover(name, survivor.replace("-", "_"), "mistyped")
            assert "is not a member" in self.until_phase("mistyped", "Failed")["message"]
            self.stays(name, 5, lambda: self.api.get(f"{CORE}/pods/{survivor}")["metadata"]["uid"])
            self.recover(name, survivor, "first-loss")
            self.until_phase("first-loss", "Succeeded", patience_s=180)
            self.until_ready("a recovered cluster", name, patience_s=180)
            eventually("the record of the recovery is cleared", lambda: not self.recovery(name))
            assert self.cluster(name)["status"]["clusterID"] == identity
            now, kept = self.members_and_disks(name)
            assert now[survivor] == members[survivor] and kept[f"data-{survivor}"] == disks[f"data-{survivor}"], (members, now)
            assert not set(now.values()) & {members[each] for each in members if each != survivor}, "the other members are not new"
            args = self.api.get(f"{CORE}/pods/{survivor}")["spec"]["containers"][0]["args"]
            assert "--force-new-cluster" not in args, args
            # the leader has all acknowledged writes
            survivor = self.leader(name)
            self.lose_quorum(name, survivor)
            self.degraded(name, "too few voters serve")
            self.stays(name, 5, lambda: not self.recovery(name))
            assert condition(self.cluster(name), "Available")[0] != "True"
            self.recover(name, survivor, "second-loss")
            self.until_phase("second-loss", "Succeeded", patience_s=180)
            self.until_ready("a cluster that was recovered twice", name, patience_s=180)

    def recover_old_disks(self):
        """Members whose disks return after the recovery do not take part: their disks are kept but not used, although the cluster
        deletes the disks of removed members."""
        name = "outvoted"
        with self.brief(name):
            survivor = self.leader(name)
            others = [pod for pod in self.pods(name) if pod != survivor]
            _, disks = self.members_and_disks(name)
            nodes = {self.node_of(name, pod) for pod in others}
            assert self.node_of(name, survivor) not in nodes
            for node in nodes:
                self.node.lose(node)
            try:
                self.degraded(name, "too few voters serve")
                self.recover(name, survivor, "after-loss")
                eventually("the recovery has begun", lambda: self.recovery(name).get("phase") == "Running")
                args = lambda: self.api.get(f"{CORE}/pods/{survivor}")["spec"]["containers"][0]["args"]
                self.stays(name, 5, lambda: "--force-new-cluster" in args())
                assert "--force-new-cluster" not in args(), "the recovery started although pods of lost nodes may run"
            finally:
                for node in nodes:
                    self.node.resume(node)
            self.until_ready("a recovered cluster", name, patience_s=240)
            _, now = self.members_and_disks(name)
            assert all(now.get(f"data-{pod}") == disks[f"data-{pod}"] for pod in others), "disks of lost members were deleted"
            assert not set(others) & set(self.pods(name)), "lost members were started"

    def emptied_disks(self):
        """Two disks are emptied while the last member is down. The containers restart in their pods, and the members do not form an
        empty cluster. The last member still has all acknowledged writes."""
        name = "emptied"
        with self.brief(name):
            survivor = self.leader(name)
            others = [pod for pod in self.pods(name) if pod != survivor]
            state = "witan.dev/initial-cluster-state"
            eventually("the pods belong to an existing cluster", lambda: all(pod["metadata"]["annotations"].get(state) != "new" for pod in self.pods(name).values()))
            last, nodes = self.node_of(name, survivor), {self.node_of(name, pod) for pod in others}
            assert last not in nodes
            for node in nodes:
                self.node.lose(node)
            try:
                for pod in others:
                    claim = self.api.get(f"{CORE}/persistentvolumeclaims/data-{pod}")
                    volume = self.api.get(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}")
                    shutil.rmtree(os.path.join(volume["spec"]["hostPath"]["path"], "data"))
                self.node.lose(last)
            finally:
                for node in nodes:
                    self.node.resume(node)
            try:
                state_of = lambda pod: self.pods(name)[pod]["status"]["containerStatuses"][0]
                eventually("the containers run again", lambda: all("running" in state_of(pod)["state"] and not state_of(pod)["ready"] for pod in others))
                self.stays(name, 10, lambda: [pod for pod in others if state_of(pod)["ready"]])
            finally:
                self.node.resume(last)
            self.degraded(name, "too few voters serve")
            self.recover(name, survivor, "after-emptied")
            self.until_phase("after-emptied", "Succeeded", patience_s=180)
            self.until_ready("a recovered cluster", name, patience_s=180)
