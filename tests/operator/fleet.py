"""Measures one operator with many clusters of real processes: its cost at rest, and its reaction time.

OPERATOR_FLEET=100 OPERATOR_FLEET_REPLICAS=1 tests/operator/run fleet"""

import json
import os
import random
import time

from api import condition, eventually
from trouble import CLUSTERS, CORE

FLEET = int(os.environ.get("OPERATOR_FLEET", "10"))
REPLICAS = int(os.environ.get("OPERATOR_FLEET_REPLICAS", "1"))
# clusters that are created at the same time
BATCH = 10
REST_S = 60
PODS_DELETED = 10
OPERATOR = "system:serviceaccount:witan-system:witan-operator"


class Fleet:
    """Mixin for `Drive`."""

    def fleet(self):
        names = [f"fleet-{number}" for number in range(FLEET)]
        begun = time.monotonic()
        for at in range(0, FLEET, BATCH):
            batch = names[at : at + BATCH]
            for name in batch:
                self.apply(name, replicas=REPLICAS, storage={"size": "1Gi"}, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
            eventually(f"{batch[-1]} is ready", lambda: all(condition(self.cluster(name), "Ready")[0] == "True" for name in batch), 300, 0.5)
        print(f"        {FLEET} clusters of {REPLICAS} are ready after {time.monotonic() - begun:.0f} s", flush=True)
        eventually("the operator takes no more steps", lambda: not self.requests_of(5, ("create", "patch", "update", "delete")), 120)
        before = self.used_cpu()
        requests = self.requests_of(REST_S, None)
        cpu = (self.used_cpu() - before) / REST_S
        print(f"        at rest: CPU {100 * cpu:.1f} % of a core, memory {self.memory_mib():.0f} MiB, requests in {REST_S} s: {requests}", flush=True)
        assert not {"create", "patch", "update", "delete"} & set(requests), "the operator writes for clusters in their desired state"
        times = sorted(self.replaced(name) for name in random.Random(1).sample(names, min(PODS_DELETED, FLEET)))
        print(f"        a deleted pod is replaced after {times[len(times) // 2]:.2f} s (median), {times[-1]:.2f} s (longest)", flush=True)
        assert times[-1] < 2, times
        for name in names:
            self.api.delete(f"{CLUSTERS}/{name}")

    def replaced(self, name):
        path = f"{CORE}/pods/{name}-0"
        uid = self.api.get(path)["metadata"]["uid"]
        self.api.delete(f"{path}?gracePeriodSeconds=0")
        begun = time.monotonic()
        eventually("another pod replaces the deleted one", lambda: (self.api.find(path) or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid, 30, 0.01)
        return time.monotonic() - begun

    def requests_of(self, seconds, verbs):
        """Counts the operator's requests in the next `seconds` by verb, and its requests for leases as `lease`. Without
        `verbs`, returns all counts."""
        counts = {}
        with open(self.world.path("audit.log")) as log:
            log.seek(0, os.SEEK_END)
            time.sleep(seconds)
            for line in log:
                event = json.loads(line)
                if event["user"]["username"] == OPERATOR:
                    verb = "lease" if event["objectRef"]["resource"] == "leases" else event["verb"]
                    counts[verb] = counts.get(verb, 0) + 1
        return {verb: count for verb, count in counts.items() if not verbs or verb in verbs}

    def used_cpu(self):
        """Returns the operator's CPU time in seconds."""
        with open(f"/proc/{self.world.processes['operator'].pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self):
        with open(f"/proc/{self.world.processes['operator'].pid}/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))
