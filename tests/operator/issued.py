"""Certificates from cert-manager, whose own controllers run as a process next to the operator, with their own CRDs.

The helpers are in `drive.py`."""

import base64
import os
import socket
import ssl

from api import condition, eventually
from trouble import CLUSTERS, CORE
from world import OPERATOR_NAMESPACE

ISSUED = "issued"
ISSUERS = "/apis/cert-manager.io/v1/namespaces/prod/issuers"
CERTIFICATES = "/apis/cert-manager.io/v1/namespaces/prod/certificates"
SECRETS = ("issued-peer-tls", "issued-client-tls", "issued-operator-tls")
OURS = {"certManager": {"issuerRef": {"name": "ours"}}}


class Issued:
    """Mixin for `Drive`."""

    def cert_manager(self):
        """A cluster waits for cert-manager, starts with its certificates, and renews them while a client writes."""
        self.apply(ISSUED, replicas=3, tls={"peer": OURS, "client": OURS}, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
        eventually("the condition Degraded reports that cert-manager is missing", lambda: condition(self.cluster(ISSUED), "Degraded") == ("True", "CertManagerMissing"))
        assert not self.pods(ISSUED)
        self.start_cert_manager()
        # makes the operator look now instead of at its next poll
        self.api.patch(f"{CLUSTERS}/{ISSUED}", {"metadata": {"labels": {"looked": "now"}}})
        self.until_ready("a cluster with certificates of cert-manager", ISSUED, patience_s=180)
        texts = self.secret(SECRETS[2])
        authorities, pair = self.world.write("issued.ca", texts["ca.crt"]), self.world.write("issued.pair", texts["tls.crt"] + texts["tls.key"])
        self.write(ISSUED, "-cacert", authorities, "-cert", pair, "-name", "issued-client.prod.svc")
        eventually("a client writes", lambda: self.writers[ISSUED].ask("mark")["written"])
        before, shown = self.uids(ISSUED), {port: self.serials(authorities, pair, port) for port in (2379, 2380)}
        for name in SECRETS:
            self.renew(name)
        for port in (2379, 2380):
            eventually(f"all members show the renewed certificate on port {port}", lambda: not shown[port] & self.serials(authorities, pair, port))
        assert self.uids(ISSUED) == before, "members were restarted"
        for replicas in (5, 3):
            self.change(ISSUED, replicas=replicas)
            self.until_ready("scaling with renewed certificates", ISSUED, replicas)

    def cert_manager_delete(self):
        """The certificates and cert-manager's secrets are deleted with the cluster."""
        self.all_acknowledged_are_there(ISSUED)
        self.writers.pop(ISSUED).end()
        self.api.delete(f"{CLUSTERS}/{ISSUED}")
        left = lambda: [name for name in SECRETS if self.api.find(f"{CERTIFICATES}/{name}") or self.api.find(f"{CORE}/secrets/{name}")]
        eventually("nothing remains", lambda: not left() and not self.pods(ISSUED), 60)
        self.world.kill("cert-manager")

    def start_cert_manager(self):
        definitions = os.environ["CERT_MANAGER_CRDS"]
        self.kubectl("apply", "--server-side", "--filename", definitions)
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "--filename", definitions)
        self.api.create(f"{CORE}/secrets", {"metadata": {"name": "authority"}, "type": "kubernetes.io/tls", "data": self.authority_files()})
        self.api.create(ISSUERS, {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "ours"}, "spec": {"ca": {"secretName": "authority"}}})
        self.world.spawn("cert-manager", os.environ["CERT_MANAGER_BIN"], self.world.kubeconfig, env={"POD_NAMESPACE": OPERATOR_NAMESPACE})
        eventually("the issuer is ready", lambda: condition(self.api.get(f"{ISSUERS}/ours"), "Ready")[0] == "True")

    def authority_files(self):
        """Creates a CA and returns it as the data of a secret."""
        self.world.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ours.key", "-out", "ours.crt", "-days", "30", "-subj", "/CN=ours")
        files = {}
        for name in ("crt", "key"):
            with open(self.world.path(f"ours.{name}"), "rb") as file:
                files[f"tls.{name}"] = base64.b64encode(file.read()).decode()
        return files

    def renew(self, name):
        """Renews a certificate like `cmctl renew`."""
        mark = {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "requested by a test"}
        kept = [each for each in self.api.get(f"{CERTIFICATES}/{name}")["status"]["conditions"] if each["type"] != "Issuing"]
        self.api.patch(f"{CERTIFICATES}/{name}/status", {"status": {"conditions": [*kept, mark]}})

    def serials(self, authorities, pair, port):
        """Returns the serial numbers of the members' certificates at a port."""
        context = ssl.create_default_context(cafile=authorities)
        context.check_hostname = False
        context.load_cert_chain(pair)
        shown = set()
        for pod in self.pods(ISSUED).values():
            with socket.create_connection((pod["status"]["podIP"], port), 5) as stream, context.wrap_socket(stream) as tls:
                shown.add(tls.getpeercert()["serialNumber"])
        return shown
