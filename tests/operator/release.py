"""The operator as its chart installs it: with helm and, in some cases, as pods of its Deployment.

The helpers are in `drive.py`."""

import os
import signal
import subprocess
import time

from api import eventually
from world import OPERATOR_NAMESPACE

RELEASE = "witan-operator"
CHART = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "charts", RELEASE)
REPOSITORY = "docker.io/local"
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/etcdclusters.witan.dev"
NAME = "charted"


class Release:
    """Mixin for `Drive`."""

    def helm(self, *arguments, follow=None, namespace=OPERATOR_NAMESPACE):
        """Runs helm. Meanwhile, clients of the cluster `follow` learn its ready pods."""
        with open(self.world.path("helm.log"), "a+") as log:
            begin = log.tell()
            process = subprocess.Popen(["helm", *arguments, "--namespace", namespace, "--kubeconfig", self.world.kubeconfig], stdout=log, stderr=log)
            while process.poll() is None:
                if follow:
                    self.follow(self.pods(follow), follow)
                time.sleep(0.05)
            log.seek(begin)
            assert process.returncode == 0, log.read()

    def install_chart(self):
        """Installs CRDs, account and permissions. The operator itself is a process outside the cluster (`start_operator`)."""
        self.helm("install", RELEASE, CHART, "--create-namespace", "--set", "replicaCount=0")

    def upgrade_chart(self, *values, **options):
        self.helm("upgrade", RELEASE, CHART, "--wait", "--timeout=180s", "--set", ",".join(values), **options)

    def operator_pods(self):
        return self.api.items(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods")

    def images(self, tag):
        names = ("image.repository=", f"{REPOSITORY}/witan-operator"), ("image.tag=", tag), ("memberImage.repository=", f"{REPOSITORY}/witan"), ("memberImage.tag=", tag)
        return [key + value for key, value in names]

    def chart_upgrade(self):
        """helm upgrades and rolls back the operator as pods of its Deployment, while it scales and updates members."""
        self.world.kill("operator", signal.SIGTERM)
        try:
            self.upgrade_chart("replicaCount=1", *self.images("1.0.0"))
            self.upgraded()
        finally:
            self.upgrade_chart("replicaCount=0")
            eventually("the operator's pods are removed", lambda: not self.operator_pods())
            self.start_operator()

    def upgraded(self):
        self.apply(NAME, replicas=3, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
        self.until_ready("a cluster of the chart's operator", NAME)
        self.write(NAME)
        identity = lambda: (self.api.get(DEFINITION)["metadata"]["uid"], self.cluster(NAME)["metadata"]["uid"])
        kept, first = identity(), self.members_and_disks(NAME)[0]
        self.change(NAME, replicas=5)
        eventually("the operator creates a pod", lambda: len(self.pods(NAME)) > 3)
        # the operator is replaced while it scales; the next one has another member image
        self.upgrade_chart("replicaCount=2", "resources.limits.memory=192Mi", *self.images("1.0.1"), follow=NAME)
        eventually("the update of the members has started", lambda: 0 < self.with_tag("1.0.1") < 5, 180)
        self.helm("rollback", RELEASE, "--wait", "--timeout=180s", follow=NAME)
        eventually("all members have the first image again", lambda: self.is_ready(NAME, 5) and self.with_tag("1.0.0") == 5, 300)
        self.change(NAME, replicas=3)
        self.until_ready("scaling in", NAME)
        assert identity() == kept, "the CRD or the cluster was recreated"
        members = self.members_and_disks(NAME)[0]
        assert members == first, f"members were replaced: {first}, {members}"
        assert len(self.operator_pods()) == 1
        self.all_acknowledged_are_there(NAME)

    def with_tag(self, tag):
        pods = self.pods(NAME)
        self.follow(pods, NAME)
        return sum(pod["spec"]["containers"][0]["image"] == f"{REPOSITORY}/witan:{tag}" for pod in pods.values())
