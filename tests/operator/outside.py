"""The API server is slow, refuses connections or is unreachable; two operators, one of which stops; an upgrade of the operator.

WITAN_OPERATOR_BEFORE=PROGRAM tests/operator/run create operator_upgrade

Each case has its own cluster. The helpers are in `trouble.py` and `drive.py`."""

import os
import signal

from api import eventually
from proxy import GONE, PASSES, REFUSES, SLOW
from trouble import CORE, IMAGE
from world import SECOND

# another replica takes a lease that was not renewed for 15 s
TAKEN_S = 60
# the build to upgrade from
BEFORE = os.environ["WITAN_OPERATOR_BEFORE"]


class Outside:
    """Mixin for `Drive`."""

    def through(self, mode):
        self.world.proxy.become(mode)

    def api_slow(self):
        """The API server is slow for the operator, which still scales out and in."""
        name = "slowly"
        with self.brief(name):
            kept = self.members_and_disks(name)[0]
            self.through(SLOW)
            try:
                for replicas in (4, 3):
                    self.change(name, replicas=replicas)
                    self.until_ready("scaling", name, replicas, 180)
            finally:
                self.through(PASSES)
            assert self.members_and_disks(name)[0] == kept

    def api_refuses(self):
        """The API server refuses the operator's connections while it scales and a pod is lost. The operator continues
        afterward."""
        name = "turned"
        with self.brief(name):
            kept = self.members_and_disks(name)[0]
            self.change(name, replicas=4)
            eventually("the operator creates a pod", lambda: len(self.pods(name)) > 3)
            self.through(REFUSES)
            try:
                pod = self.follower(name)
                uid = self.uids(name)[pod]
                self.api.delete(f"{CORE}/pods/{pod}")
                eventually("the pod is deleted", lambda: pod not in self.pods(name))
                failed = self.world.steps()
                eventually("the operator has tried", lambda: self.world.steps() > failed or self.world.processes["operator"].poll() is not None, 90)
            finally:
                self.through(PASSES)
            self.again()
            eventually("the pod is back", lambda: self.uids(name).get(pod, uid) != uid)
            self.until_ready("scaling", name, 4)
            assert kept.items() <= self.members_and_disks(name)[0].items()

    def again(self):
        """Restarts an operator that has ended, like a Deployment."""
        if self.world.processes["operator"].poll() is not None:
            self.restart_operator()

    def api_gone(self):
        """The API server does not answer: the operator ends, because another one may act by now. The members continue to
        serve."""
        name = "cut"
        with self.brief(name):
            kept, pod = self.members_and_disks(name), self.follower(name)
            self.through(GONE)
            try:
                self.api.delete(f"{CORE}/pods/{pod}")
                eventually("the operator ends", lambda: self.world.processes["operator"].poll() is not None, TAKEN_S)
            finally:
                self.through(PASSES)
            self.again()
            self.until_ready("after the API server is back", name)
            assert self.members_and_disks(name) == kept

    def two_operators(self):
        """The acting operator is stopped while it scales: the other one continues, and the first does not act when it resumes."""
        name, world = "led", self.world
        world.start_operator(self.account, IMAGE, SECOND)
        try:
            eventually("the second operator is ready", lambda: world.operator_is_ready(SECOND), 30)
            with self.brief(name):
                kept = self.members_and_disks(name)[0]
                self.change(name, replicas=5)
                eventually("the operator creates a pod", lambda: len(self.pods(name)) > 3)
                first = world.processes["operator"]
                first.send_signal(signal.SIGSTOP)
                try:
                    self.until_ready("scaling by the second operator", name, 5, 180)
                finally:
                    first.send_signal(signal.SIGCONT)
                eventually("the first operator has ended", lambda: first.poll() is not None, TAKEN_S)
                assert "witan_operator_leader 1" in world.operator_metrics(SECOND)
                assert kept.items() <= self.members_and_disks(name)[0].items()
                self.change(name, replicas=3)
                self.until_ready("more scaling by the second operator", name, 3)
                assert self.members_and_disks(name)[0] == kept
        finally:
            world.kill(SECOND, signal.SIGTERM)
            self.again()

    def operator_upgrade(self):
        """The operator is upgraded while it scales, rolled back, and upgraded again: members and disks stay."""
        name = "passed"
        self.restart_operator(signal.SIGTERM, BEFORE)
        try:
            with self.brief(name, tls={"peer": {"managed": {}}}):
                kept = self.members_and_disks(name)
                for program, replicas in ((None, 4), (BEFORE, 3), (None, 5)):
                    self.change(name, replicas=replicas)
                    eventually("the operator has observed the change", lambda: self.cluster(name)["status"].get("observedGeneration") == self.cluster(name)["metadata"]["generation"])
                    self.restart_operator(signal.SIGTERM, program)
                    self.until_ready("scaling by the next operator", name, replicas, 240)
                    members, disks = self.members_and_disks(name)
                    assert kept[0].items() <= members.items() and kept[1].items() <= disks.items(), f"{kept} became {members}, {disks}"
        finally:
            self.restart_operator(signal.SIGTERM)
