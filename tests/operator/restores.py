"""A cluster is restored in place and returns to its old disks, while the operator is killed at each stage.

The helpers are in `trouble.py`, `drive.py`, `backups.py` and `operations.py`."""

from api import condition, encoded, eventually
from operations import OPERATIONS


class Restores:
    """Mixin for `Drive`."""

    def restore_record(self, name):
        return self.cluster(name).get("status", {}).get("restore", {})

    def has_key(self, name, key):
        """Returns whether all members have a key. Fails if only some have it."""
        found = {bool(answer.get("kvs")) for answer in self.ask(name, "/v3/kv/range", {"key": encoded(key)}).values()}
        assert len(found) == 1, found
        return found.pop()

    def kill_at(self, name, *stages):
        """Kills the operator when the record of the restore has reached each of these stages, or a later one."""
        order = ("", "Stopping", "Starting", "Done")
        for stage in stages:
            eventually(f"the restore is {stage}", lambda stage=stage: order.index(self.restore_record(name).get("phase", "")) >= order.index(stage), 90)
            self.restart_operator()

    def until_restored(self, operation, name):
        status = self.until_phase(operation, "Succeeded", "Failed", patience_s=240)
        assert status["phase"] == "Succeeded" and len({each["hash"] for each in status["hashes"]}) == 1 and len(status["hashes"]) == 3, status
        self.until_ready("a restored cluster", name)
        return status

    # cases

    def restore_in_place(self):
        """A backup, more writes, and a restore in the same EtcdCluster: the keys of the backup with an equal hash. The old disks
        are kept, and used again with all their writes."""
        name = "rewound"
        with self.brief(name):
            self.back_up("good", name, self.s3())
            revision = self.stored("good")["revision"]
            then, _ = self.hash_at(name, revision)
            self.put(name, "since", "the backup")
            self.all_acknowledged_are_there(name)
            # the writes since the backup will be missing
            self.writers.pop(name).end()
            now = self.hash_at(name)
            members, disks = self.members_and_disks(name)
            identity, pods = self.cluster(name)["status"]["clusterID"], self.uids(name)
            place = {"store": self.s3(prefix=f"etcd/prod/{name}"), "name": "absent"}
            self.operate("wrong", name, restore=place)
            failed = self.until_phase("wrong", "Failed")
            assert "no member was stopped" in failed["message"] and "absent" in failed["message"], failed
            assert self.uids(name) == pods and not self.restore_record(name), "the restore was started"
            self.operate("late", name, restore={"backupRef": {"name": "good"}}, activeDeadlineSeconds=1)
            late = self.until_phase("late", "Failed")
            assert condition({"status": late}, "Succeeded")[1] == "DeadlineExceeded", late
            assert self.uids(name) == pods and not self.restore_record(name), "the restore was started"
            self.operate("again", name, restore={"backupRef": {"name": "good"}})
            self.until_phase("again", "Running")
            self.restart_operator()
            self.operate("waits", name, consistencyCheck={})
            self.kill_at(name, "Stopping", "Starting")
            status = self.until_restored("again", name)
            self.until_phase("waits", "Succeeded")
            assert self.hash_at(name, revision)[0] == then, "the keys differ from the backup's"
            assert not self.has_key(name, "since"), "a key from after the backup exists"
            after, kept = self.members_and_disks(name)
            assert not set(after.values()) & set(members.values()), (members, after)
            assert self.cluster(name)["status"]["clusterID"] != identity
            assert all(kept.get(disk) == uid for disk, uid in disks.items()), (disks, kept)
            assert all(disk in status["message"] for disk in disks) and "kubectl delete pvc" in status["message"], status["message"]
            self.put(name, "later", "in the restored cluster")
            self.operate("back", name, undoRestore={})
            self.kill_at(name, "Stopping")
            self.until_restored("back", name)
            after, kept = self.members_and_disks(name)
            assert {each: after.get(each) for each in members} == members and self.cluster(name)["status"]["clusterID"] == identity
            assert self.has_key(name, "since") and not self.has_key(name, "later"), "the old disks have other keys"
            assert self.hash_at(name, int(now[1]))[0] == now[0]
            # a pod that is lost later is recreated as usual
            self.write(name)
            self.comes_back(name, self.follower(name))
            self.until_ready("after a pod is recreated", name)
        self.forget("good")

    def restored_once(self):
        """A GitOps controller applies a restore again, a restore is older than its cluster, and an undo is repeated: nothing is
        restored against the user's intent, and no acknowledged write is lost."""
        name = "gitops"
        restore = {"restore": {"backupRef": {"name": "monday"}}}
        # for a cluster that does not exist yet
        self.operate("yesterday", name, restore={"store": self.s3(), "name": "absent"})
        self.until_phase("yesterday", "Pending")
        with self.brief(name):
            self.refused("yesterday", "ClusterIsYounger")
            self.back_up("monday", name, self.s3())
            self.stored("monday")
            self.writers.pop(name).end()
            self.operate("to-monday", name, **restore)
            self.until_restored("to-monday", name)
            self.write(name)
            self.put(name, "wednesday", "written")
            record = self.restore_record(name)
            self.api.delete(f"{OPERATIONS}/to-monday")
            eventually("the operation is deleted", lambda: self.api.find(f"{OPERATIONS}/to-monday") is None)
            self.operate("to-monday", name, **restore)
            self.refused("to-monday", "AlreadyDone")
            self.operate("third", name, **restore)
            assert "forgetKeptDisks" in self.until_phase("third", "Failed")["message"]
            assert self.restore_record(name) == record and self.has_key(name, "wednesday"), "the cluster was restored again"
            self.all_acknowledged_are_there(name)
            self.writers.pop(name).end()
            self.operate("back", name, undoRestore={})
            self.until_restored("back", name)
            pods = self.uids(name)
            assert "nothing to do" in self.succeeds("back-again", name, undoRestore={})["message"]
            assert self.uids(name) == pods
        self.forget("monday")

    def refused(self, operation, reason):
        status = self.until_phase(operation, "Failed")
        assert condition({"status": status}, "Succeeded")[1] == reason, status
