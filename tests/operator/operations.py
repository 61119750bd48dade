"""EtcdOperations: each verb on one cluster while a client writes, and an operator that is killed during an operation. The helpers
are in `trouble.py` and `drive.py`."""

import os

from api import condition, eventually
from documents import ROOT, blocks
from trouble import EVENTS

OPERATIONS = "/apis/witan.dev/v1/namespaces/prod/etcdoperations"
PAGE = "docs/operating/operations.md"


class Operations:
    """Mixin for `Drive`."""

    def operate(self, operation, cluster, **spec):
        self.api.create(OPERATIONS, {"apiVersion": "witan.dev/v1", "kind": "EtcdOperation", "metadata": {"name": operation}, "spec": {"clusterName": cluster, **spec}})

    def operation(self, name):
        """Returns the status of an operation. Also updates the clients' endpoints."""
        for cluster in self.writers:
            self.follow(self.pods(cluster), cluster)
        return self.api.get(f"{OPERATIONS}/{name}").get("status", {})

    def until_phase(self, operation, *phases, patience_s=120):
        eventually(f"operation {operation} is {phases}", lambda: self.operation(operation).get("phase") in phases, patience_s)
        return self.operation(operation)

    def succeeds(self, operation, cluster, **spec):
        self.operate(operation, cluster, **spec)
        status = self.until_phase(operation, "Succeeded", "Failed")
        assert status["phase"] == "Succeeded" and condition({"status": status}, "Succeeded")[0] == "True", status
        return status

    def forget_operations(self, cluster):
        for operation in self.api.items(OPERATIONS):
            if operation["spec"]["clusterName"] == cluster:
                self.api.delete(f"{OPERATIONS}/{operation['metadata']['name']}")

    def has_event(self, reason, text):
        return any(event.get("reason") == reason and text in event.get("note", "") for event in self.api.items(EVENTS))

    # cases

    def operations(self):
        """Each verb on one cluster, except those with their own cases (`rotate_authority`, `recover_quorum`, `storage_migrated`,
        `restore_in_place`): no write fails, and no operation runs twice."""
        name = "operated"
        with self.brief(name):
            self.moves(name)
            self.restarts_once(name)
            leader, before = self.leader(name), self.members_and_disks(name)[0]
            replaced = next(pod for pod in sorted(before) if pod != leader)
            self.succeeds("replace", name, replaceMember={"name": replaced})
            assert before[replaced] not in self.members_and_disks(name)[0].values(), "the new member has the old id"
            eventually("the request to the plan is withdrawn", lambda: "requests" not in self.cluster(name)["status"] or "operation" not in self.cluster(name)["status"]["requests"])
            self.until_ready("a cluster with a new member", name)
            counted = f'witan_operator_operations_total{{name="{name}",namespace="prod",result="succeeded",verb="ReplaceMember"}} 1'
            assert counted in self.world.operator_metrics()
            self.operate("early", name, recoverQuorum={"survivor": leader})
            assert "a quorum serves" in self.until_phase("early", "Failed")["message"]
            eventually("the first operation is deleted after ttlSecondsAfterFinished", lambda: self.api.find(f"{OPERATIONS}/move") is None)

    def moves(self, name):
        to = self.follower(name)
        status = self.succeeds("move", name, moveLeader={"to": to}, ttlSecondsAfterFinished=10)
        assert status["message"] == f"{to} is the leader" and status["requestedBy"], status
        eventually("the leader moves, and an event reports it", lambda: self.leader(name) == to and self.has_event("OperationSucceeded", "EtcdOperation move"))

    def restarts_once(self, name):
        """An operator that is killed during an operation continues it. The next operation waits."""
        before = self.uids(name)
        self.operate("restart", name, restart={})
        self.until_phase("restart", "Running")
        self.operate("check", name, consistencyCheck={})
        eventually("the next operation waits", lambda: "EtcdOperation restart" in self.operation("check").get("message", ""))
        eventually("a member has stopped", lambda: self.uids(name) != before)
        self.restart_operator()
        self.until_phase("restart", "Succeeded")
        after = self.uids(name)
        assert not set(before.values()) & set(after.values()), (before, after)
        status = self.until_phase("check", "Succeeded", "Failed")
        hashes = {each["hash"] for each in status["hashes"]}
        assert status["phase"] == "Succeeded" and len(hashes) == 1 and len(status["hashes"]) == 3, status
        self.restart_operator()
        self.stays(name, 5, lambda: self.uids(name))
        assert self.uids(name) == after, "the members were restarted twice"

    def operations_documents(self):
        """The commands of docs/operating/operations.md."""
        with open(os.path.join(ROOT, PAGE)) as file:
            commands = blocks(file.read())
        with self.plain_cluster(("etcdop", "check"), ("etcdop", "hand-over")):
            self.run_page(PAGE, commands, "etcdoperation.witan.dev/check condition met", "all 3 members have the same keys", "MoveLeader", "kubectl-create")
