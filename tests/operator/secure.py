"""Cases of a cluster with TLS towards clients and with users, and of a member whose data is another one than that of the others.

Each has a cluster of its own; what cases use is in `drive.py`."""

import base64
import json
import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

from api import eventually

NAME = "other.example"
PASSWORD = "correct horse"
MANAGED = {"managed": {}}


class Secure:
    """What `Drive` inherits."""

    def secret_files(self, name):
        """Certificate, key and authority of a secret, as paths."""
        data = self.api.get(f"/api/v1/namespaces/prod/secrets/{name}")["data"]
        return {file: self.world.write(f"{name}.{file}", base64.b64decode(data[file]).decode()) for file in ("tls.crt", "tls.key", "ca.crt")}

    def context(self, certificate=True):
        """What a client of the cluster `safe` needs; addresses of pods are in no certificate."""
        files = self.secret_files("safe-operator-tls")
        context = ssl.create_default_context(cafile=files["ca.crt"])
        context.check_hostname = False
        if certificate:
            context.load_cert_chain(files["tls.crt"], files["tls.key"])
        return context

    def ask(self, cluster, path, body, context=None):
        """A POST to each member."""
        scheme = "https" if context else "http"
        answers = {}
        for name, pod in self.pods(cluster).items():
            url = f"{scheme}://{pod['status']['podIP']}:2379{path}"
            with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=10, context=context) as answer:
                answers[name] = json.load(answer)
        return answers

    def client_tls(self):
        """A cluster with certificates of the operator on both ports; clients need one, too."""
        self.apply("safe", replicas=3, tls={"peer": MANAGED, "client": MANAGED}, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
        self.until_ready("a cluster with TLS", "safe")
        files = self.secret_files("safe-operator-tls")
        self.write("safe", "-cacert", files["ca.crt"], "-cert", files["tls.crt"], "-key", files["tls.key"], "-name", "safe-client.prod.svc")
        eventually("a client writes", lambda: self.writers["safe"].ask("mark")["written"])
        self.ask("safe", "/v3/auth/status", {}, self.context())
        try:
            self.ask("safe", "/v3/auth/status", {}, self.context(certificate=False))
        except OSError:
            return
        raise AssertionError("a client without a certificate is served")

    def names_shown(self, port):
        """Names in the certificate that each member shows."""
        for pod in self.pods("safe").values():
            with socket.create_connection((pod["status"]["podIP"], port), 5) as stream, self.context().wrap_socket(stream) as tls:
                yield {name for _, name in tls.getpeercert()["subjectAltName"]}

    def rotate_tls(self):
        """New certificates on both ports, without a restart; then a member that starts with them."""
        uids = lambda: {name: pod["metadata"]["uid"] for name, pod in self.pods("safe").items()}
        before = uids()
        self.change("safe", tls={"peer": {"additionalDNSNames": [NAME]}, "client": {"additionalDNSNames": [NAME]}})
        for port in (2379, 2380):
            eventually(f"all members show the new certificate on port {port}", lambda: all(NAME in names for names in self.names_shown(port)))
        assert uids() == before, "members were restarted"
        pod = self.follower("safe")
        self.api.delete(f"/api/v1/namespaces/prod/pods/{pod}")
        eventually("another pod takes its place", lambda: uids().get(pod, before[pod]) != before[pod])
        self.until_ready("with the new certificates", "safe")

    def users(self):
        """Users are checked, and no more, while a client writes; between the two the operator changes members."""
        self.api.create("/api/v1/namespaces/prod/secrets", {
            "metadata": {"name": "safe-root"}, "type": "kubernetes.io/basic-auth", "stringData": {"username": "root", "password": PASSWORD},
        })
        self.change("safe", auth={"enabled": True, "rootCredentialsSecretRef": {"name": "safe-root"}})
        eventually("users are checked", lambda: all(answer["token"] for answer in self.login(PASSWORD).values()))
        assert "authentication failed" in self.login_refused("wrong")
        for replicas in (5, 3):
            self.change("safe", replicas=replicas)
            self.until_ready("scaling with users", "safe", replicas)
        self.change("safe", auth={"enabled": False})
        eventually("users are not checked", lambda: "authentication is not enabled" in self.login_refused(PASSWORD))

    def login(self, password):
        return self.ask("safe", "/v3/auth/authenticate", {"name": "root", "password": password}, self.context())

    def login_refused(self, password):
        """What members say to it."""
        try:
            self.login(password)
        except urllib.error.HTTPError as refusal:
            return refusal.read().decode()
        return ""

    def corrupt(self):
        """A value changes on the disk of a stopped member: it replaces its state before it serves."""
        self.apply("altered", replicas=3, options={"extraArgs": {"initial-corrupt-check": "true"}}, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
        self.until_ready("another cluster", "altered")
        text = lambda value: base64.b64encode(value.encode()).decode()
        self.ask("altered", "/v3/kv/put", {"key": text("two"), "value": text("good-two")})
        # into a checkpoint of each
        self.ask("altered", "/v3/maintenance/defragment", {})
        self.write("altered")
        member = self.follower("altered")
        self.while_fenced("altered", member, lambda: self.alter(member, "good-two", "baad-two"))
        found = self.ask("altered", "/v3/kv/range", {"key": text("two"), "serializable": True})
        assert {answer["kvs"][0]["value"] for answer in found.values()} == {text("good-two")}, found
        assert self.rebuilds(member) == 1, "it was not found"

    def alter(self, member, was, becomes):
        claim = self.api.get(f"/api/v1/namespaces/prod/persistentvolumeclaims/data-{member}")
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
