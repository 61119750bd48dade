"""The cases: changes and faults of a cluster while a client writes continuously. Each case prints a row of the final table:
duration, failed writes, longest time without a write, kept and deleted disks, and the operator's steps, which are limited.

`node.py` runs pods, `world.py` the processes. Cases of faults around a cluster are in `trouble.py`, `refusals.py`, `outside.py`
and `same_name.py`."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback

import names
import node
from api import Refused, condition, eventually
from backups import Backups
from claims import Claims
from containers import Containers
from documents import Documents
from fleet import Fleet
from issued import ISSUED, Issued
from operations import Operations
from outside import Outside
from plugin import Plugin
from recovery import Recovery
from refusals import Refusals
from release import Release
from restores import Restores
from same_name import SameName
from secure import Secure
from space import Space
from trouble import CLUSTERS, CORE, IMAGE, Trouble
from world import OPERATOR_NAMESPACE, World

NAMESPACE = "prod"
NEXT_IMAGE = "docker.io/local/witan:1.0.1"
OPERATORS = ("docker.io/local/witan-operator:1.0.0", "docker.io/local/witan-operator:1.0.1", "ghcr.io/witan/witan-operator:0.1.0")
# kills of the operator during its work
KILLS = int(os.environ.get("OPERATOR_KILLS", "20"))
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Writer:
    """A client with etcd's own library in a separate process."""

    def __init__(self, program, log, *flags):
        self.process = subprocess.Popen([program, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(log, "a"), text=True)
        self.scheme, self.known = "https" if flags else "http", None

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def reach(self, addresses):
        """Updates the client's endpoints to the ready pods, like a Service."""
        if addresses and addresses != self.known:
            self.known = addresses
            self.ask("endpoints " + " ".join(f"{self.scheme}://{address}:2379" for address in addresses))

    def end(self):
        self.process.kill()
        self.process.wait()


class Drive(Backups, Claims, Operations, Plugin, Recovery, Restores, Secure, Space, Issued, Fleet, Release, Documents, Trouble, Refusals, Outside, SameName):
    def __init__(self):
        self.world = World(os.environ["WITAN_BIN"], os.environ["OPERATOR_BIN"], os.environ["KUBE_BIN"])
        self.rows, self.writers, self.noted = [], {}, {}

    def start(self):
        world = self.world
        world.start()
        threading.Thread(target=world.count_steps, daemon=True).start()
        self.api = world.api
        node.prepare_network()
        program = os.environ["WITAN_BIN"]
        # including the images that the chart names
        images = {IMAGE: program, NEXT_IMAGE: program, **dict.fromkeys(("ghcr.io/witan/witan:0.1.0", "ghcr.io/witan/witan:0.1.1"), program), **dict.fromkeys(OPERATORS, world.operator_program)}
        if os.environ.get("PODS") == "containerd":
            self.node = Containers(world, images)
        else:
            world.start_scheduler()
            self.node = node.Nodes(self.api, world.folder, images)
        self.names = names.Names(self.api)
        # members must satisfy the strictest pod security standard
        self.api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
        eventually("the namespace has its service account", lambda: self.api.find(f"{CORE}/serviceaccounts/default"))
        self.api.create("/apis/storage.k8s.io/v1/storageclasses", {
            "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "kubernetes.io/host-path", "allowVolumeExpansion": True,
        })
        self.api.create("/apis/storage.k8s.io/v1/storageclasses", {"metadata": {"name": "fast"}, "provisioner": "kubernetes.io/host-path"})
        self.install()

    def kubectl(self, *arguments):
        command = [f"{self.world.kube}/kubectl", f"--kubeconfig={self.world.kubeconfig}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def install(self):
        """Installs the definition and the permissions of the chart, and starts the operator with exactly these."""
        self.install_chart()
        eventually("the new kind is served", lambda: self.api.find(CLUSTERS) is not None)
        account = "witan-operator"
        token = self.api.create(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts/{account}/token", {"spec": {"expirationSeconds": 36000}})
        self.account = self.world.write_kubeconfig("operator.kubeconfig", token["status"]["token"], OPERATOR_NAMESPACE, self.world.proxy.url)
        self.start_operator()

    def start_operator(self, program=None):
        self.world.start_operator(self.account, IMAGE, program=program)
        eventually("the operator is ready", self.world.operator_is_ready, 30)

    def restart_operator(self, how=signal.SIGKILL, program=None):
        self.world.kill("operator", how)
        self.start_operator(program)

    # helpers of the cases

    def cluster(self, name="orders"):
        return self.api.get(f"{CLUSTERS}/{name}")

    def apply(self, name="orders", **spec):
        self.api.apply(f"{CLUSTERS}/{name}", {"apiVersion": "witan.dev/v1", "kind": "EtcdCluster", "metadata": {"name": name}, "spec": spec})

    def change(self, name="orders", **spec):
        return self.api.patch(f"{CLUSTERS}/{name}", {"spec": spec})

    def pods(self, name="orders"):
        found = self.api.items(f"{CORE}/pods?labelSelector=witan.dev/cluster%3D{name}")
        return {pod["metadata"]["name"]: pod for pod in found}

    def is_ready(self, name="orders", replicas=3):
        found = self.cluster(name)
        pods = self.pods(name)
        self.follow(pods, name)
        current = found["status"].get("observedGeneration") == found["metadata"]["generation"]
        ready = condition(found, "Ready")[0] == "True" and condition(found, "Available")[0] == "True"
        return current and ready and len(pods) == replicas and all(names.is_ready(pod) for pod in pods.values()) and found["spec"]["replicas"] == replicas

    def until_ready(self, what, name="orders", replicas=3, patience_s=90):
        eventually(f"{what}: {replicas} members are ready", lambda: self.is_ready(name, replicas), patience_s)

    def follow(self, pods, name="orders"):
        if name in self.writers:
            self.writers[name].reach(sorted(pod["status"]["podIP"] for pod in pods.values() if names.is_ready(pod) and pod["metadata"]["labels"].get("witan.dev/role") != "learner"))

    def leader(self, name="orders"):
        return self.cluster(name)["status"]["leader"]

    def follower(self, name="orders"):
        return next(pod for pod in sorted(self.pods(name)) if pod != self.leader(name))

    def write(self, name="orders", *flags):
        """Starts a client that writes to a cluster, and resets its counts."""
        if name not in self.writers:
            self.writers[name] = Writer(os.environ["WRITER_BIN"], self.world.path("writer.log"), *flags)
            self.follow(self.pods(name), name)
        self.writers[name].ask("mark")

    # cases

    def create(self):
        """Creates a cluster of three members."""
        self.apply(replicas=3, storage={"size": "8Gi"})
        self.until_ready("a new cluster")

    def examples(self):
        """The API server accepts and refuses the examples of `operator/crd/tests/etcdcluster-examples.json`, with their
        messages."""
        with open(os.path.join(ROOT, "operator", "crd", "tests", "etcdcluster-examples.json")) as file:
            examples = json.load(file)
        strict = "fieldValidation=Strict&dryRun=All"
        wrong = []
        for number, example in enumerate(examples["accepted"] + examples["refused"]):
            kind = example.get("kind", "EtcdCluster")
            made = {"apiVersion": "witan.dev/v1", "kind": kind, "metadata": {"name": example.get("name", f"e-{number}")}}
            # paused, so that the operator ignores it
            says, place, pause = None, CLUSTERS.replace("etcdclusters", f"{kind.lower()}s"), {} if kind in ("EtcdBackup", "EtcdOperation") else {"paused": True}
            try:
                if "from" in example:
                    before = self.api.create(place, {**made, "spec": {**example["from"], **pause}})
                    made = {**before, "spec": {**example["spec"], **pause}}
                    self.api.request("PUT", f"{place}/{made['metadata']['name']}?{strict}", {**made, "metadata": {"name": made["metadata"]["name"], "resourceVersion": before["metadata"]["resourceVersion"]}})
                else:
                    self.api.create(f"{place}?{strict}", {**made, "spec": example["spec"]})
            except Refused as refusal:
                says = refusal.message
            finally:
                self.api.delete(f"{place}/{made['metadata']['name']}")
            expected = example.get("says")
            if (says is None) != (expected is None) or (expected and expected not in says):
                wrong.append(f"{example['case']}: {says}")
        assert not wrong, wrong

    def rights(self):
        """The operator's account has the permissions that it needs. `tests/charts/installs.py` checks that it has no others."""
        with open(self.world.path("operator.log")) as log:
            forbidden = [line for line in log if "forbidden" in line]
        # the check of owner references learns of a new kind within 30 s
        forbidden = [line for line in forbidden if "cannot find RESTMapping" not in line]
        assert not forbidden, forbidden

    def conflict(self):
        """The operator restores a label that another manager removed, and keeps a label that the manager added."""
        path = f"{CORE}/services/orders-client"
        self.api.apply(path, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders-client", "labels": {"witan.dev/service": "mine", "team": "a"}}}, "someone")
        labels = lambda: self.api.get(path)["metadata"]["labels"]
        eventually("the operator's label is back", lambda: labels()["witan.dev/service"] == "client")
        assert labels()["team"] == "a"

    def rest(self):
        """A cluster in its desired state causes no write."""
        def versions():
            objects = [self.cluster(), *self.pods().values(), *self.api.items(f"{CORE}/persistentvolumeclaims"), *self.api.items(f"{CORE}/services")]
            return {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in objects}

        for _ in range(4):
            before, looked = versions(), self.passes_of("orders")
            eventually("the operator looks again", lambda: self.passes_of("orders") >= looked + 2, 40)
            after = versions()
            if after == before:
                return
        raise AssertionError(f"objects still change: {before} {after}")

    def scale(self, replicas):
        self.change(replicas=replicas)
        self.until_ready("scaling", replicas=replicas)

    def scale_out(self):
        """Scales from 3 to 5 members."""
        self.scale(5)

    def scale_in(self):
        """Scales from 5 to 3 members."""
        self.scale(3)

    def scale_to_one(self):
        """Scales from 3 members to 1."""
        self.scale(1)

    def scale_back(self):
        """Scales from 1 member to 3."""
        self.scale(3)

    def upgrade(self):
        """Another image: members restart one after the other, the leader last."""
        order, seen = [], self.uids("orders")
        leader = self.leader()
        self.change(image=NEXT_IMAGE)

        def updated():
            for name, uid in self.uids("orders").items():
                if uid != seen.get(name):
                    seen[name] = uid
                    order.append(name)
            return self.is_ready() and self.has_image(NEXT_IMAGE)

        eventually("all members have the new image", updated)
        assert order[-1] == leader and len(order) == 3, f"order {order}, the leader was {leader}"

    def kill(self, name):
        restarts = self.pods()[name]["status"]["containerStatuses"][0]["restartCount"]
        self.node.kill(NAMESPACE, name)
        eventually("the container restarts", lambda: self.pods()[name]["status"]["containerStatuses"][0]["restartCount"] > restarts)
        self.until_ready("after a kill")

    def kill_follower(self):
        """Kills a follower with SIGKILL."""
        self.kill(self.follower())

    def kill_leader(self):
        """Kills the leader with SIGKILL."""
        self.kill(self.leader())

    def lose_pod(self):
        """A pod is deleted without a grace period: the operator acts within two seconds."""
        name = self.follower()
        uid = self.pods()[name]["metadata"]["uid"]
        begun = time.monotonic()
        self.api.delete(f"{CORE}/pods/{name}?gracePeriodSeconds=0")
        eventually("another pod replaces the deleted one", lambda: self.pods().get(name, {}).get("metadata", {}).get("uid", uid) != uid)
        took = time.monotonic() - begun
        assert took < 2, f"the operator took {took:.1f} s"
        self.until_ready("after a lost pod")

    def lose_disk(self):
        """Claim and pod of a member are deleted, and its data with them."""
        name = self.follower()
        id_before = self.member_id(name)
        self.give_up_disk(name)
        self.api.delete(f"{CORE}/pods/{name}?gracePeriodSeconds=0")
        eventually("the member is replaced", lambda: self.member_id(name) not in (None, id_before))
        self.until_ready("after a lost disk")

    def give_up_disk(self, pod):
        """Deletes the claim of a member. The chart's policy refuses this until the claim allows it."""
        path = f"{CORE}/persistentvolumeclaims/data-{pod}"
        self.api.patch(path, {"metadata": {"annotations": {"witan.dev/allow-deletion": "true"}}})
        self.api.delete(path)

    def member_id(self, name):
        return self.members_and_disks("orders")[0].get(name)

    def grow(self):
        """The claims grow."""
        self.change(storage={"size": "9Gi"})
        sizes = lambda: [claim["status"]["capacity"]["storage"] for claim in self.api.items(f"{CORE}/persistentvolumeclaims")]
        eventually("all claims have grown", lambda: set(sizes()) <= {"9Gi", str(9 << 30)})
        self.until_ready("after the claims have grown")

    def peer_tls_on(self):
        """Enables TLS between members of a running cluster."""
        self.change(tls={"peer": {"managed": {}}})
        self.until_ready("TLS between members", patience_s=240)
        assert all("--listen-peer-urls=https://[::]:2380" in pod["spec"]["containers"][0]["args"] for pod in self.pods().values())

    def peer_tls_off(self):
        """Disables TLS between members again."""
        self.change(tls=None)
        self.until_ready("plaintext between members", patience_s=240)
        assert all("--listen-peer-urls=http://[::]:2380" in pod["spec"]["containers"][0]["args"] for pod in self.pods().values())

    def discovery(self):
        """Three members find each other with a token that the operator creates at another cluster."""
        self.apply("found", replicas=3, bootstrap={"discovery": {"local": {"clusterRef": {"name": "orders"}}}}, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
        self.until_ready("a cluster by discovery", "found")
        assert self.cluster("found")["status"]["discovery"]["registered"] == 3
        self.api.delete(f"{CLUSTERS}/found")

    def fence(self):
        """A member is fenced and returns."""
        self.while_fenced("orders", self.follower(), lambda: None)

    def while_fenced(self, name, member, act):
        fence = lambda members: self.api.patch(f"{CLUSTERS}/{name}", {"metadata": {"annotations": {"witan.dev/fenced-members": members}}})
        fence(member)
        eventually("the member's pod is removed", lambda: member not in self.pods(name))
        act()
        fence(None)
        self.until_ready("after the fence", name)

    def pause(self):
        """The operator ignores a paused cluster."""
        self.change(paused=True, replicas=5)
        eventually("the condition Paused is true", lambda: condition(self.cluster(), "Paused")[0] == "True")
        looked = self.passes_of("orders")
        eventually("the operator looks again", lambda: self.passes_of("orders") > looked, 40)
        assert len(self.pods()) == 3
        self.change(paused=False, replicas=3)
        self.until_ready("after the pause")

    def operator_kills(self):
        """The operator is killed at random times while it scales, updates the image, and recreates an evicted pod."""
        chance = random.Random(int(os.environ.get("OPERATOR_SEED", "1")))
        wanted = {"replicas": 3, "image": NEXT_IMAGE}
        for _ in range(KILLS):
            if self.is_ready(replicas=wanted["replicas"]):
                self.disturb(chance, wanted)
            time.sleep(chance.uniform(0.05, 1.5))
            self.restart_operator()
            self.follow(self.pods())
        self.change(replicas=3, image=NEXT_IMAGE)
        eventually("the cluster has the last spec", lambda: self.is_ready() and self.has_image(NEXT_IMAGE))

    def disturb(self, chance, wanted):
        kind = chance.choice(("scale", "roll", "evict"))
        if kind == "evict":
            self.api.delete(f"{CORE}/pods/{self.follower()}")
        elif kind == "scale":
            wanted["replicas"] = 8 - wanted["replicas"]
        else:
            wanted["image"] = IMAGE if wanted["image"] == NEXT_IMAGE else NEXT_IMAGE
        self.change(**wanted)

    def has_image(self, image):
        return all(pod["spec"]["containers"][0]["image"] == image for pod in self.pods().values())

    def hibernate(self):
        """Stops all members, and starts them again with their data."""
        self.change(replicas=0)
        eventually("no pod is left", lambda: not self.pods() and condition(self.cluster(), "Hibernated")[0] == "True")
        self.change(replicas=3)
        self.until_ready("after the hibernation")

    def nothing_lost(self):
        """Every acknowledged write exists."""
        self.all_acknowledged_are_there("orders")

    def all_acknowledged_are_there(self, name):
        self.follow(self.pods(name), name)
        found = eventually("the client reads", lambda: (lambda got: got if "error" not in got else None)(self.writers[name].ask("check")), 30)
        assert found["missing"] == 0, found
        print(f"        {found['acknowledged']} acknowledged writes exist")

    def delete_cluster(self):
        """With whenDeleted: Delete, nothing remains."""
        self.apply("brief", replicas=1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
        self.until_ready("a brief cluster", "brief", 1)
        self.api.delete(f"{CLUSTERS}/brief")

        def left():
            paths = [f"{CORE}/{plural}" for plural in ("pods", "persistentvolumeclaims", "services")] + [f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"]
            return [each["metadata"]["name"] for path in paths for each in self.api.items(f"{path}?labelSelector=witan.dev/cluster%3Dbrief")]

        eventually("nothing remains", lambda: not left(), 60)

    def delete_namespace(self):
        """A namespace is deleted with its cluster while the operator works on it."""
        other = "/apis/witan.dev/v1/namespaces/short/etcdclusters"
        self.api.create("/api/v1/namespaces", {"metadata": {"name": "short"}})
        eventually("the namespace has its service account", lambda: self.api.find("/api/v1/namespaces/short/serviceaccounts/default"))
        self.api.apply(f"{other}/a", {"apiVersion": "witan.dev/v1", "kind": "EtcdCluster", "metadata": {"name": "a"}, "spec": {}})
        eventually("the cluster has a pod", lambda: self.api.items("/api/v1/namespaces/short/pods"))
        self.api.delete("/api/v1/namespaces/short")
        eventually("the namespace is deleted", lambda: self.api.find("/api/v1/namespaces/short") is None, 90)

    # the run

    def run(self, wanted):
        failed = 0
        for name in wanted or (CASES if isinstance(self.node, node.Nodes) else CASES[: -len(BRIEF)]):
            # the operator may have lost its lease on a busy machine
            self.again()
            case = getattr(self, name)
            cluster = WRITTEN.get(name, "orders")
            if cluster and (cluster in self.writers or cluster == "orders"):
                self.write(cluster)
            self.noted, self.disks_noted = {}, None
            begun, disks, steps = time.monotonic(), self.disks(), self.world.steps()
            try:
                case()
                outcome = ""
            except Exception:
                failed, outcome = failed + 1, "FAILED"
                traceback.print_exc()
                self.explain()
            took = time.monotonic() - begun
            writes = self.noted or (self.writers[cluster].ask("mark") if cluster in self.writers else {})
            (disks, after), steps = self.disks_noted or (disks, self.disks()), self.world.steps() - steps
            disks = f"disks {len(disks & after)} kept {len(disks - after)} deleted"
            limit = STEPS.get(name, STEPS_OWN if name in BRIEF else STEPS_MAX)
            if steps > limit and not outcome:
                failed, outcome = failed + 1, f"FAILED: more than {limit} steps"
            if writes and writes["failed"] and name not in LOSSY and not outcome:
                failed, outcome = failed + 1, "FAILED: writes were lost"
            self.rows.append(f"{took:7.1f} s  {name:20} {steps:4} steps  {disks:27} {describe(writes)} {outcome}")
            print(self.rows[-1], flush=True)
            if outcome and name == "create":
                break
        return failed

    def disks(self):
        """Returns the ids of all disks of members."""
        return {each["metadata"]["uid"] for each in self.api.items("/api/v1/persistentvolumeclaims")}

    def explain(self):
        """Prints the state that helps to find the cause of a failure."""
        for command in (("get", "etcdclusters,pods,pvc", "-n", NAMESPACE, "-o", "wide"), ("get", "events", "-n", NAMESPACE, "--sort-by=.metadata.creationTimestamp")):
            try:
                print("\n".join(self.kubectl(*command).splitlines()[-25:]))
            except subprocess.CalledProcessError as error:
                print(error.stderr)
        subprocess.run(["tail", "-n", "25", self.world.path("operator.log")], check=False)


def describe(writes):
    if not writes:
        return ""
    errors = "".join(f"\n           {error}" for error in writes["errors"] or [])
    return f"{writes['written']:6} writes, {writes['failed']} failed, longest gap {writes['gap_ms']} ms{errors}"


# cases with a separate cluster, to which a client writes as long as it exists
BRIEF = [
    # nodes
    "readiness_gate", "silent_node", "lost_node", "lost_node_replaced", "drain", "no_room",
    # refusals
    "quota", "refused_templates", "bad_flag", "bad_image", "first_image", "missing_secret", "slow_volume",
    # the way to the API server, and operators
    "api_slow", "api_refuses", "api_gone", "two_operators", "operator_upgrade",
    # names that already exist
    "second_try", "half_try", "made_again", "foreign_objects", "named_services", "member_address",
    # claims of running members
    "claims_deleted", "claim_label_removed", "retain_while_hibernated", "storage_changed", "storage_migrated",
    # a lost quorum
    "recover_quorum", "recover_old_disks", "emptied_disks",
    # one-time operations
    "operations", "operations_documents",
    # backups
    "backup_restore", "backup_volume", "backup_troubles", "backup_schedule", "point_in_time", "backup_kills", "backup_users", "backup_documents",
    "restore_in_place", "restored_once",
    # a full store
    "full_store",
    # kubectl witan
    "plugin_status", "plugin_acts",
]
# all cases except the measurement, and `documents`, which needs real containers
CASES = [
    "create", "rest", "examples", "rights", "conflict", "scale_out", "scale_in", "scale_to_one", "scale_back", "upgrade", "kill_follower", "kill_leader", "lose_pod", "lose_disk",
    "grow", "peer_tls_on", "peer_tls_off", "fence", "pause", "operator_kills", "chart_upgrade", "hibernate", "nothing_lost", "client_tls", "rotate_tls", "rotate_authority", "lose_authority", "users",
    "cert_manager", "cert_manager_delete", "corrupt", "discovery",
    "delete_cluster", "delete_namespace", *BRIEF,
]


# the cluster to which a client writes during a case, unless it is `orders`
WRITTEN = {
    **dict.fromkeys(("create", "rest", "examples", "rights", "discovery", "delete_cluster", "delete_namespace", "nothing_lost", "fleet", "documents", "cert_manager_delete", *BRIEF)),
    **dict.fromkeys(("client_tls", "rotate_tls", "rotate_authority", "lose_authority", "users"), "safe"), "corrupt": "altered", "chart_upgrade": "charted", "cert_manager": ISSUED,
}
# Cases in which writes may fail, because a process ends without a warning or there is no member.
LOSSY = ("kill_follower", "kill_leader", "lose_pod", "lose_disk", "hibernate", "lost_node", "lost_node_replaced", "recover_quorum", "recover_old_disks", "emptied_disks", "restore_in_place", "restored_once")
# Maximum number of the operator's steps in a case, including refused ones. A loop without back-off exceeds it within seconds.
STEPS_MAX = 60
# The same for a case that creates, changes and deletes its own clusters.
STEPS_OWN = 200
# In chart_upgrade, the operators are pods, and their steps are not counted.
STEPS = {"operator_kills": 400, "fleet": 10**6, "rotate_authority": 120, "lose_authority": 120, "users": 80, "cert_manager": 90}


def main():
    drive, failed = Drive(), 1
    try:
        drive.start()
        failed = drive.run(sys.argv[1:])
    except Exception:
        traceback.print_exc()
    finally:
        for writer in drive.writers.values():
            writer.end()
        if hasattr(drive, "node"):
            drive.node.end()
        drive.world.end(keep=bool(failed))
    print("\n".join(drive.rows))
    print(f"test result: {'FAILED' if failed else 'ok'}. {len(drive.rows) - failed if drive.rows else 0} passed; {failed} failed")
    sys.exit(bool(failed))


main()
