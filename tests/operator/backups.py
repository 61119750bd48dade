"""Backups and restores to a bucket of a real S3 server with TLS and to a volume: on a schedule, of clusters with certificates and
users, and under faults. The helpers are in `trouble.py`, `drive.py` and `store.py`."""

import json
import os
import random
import time

from api import condition, eventually
from documents import ROOT, blocks
from names import ADDRESS
from store import BUCKET, REGION, Store, open_for_pods
from trouble import CORE, DELETE

GROUP = "/apis/witan.dev/v1/namespaces/prod"
BACKUPS, SCHEDULES, JOBS = f"{GROUP}/etcdbackups", f"{GROUP}/etcdbackupschedules", "/apis/batch/v1/namespaces/prod/jobs"
VOLUME = "backups"
# kills of the operator while backups run
KILLS = 6


class Backups:
    """Mixin for `Drive`."""

    def object_store(self):
        """Returns the store. The first call creates it, and the secrets with which pods reach it."""
        if not hasattr(self, "bucket"):
            self.bucket = open_for_pods(os.environ["S3_BIN"], self.world, self.names)
            with open(os.path.join(self.bucket.folder, "ca.crt")) as file:
                authority = file.read()
            for name, data in (("s3", self.bucket.variables()), ("s3-wrong", self.bucket.variables(right=False)), ("s3-ca", {"ca.crt": authority})):
                self.api.create(f"{CORE}/secrets", {"metadata": {"name": name}, "stringData": data})
        return self.bucket

    def s3(self, credentials="s3", **more):
        place = {"bucket": BUCKET, "prefix": "etcd", "endpoint": self.object_store().url, "region": REGION, "pathStyle": True}
        return {"s3": {**place, "credentialsSecretRef": {"name": credentials}, "caSecretRef": {"name": "s3-ca"}, **more}}

    def back_up(self, name, cluster, store, **spec):
        self.api.create(BACKUPS, {"apiVersion": "witan.dev/v1", "kind": "EtcdBackup", "metadata": {"name": name}, "spec": {"clusterRef": {"name": cluster}, "store": store, **spec}})

    def phase(self, name):
        return self.backup_status(name).get("phase")

    def backup_status(self, name):
        return self.api.get(f"{BACKUPS}/{name}").get("status", {})

    def stored(self, name, patience_s=90):
        """Waits until a backup has succeeded and returns its status."""
        phase = eventually(f"backup {name} ends", lambda: self.phase(name) if self.phase(name) in ("Succeeded", "Failed") else None, patience_s)
        status = self.backup_status(name)
        assert phase == "Succeeded" and condition({"status": status}, "Succeeded")[0] == "True", status
        return status

    def forget(self, *names):
        for name in names:
            self.api.delete(f"{BACKUPS}/{name}")

    def hash_at(self, name, revision=0):
        """Returns the common hash of all members' keys at a revision, and that revision; 0 is the newest revision of a cluster
        without writers. Waits, because a member may lag."""
        def equal():
            answers = self.ask(name, "/v3/maintenance/hashkv", {"revision": revision}).values()
            found = {(answer["hash"], answer["hash_revision"]) for answer in answers}
            return found.pop() if len(found) == 1 else None

        return eventually("all members have the same keys", equal)

    # cases

    def backup_restore(self):
        """A backup to a bucket under writes. Cluster and disks are lost. Two clusters are restored from the backup, with equal
        hashes."""
        with self.brief("kept"):
            self.back_up("first", "kept", self.s3(serverSideEncryption="AES256"), verify="Restore")
            status = self.stored("first")
            assert not status.get("message"), f"the restored keys were not compared: {status}"
            with open(self.bucket.path(f"etcd/prod/kept/{status['name']}.json")) as file:
                record = json.load(file)
            assert record["keysHash"]["hash"] == int(self.hash_at("kept", record["revision"])[0]), record
            keys = [key for key in self.bucket.keys("etcd/prod/kept/")]
            assert keys == [f"etcd/prod/kept/{status['name']}.{end}" for end in ("db", "json")], keys
            assert os.path.getsize(self.bucket.path(keys[0])) == status["bytes"], status
            job = self.api.get(f"{JOBS}/first")
            assert job["status"]["succeeded"] == 1 and not job["status"].get("failed"), job["status"]
            restore = {"restore": {"backupRef": {"name": "first"}}}
            self.apply("again", replicas=3, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE, bootstrap=restore)
            self.until_ready("a restored cluster", "again")
            _, revision = self.hash_at("again")
            assert int(revision) >= status["revision"], (revision, status)
            assert self.hash_at("again", int(revision))[0] == self.hash_at("kept", int(revision))[0], "the keys differ from the source's"
        try:
            # the restored cluster owns the disks, so a lost pod returns with later writes
            self.put("again", "since", "restored")
            self.api.delete(f"{CORE}/pods/again-0?gracePeriodSeconds=0")
            eventually("a member is back", lambda: self.is_ready("again") and "again-0" in self.pods("again"))
            assert self.has_key("again", "since")
            self.forget("first")
            assert self.bucket.keys("etcd/prod/kept/") == keys, "the files were deleted with the resource"
            place = {"store": self.s3(prefix="etcd/prod/kept"), "name": status["name"], "bumpRevision": 1000000}
            self.apply("raised", replicas=1, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE, bootstrap={"restore": place})
            self.until_ready("a cluster that is restored from files", "raised", 1)
            assert int(self.hash_at("raised")[1]) == int(revision) + 1000000
        finally:
            for name in ("again", "raised"):
                self.remove(name)

    def backup_volume(self):
        """A backup to a volume, and a cluster that is restored from it."""
        claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        self.api.create(f"{CORE}/persistentvolumeclaims", {"metadata": {"name": VOLUME}, "spec": claim})
        store = {"persistentVolumeClaim": {"claimName": VOLUME, "prefix": "etcd"}}
        try:
            with self.brief("disk", replicas=1, writes=False):
                self.put("disk", "kept", "on a volume")
                self.back_up("onto-volume", "disk", store, verify="Restore")
                self.stored("onto-volume")
            bootstrap = {"restore": {"backupRef": {"name": "onto-volume"}}}
            self.apply("disk", replicas=3, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE, bootstrap=bootstrap)
            self.until_ready("a cluster that is restored from a volume", "disk")
            assert self.has_key("disk", "kept")
        finally:
            self.remove("disk")
            self.forget("onto-volume")
            self.api.delete(f"{CORE}/persistentvolumeclaims/{VOLUME}")

    def backup_troubles(self):
        """Wrong credentials, a missing secret, a missing cluster, a store that is down for a while: each is reported, and the
        backup continues once the fault is fixed."""
        wrong = ("refused", "no-secret", "nobody", "down")
        try:
            with self.brief("plagued", replicas=1, writes=False):
                self.object_store()
                self.back_up("refused", "plagued", self.s3("s3-wrong"), timeout="15s")
                eventually("the first backup runs", lambda: self.phase("refused") == "Running")
                self.back_up("no-secret", "plagued", self.s3("absent"))
                self.back_up("nobody", "absent", self.s3())
                self.backup_says("no-secret", "Pending", "waiting for EtcdBackup refused")
                self.backup_says("nobody", "Pending", "EtcdCluster absent does not exist")
                self.backup_says("refused", "Failed", "AWS_SECRET_ACCESS_KEY")
                assert self.api.get(f"{BACKUPS}/refused")["status"]["conditions"][0]["reason"] == "WrongCredentials"
                self.backup_says("no-secret", "Running", "absent")
                self.api.create(f"{CORE}/secrets", {"metadata": {"name": "absent"}, "stringData": self.bucket.variables()})
                self.stored("no-secret")
                self.bucket.stop()
                try:
                    self.back_up("down", "plagued", self.s3())
                    time.sleep(3)
                finally:
                    self.bucket.start()
                self.stored("down", 180)
                # a cluster that is restored from a missing backup reports this, and starts once the backup exists
                self.apply("early", replicas=1, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE, bootstrap={"restore": {"backupRef": {"name": "late"}}})
                self.degraded("early", "EtcdBackup late", "does not exist")
                assert not self.pods("early"), "the cluster started without its backup"
                self.back_up("late", "plagued", self.s3())
                self.until_ready("a cluster after its backup exists", "early", 1)
        finally:
            self.remove("early")
            self.forget(*wrong, "late")
            self.api.delete(f"{CORE}/secrets/absent")

    def backup_says(self, name, phase, words):
        says = lambda: self.backup_status(name).get("message", "")
        eventually(f"backup {name} is {phase} and says {words!r}", lambda: self.phase(name) == phase and words in says(), 60)

    def backup_schedule(self):
        """A schedule keeps its last backup and does not remove a manual backup. The gauges show their times."""
        with self.brief("minutely", replicas=1, writes=False):
            self.back_up("by-hand", "minutely", self.s3())
            self.stored("by-hand")
            spec = {"clusterRef": {"name": "minutely"}, "schedule": "* * * * *", "retention": {"keepLast": 1}, "store": self.s3()}
            self.api.create(SCHEDULES, {"apiVersion": "witan.dev/v1", "kind": "EtcdBackupSchedule", "metadata": {"name": "each-minute"}, "spec": spec})
            try:
                last = lambda: self.api.get(f"{SCHEDULES}/each-minute").get("status", {}).get("lastBackup")
                first = eventually("a backup of the schedule", last, 90)
                second = eventually("the next backup", lambda: last() if last() != first else None, 90)
                eventually("the first backup is removed", lambda: self.api.find(f"{BACKUPS}/{first}") is None)
                folder = "etcd/prod/minutely/each-minute/"
                ends = lambda: [key for key in self.bucket.keys(folder) if not key.startswith(folder + second)]
                eventually("the files of the first backup are removed", lambda: not ends())
                assert len(self.bucket.keys("etcd/prod/minutely/")) == 4, self.bucket.keys("etcd/prod/minutely/")
                status = self.api.get(f"{SCHEDULES}/each-minute")["status"]
                assert condition({"status": status}, "Ready")[0] == "True", status
                seconds = [line for line in self.world.operator_metrics().splitlines() if line.startswith("witan_operator_backup_schedule_last_success_timestamp_seconds")]
                assert abs(float(seconds[0].split()[-1]) - time.time()) < 120, seconds
            finally:
                self.api.delete(f"{SCHEDULES}/each-minute")
                for backup in self.api.items(f"{BACKUPS}?labelSelector=witan.dev/backup-schedule%3Deach-minute"):
                    self.forget(backup["metadata"]["name"])
                self.forget("by-hand")

    def point_in_time(self):
        """Changes are stored after a backup. Cluster and disks are lost, and a new cluster has the keys of a chosen time."""
        schedule = f"{SCHEDULES}/ticking"
        changes = lambda: self.api.get(schedule).get("status", {}).get("changes", {})
        stored_to = lambda revision: eventually(f"revision {revision} is stored", lambda: changes().get("lastRevision", 0) >= int(revision), 90)
        try:
            with self.brief("ticked", replicas=1, writes=False):
                spec = {"clusterRef": {"name": "ticked"}, "schedule": "0 0 1 1 *", "changes": {"everySeconds": 2}, "store": self.s3()}
                self.api.create(SCHEDULES, {"apiVersion": "witan.dev/v1", "kind": "EtcdBackupSchedule", "metadata": {"name": "ticking"}, "spec": spec})
                self.back_up("base", "ticked", self.s3(), folder="ticking")
                self.stored("base")
                self.put("ticked", "early", "since the backup")
                then, revision = self.hash_at("ticked")
                stored_to(revision)
                at = time.time()
                time.sleep(0.05)
                self.put("ticked", "late", "after the time")
                stored_to(self.hash_at("ticked")[1])
                eventually("the changes follow a backup", lambda: condition(self.api.get(schedule), "ChangesStored")[0] == "True")
                gauge = "witan_operator_backup_changes_last_timestamp_seconds"
                seconds = [line for line in self.world.operator_metrics().splitlines() if line.startswith(gauge)]
                assert abs(float(seconds[0].split()[-1]) - time.time()) < 60, seconds
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03}Z"
            bootstrap = {"restore": {"backupRef": {"name": "base"}, "toTime": moment}}
            self.apply("again", replicas=3, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE, bootstrap=bootstrap)
            self.until_ready("a cluster at a point in time", "again")
            assert self.hash_at("again") == (then, revision), (self.hash_at("again"), then, revision)
            assert self.cluster("again")["status"]["restoredRevision"] == int(revision), self.cluster("again")["status"]
            # the cluster is gone, so there are no changes to store
            running = lambda: self.api.items(f"{CORE}/pods?labelSelector=witan.dev/backup-changes%3Dticking")
            eventually("the pod that stores changes ends", lambda: not running())
        finally:
            self.remove("again")
            self.api.delete(schedule)
            self.forget("base")

    def backup_kills(self):
        """The operator is killed repeatedly while backups run: each backup has one job and succeeds once."""
        chance = random.Random(int(os.environ.get("OPERATOR_SEED", "1")))
        with self.brief("killed", replicas=1, writes=False):
            names = [f"kill-{number}" for number in range(KILLS)]
            try:
                for name in names:
                    self.back_up(name, "killed", self.s3())
                    time.sleep(chance.uniform(0, 0.8))
                    self.restart_operator()
                for name in names:
                    self.stored(name)
                    assert self.api.get(f"{JOBS}/{name}")["status"]["succeeded"] == 1
                assert len(self.bucket.keys("etcd/prod/killed/")) == 2 * KILLS, self.bucket.keys("etcd/prod/killed/")
            finally:
                self.forget(*names)

    def backup_users(self):
        """A restored cluster with certificates has the users of its backup."""
        self.api.create(f"{CORE}/secrets", {"metadata": {"name": "guarded-root"}, "stringData": {"username": "root", "password": "for a backup"}})
        secure = {"tls": {"client": {"managed": {}}, "peer": {"managed": {}}}, "auth": {"enabled": True, "rootCredentialsSecretRef": {"name": "guarded-root"}}}
        try:
            self.apply("guarded", replicas=3, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE, **secure)
            self.until_ready("a cluster with users", "guarded")
            self.back_up("guarded", "guarded", self.s3(), verify="Restore")
            status = self.stored("guarded")
            assert status["clusterID"] == self.cluster("guarded")["status"]["clusterID"], status
            bootstrap = {"restore": {"backupRef": {"name": "guarded"}}}
            self.apply("guarded-again", replicas=3, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy=DELETE, bootstrap=bootstrap, **secure)
            self.until_ready("a restored cluster with users", "guarded-again")
            assert self.cluster("guarded-again")["status"]["clusterID"] != status["clusterID"]
        finally:
            self.remove("guarded-again")
            self.remove("guarded")
            self.forget("guarded")
            self.api.delete(f"{CORE}/secrets/guarded-root")

    def backup_documents(self):
        """The commands of docs/operating/kubernetes-backup.md, except those without Kubernetes."""
        page = "docs/operating/kubernetes-backup.md"
        made = (("etcdbackup", "before-upgrade"), ("etcdbackup", "plain-first"), ("etcdbackupschedule", "plain-daily"), ("secret", "s3"), ("etcdcluster", "restored"), ("etcdcluster", "rewound"))
        with open(os.path.join(ROOT, page)) as file:
            commands = [block for block in blocks(file.read()) if block.startswith("kubectl")]
        assert len(commands) == 4, commands
        folder = self.world.path("s3-page")
        store = Store(os.environ["S3_BIN"], folder, ADDRESS, port=9001, region="us-east-1")
        key = store.variables()
        given = {"KEY": key["AWS_ACCESS_KEY_ID"], "SECRET": key["AWS_SECRET_ACCESS_KEY"], "STORE": store.url}
        expected = (f"{each} condition met" for each in (
            "etcdbackup.witan.dev/before-upgrade", "etcdbackupschedule.witan.dev/plain-daily", "etcdcluster.witan.dev/restored", "etcdcluster.witan.dev/rewound"))
        try:
            with self.plain_cluster(*made):
                self.run_page(page, [*(f"export {name}={value}" for name, value in given.items()), *commands], "Succeeded", *expected)
                # The pod that stores changes can also save a backup, after-gap-TIME.
                kept = [key for key in store.keys("prod/default/plain/") if "/changes/" not in key and "/after-gap-" not in key]
                assert len(kept) == 4, store.keys()
        finally:
            store.stop()
        assert not self.api.items("/apis/witan.dev/v1/namespaces/default/etcdclusters")
