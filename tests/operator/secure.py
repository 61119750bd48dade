"""Cases of a cluster with TLS for clients and users, and of a member whose data differs from the other members' data.

Each case has its own cluster. The helpers are in `drive.py`."""

import base64
import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

from api import encoded, eventually, post
from trouble import CLUSTERS, CORE

NAME = "other.example"
PASSWORD = "correct horse"
MANAGED = {"managed": {}}


class Secure:
    """Mixin for `Drive`."""

    def secret(self, name):
        """Returns the content of a secret as strings."""
        data = self.api.get(f"{CORE}/secrets/{name}")["data"]
        return {file: base64.b64decode(text).decode() for file, text in data.items()}

    def client_files(self):
        """Returns the paths of the CA and of the client certificate for the cluster `safe`, as its node would mount the
        secret."""
        texts = self.secret("safe-operator-tls")
        return self.world.write("client.ca", texts["ca.crt"]), self.world.write("client.pair", texts["tls.crt"] + texts["tls.key"])

    def context(self, certificate=True):
        """Returns a client's TLS context for the cluster `safe`. Does not check host names, because certificates contain no
        addresses of pods."""
        authorities, pair = self.client_files()
        context = ssl.create_default_context(cafile=authorities)
        context.check_hostname = False
        if certificate:
            context.load_cert_chain(certificate if isinstance(certificate, str) else pair)
        return context

    def ask(self, cluster, path, body, context=None):
        """Sends a POST to each member. Returns the answers by the member's name."""
        return {name: post(pod["status"]["podIP"], path, body, context) for name, pod in self.pods(cluster).items()}

    def client_tls(self):
        """A cluster with the operator's certificates on both ports. Clients need a certificate."""
        self.apply("safe", replicas=3, tls={"peer": MANAGED, "client": MANAGED}, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
        self.until_ready("a cluster with TLS", "safe")
        authorities, pair = self.client_files()
        # clients with a user log in when authentication is enabled and their request is refused
        self.write("safe", "-cacert", authorities, "-cert", pair, "-name", "safe-client.prod.svc", "-user", "root", "-password", PASSWORD)
        eventually("a client writes", lambda: self.writers["safe"].ask("mark")["written"])
        self.ask("safe", "/v3/auth/status", {}, self.context())
        assert self.is_refused(False), "a client without a certificate is served"

    def is_refused(self, certificate):
        try:
            self.ask("safe", "/v3/auth/status", {}, self.context(certificate))
        except OSError:
            return True
        return False

    def names_shown(self, port):
        """Yields the names in each member's certificate."""
        for pod in self.pods("safe").values():
            with socket.create_connection((pod["status"]["podIP"], port), 5) as stream, self.context().wrap_socket(stream) as tls:
                yield {name for _, name in tls.getpeercert()["subjectAltName"]}

    def rotate_tls(self):
        """Renews the certificates on both ports without a restart, then starts a member with them."""
        before = self.uids("safe")
        self.change("safe", tls={"peer": {"additionalDNSNames": [NAME]}, "client": {"additionalDNSNames": [NAME]}})
        for port in (2379, 2380):
            eventually(f"all members show the new certificate on port {port}", lambda: all(NAME in names for names in self.names_shown(port)))
        assert self.uids("safe") == before, "members were restarted"
        pod = self.follower("safe")
        self.api.delete(f"{CORE}/pods/{pod}")
        eventually("another pod replaces the deleted one", lambda: self.uids("safe").get(pod, before[pod]) != before[pod])
        self.until_ready("after a restart with the new certificates", "safe")

    def rotate_authority(self):
        """An operation rotates the CA while a client writes, and the operator is killed after each change. In the end, members no
        longer trust the former CA."""
        self.follows(lambda: self.operate("rotate", "safe", rotateCertificates={}))
        status = self.until_phase("rotate", "Succeeded", "Failed")
        assert status["phase"] == "Succeeded", status

    def lose_authority(self):
        """The secrets of the CA and of the peer certificates are deleted: a new CA replaces the lost one."""
        def lose():
            for role in ("ca", "peer-tls"):
                self.api.delete(f"{CORE}/secrets/safe-{role}")

        self.follows(lose)

    def follows(self, begin):
        before, former = self.members_and_disks("safe")[0], self.secret("safe-operator-tls")
        pair = self.world.write("former.pair", former["tls.crt"] + former["tls.key"])
        self.api.patch(f"{CLUSTERS}/safe", {"metadata": {"annotations": {"witan.dev/authority-overlap": "3s"}}})
        begin()
        seen, kills = self.changes(), 0

        def done():
            nonlocal seen, kills
            self.client_files()
            now = self.changes()
            if now != seen:
                seen, kills = now, kills + 1
                self.restart_operator()
            trusted = self.secret("safe-ca")
            ended = "next.crt" not in trusted and trusted["ca.crt"] == trusted["tls.crt"] != former["ca.crt"]
            return self.is_ready("safe") and ended and self.secret("safe-operator-tls")["ca.crt"] == trusted["ca.crt"]

        eventually("only the next CA is trusted", done, 400)
        print(f"        the operator was killed {kills} times", flush=True)
        assert self.members_and_disks("safe")[0] == before, "members were replaced"
        eventually("a client with a certificate of the former CA is refused", lambda: self.is_refused(pair))
        assert not self.is_refused(True)

    def changes(self):
        """Returns the state that a rotation changes."""
        secrets = [self.api.find(f"{CORE}/secrets/safe-{role}") for role in ("ca", "peer-tls", "client-tls", "operator-tls")]
        return [each and each["metadata"]["resourceVersion"] for each in secrets], self.uids("safe")

    def users(self):
        """Enables and disables authentication while a client writes. In between, the operator changes members."""
        self.api.create(f"{CORE}/secrets", {
            "metadata": {"name": "safe-root"}, "type": "kubernetes.io/basic-auth", "stringData": {"username": "root", "password": PASSWORD},
        })
        self.change("safe", auth={"enabled": True, "rootCredentialsSecretRef": {"name": "safe-root"}})
        eventually("authentication is enabled", lambda: all(answer["token"] for answer in self.login(PASSWORD).values()))
        assert "authentication failed" in self.login_refused("wrong")
        for replicas in (5, 3):
            self.change("safe", replicas=replicas)
            self.until_ready("scaling with users", "safe", replicas)
        self.change("safe", auth={"enabled": False})
        eventually("authentication is disabled", lambda: "authentication is not enabled" in self.login_refused(PASSWORD))
        self.until_ready("after authentication is disabled", "safe")
        # no further step is needed
        self.stays("safe", 5, self.world.steps)

    def login(self, password):
        return self.ask("safe", "/v3/auth/authenticate", {"name": "root", "password": password}, self.context())

    def login_refused(self, password):
        """Returns the members' error for a login with this password, or an empty string."""
        try:
            self.login(password)
        except urllib.error.HTTPError as refusal:
            return refusal.read().decode()
        return ""

    def corrupt(self):
        """A value changes on the disk of a stopped member, which replaces its state before it serves."""
        self.apply("altered", replicas=3, options={"extraArgs": {"initial-corrupt-check": "true"}}, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
        self.until_ready("another cluster", "altered")
        self.ask("altered", "/v3/kv/put", {"key": encoded("two"), "value": encoded("good-two")})
        # so that each member's checkpoint contains it
        self.ask("altered", "/v3/maintenance/defragment", {})
        self.write("altered")
        member = self.follower("altered")
        self.while_fenced("altered", member, lambda: self.alter(member, "good-two", "baad-two"))
        found = self.ask("altered", "/v3/kv/range", {"key": encoded("two"), "serializable": True})
        assert {answer["kvs"][0]["value"] for answer in found.values()} == {encoded("good-two")}, found
        assert self.rebuilds(member) == 1, "the corruption was not detected"

    def alter(self, member, was, becomes):
        claim = self.api.get(f"{CORE}/persistentvolumeclaims/data-{member}")
        volume = self.api.get(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}")["spec"]["hostPath"]["path"]
        data = os.path.join(volume, "data")
        owner = os.stat(data)
        done = subprocess.run([os.environ["WITAN_PLANTED_BIN"], "alter", data, was, becomes], capture_output=True, text=True, user=owner.st_uid, group=owner.st_gid, check=True)
        assert done.stdout.startswith("altered ") and " 0 " not in done.stdout, done

    def rebuilds(self, member):
        address = self.pods("altered")[member]["status"]["podIP"]
        with urllib.request.urlopen(f"http://{address}:2381/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("witan_corruption_rebuilds_total "))
