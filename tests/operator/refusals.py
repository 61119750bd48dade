"""Refusals of the API server, and faults of a template, a secret or a volume: the operator reports them, stops no member, deletes
no disk, and continues other repairs.

Each case has its own cluster. The helpers are in `trouble.py` and `drive.py`."""

import base64
import contextlib
import time

from api import Refused, eventually
from trouble import ABSENT, CORE, PATIENCE_S

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
BLOCKED = "pods with the label blocked have no business here"
# changes of the spec with which no pod is admitted, and the error of the API server or the operator
TEMPLATES = {
    "a toleration of another form": ({"tolerations": [{"key": 5}]}, "tolerations"),
    "a priority class that does not exist": ({"priorityClassName": "absent"}, "absent"),
    "pod security": ({"podTemplate": {"spec": {"hostNetwork": True}}}, "PodSecurity"),
    "an admission policy": ({"additionalMetadata": {"labels": {"blocked": "yes"}}}, BLOCKED),
    "a variable that would fork the cluster": (
        {"podTemplate": {"spec": {"containers": [{"name": "etcd", "env": [{"name": "ETCD_FORCE_NEW_CLUSTER", "value": "true"}]}]}}}, "ETCD_FORCE_NEW_CLUSTER"),
    "a field that is not valid": ({"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}, "memory limit"),
}


class Refusals:
    """Mixin for `Drive`."""

    def quota(self):
        """A quota refuses the disk of a new member: this is reported, lost pods of voters are recreated, and scaling follows the
        quota."""
        name, path = "limited", f"{CORE}/resourcequotas"
        with self.brief(name):
            claims = lambda: {each["metadata"]["uid"] for each in self.api.items(f"{CORE}/persistentvolumeclaims")}

            def settled():
                before = claims()
                time.sleep(3)
                return before if before == claims() else None

            # claims of a deleted cluster would leave room in the quota
            there = len(eventually("no claim comes or goes", settled))
            self.api.create(path, {"metadata": {"name": "disks"}, "spec": {"hard": {"persistentvolumeclaims": str(there)}}})
            try:
                eventually("the quota counts", lambda: self.api.get(f"{path}/disks").get("status", {}).get("used"))
                self.change(name, replicas=4)
                self.degraded(name, "exceeded quota")
                for pod in [*(each for each in sorted(self.pods(name)) if each != self.leader(name)), self.leader(name)]:
                    self.comes_back(name, pod)
            finally:
                self.api.delete(f"{path}/disks")
            self.until_ready("without the quota", name, 4)

    def refused_templates(self):
        """Templates that are not admitted: no pod is stopped because of one, the cluster reports the reason, and a lost pod is
        recreated from the previous template."""
        name = "refused"
        with self.brief(name), self.policy():
            before, wrong = self.uids(name), []
            for what, (change, words) in TEMPLATES.items():
                self.change(name, **change)
                try:
                    self.degraded(name, words)
                    self.stays(name, 3, lambda: self.uids(name))
                    lost = self.follower(name)
                    self.comes_back(name, lost)
                    before[lost] = self.uids(name)[lost]
                    self.degraded(name, words)
                except AssertionError as error:
                    wrong.append(f"{what}: {error}")
                self.change(name, **dict.fromkeys(change))
                self.until_ready(f"without {what}", name)
                if self.uids(name) != before:
                    wrong.append(f"{what}: pods {before} became {self.uids(name)}")
                    before = self.uids(name)
            assert not wrong, "\n".join(wrong)

    @contextlib.contextmanager
    def policy(self):
        """Refuses pods with a label until the end of the context, as a webhook would refuse them."""
        rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
        check = {"expression": "!('blocked' in object.metadata.?labels.orValue({}))", "message": BLOCKED}
        objects = {
            f"{POLICIES}/blocked": {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "blocked"},
                                    "spec": {"matchConstraints": {"resourceRules": rules}, "validations": [check]}},
            f"{BINDINGS}/blocked": {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "blocked"},
                                    "spec": {"policyName": "blocked", "validationActions": ["Deny"]}},
        }
        for path, body in objects.items():
            self.api.apply(path, body)
        try:
            eventually("the objects take effect", self.is_blocked)
            yield
        finally:
            for path in objects:
                self.api.delete(path)

    def is_blocked(self):
        security = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}
        pod = {"metadata": {"name": "tried", "labels": {"blocked": "yes"}}, "spec": {"containers": [{"name": "a", "image": "a", "securityContext": security}]}}
        try:
            self.api.create(f"{CORE}/pods?dryRun=All", pod)
        except Refused as refusal:
            return BLOCKED in refusal.message
        return False

    def unmended(self, name, change, back, *words):
        """A change makes one member fail: it is reported, no member or disk is given up within three times the timeout, and the
        change is reverted."""
        with self.brief(name):
            kept = self.members_and_disks(name)
            self.change(name, **change)
            self.degraded(name, *words)
            self.stays(name, 3 * PATIENCE_S, lambda: self.members_and_disks(name))
            self.change(name, **back)
            self.until_ready("after the change is reverted", name)
            assert self.members_and_disks(name) == kept, f"{kept} became {self.members_and_disks(name)}"

    def bad_flag(self):
        """An unknown flag is not a bad disk."""
        self.unmended("misled", {"options": {"extraArgs": {"no-such-flag": "1"}}}, {"options": {"extraArgs": None}}, "misled-")

    def bad_image(self):
        """A missing image is not a bad disk."""
        self.unmended("unpulled", {"image": ABSENT}, {"image": None}, "unpulled-")

    def first_image(self):
        """A new cluster with a missing image reports this, and starts when it gets another image."""
        name = "unbegun"
        with self.brief(name, ready=False, image=ABSENT):
            self.degraded(name, "image")
            self.change(name, image=None)
            self.until_ready("after a change of the image", name)

    def missing_secret(self):
        """The secret of a user's certificate is missing when a pod moves: the member waits for it and keeps its disk."""
        name, data = "given", self.certificate("given")
        secrets = {role: {"metadata": {"name": f"given-{role}"}, "type": "kubernetes.io/tls", "data": data} for role in ("members", "clients")}
        given = {role: {"secretRef": {"name": f"given-{role}"}} for role in secrets}
        for secret in secrets.values():
            self.api.create(f"{CORE}/secrets", secret)
        try:
            with self.brief(name, writes=False, tls={"peer": given["members"], "client": given["clients"]}):
                kept, pod = self.members_and_disks(name), self.follower(name)
                self.api.delete(f"{CORE}/secrets/given-members")
                self.api.delete(f"{CORE}/pods/{pod}")
                self.degraded(name, "given-members")
                self.stays(name, 3 * PATIENCE_S, lambda: self.members_and_disks(name))
                self.api.create(f"{CORE}/secrets", secrets["members"])
                self.until_ready("after the secret is back", name)
                assert self.members_and_disks(name) == kept
        finally:
            for role in secrets:
                self.api.delete(f"{CORE}/secrets/given-{role}")

    def certificate(self, name):
        """Creates a certificate of a user's CA for all purposes of a cluster. Returns a secret's data."""
        world = self.world
        names = [f"DNS:*.{name}-peer.prod.svc", f"DNS:*.{name}-peer.prod.svc.cluster.local", f"DNS:{name}-client.prod.svc", "DNS:localhost", "IP:127.0.0.1"]
        world.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "user-ca.key", "-out", "user-ca.crt", "-days", "30", "-subj", "/CN=user")
        world.write("extensions", f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth,clientAuth")
        world.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "user.key", "-out", "user.csr", "-subj", "/CN=root")
        world.openssl("x509", "-req", "-in", "user.csr", "-CA", "user-ca.crt", "-CAkey", "user-ca.key", "-CAcreateserial", "-days", "30", "-extfile", "extensions", "-out", "user.crt")
        files = {"ca.crt": "user-ca.crt", "tls.crt": "user.crt", "tls.key": "user.key"}
        return {key: base64.b64encode(open(world.path(file), "rb").read()).decode() for key, file in files.items()}

    def slow_volume(self):
        """A volume that is attached late is not a bad disk."""
        name = "detached"
        with self.brief(name):
            kept, pod = self.members_and_disks(name), self.follower(name)
            self.node.held.add(f"data-{pod}")
            try:
                self.api.delete(f"{CORE}/pods/{pod}")
                self.degraded(name, pod)
                self.stays(name, 3 * PATIENCE_S, lambda: self.members_and_disks(name))
            finally:
                self.node.held.clear()
            self.until_ready("after the volume is attached", name)
            assert self.members_and_disks(name) == kept
