"""The processes: the store (Witan), kube-apiserver on it, the controllers and the scheduler, and the operator, which reaches the
API server through a proxy.

`node.py` or `containers.py` runs pods, and `drive.py` has the cases."""

import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from api import Api, eventually
from ports import free_port
from proxy import Proxy

OPERATOR_NAMESPACE = "witan-system"
# replicas of the operator outside the cluster; only one case starts the second
FIRST, SECOND = "operator", "second"
# A node is not ready if its lease is this old, and its pods are evicted after the same time again. Kubernetes uses 50 and 300 s.
NODE_GRACE_S = 20
# the address of the Service `kubernetes` in the default namespace, at which pods reach the API server
API_ADDRESS, API_PORT = "10.96.0.1", 443
# the path is fixed in the controllers
VOLUMES = "/tmp/hostpath_pv"


class World:
    def __init__(self, witan, operator, kube):
        self.folder = tempfile.mkdtemp(prefix="witan-operator-")
        self.witan, self.operator_program, self.kube = witan, operator, kube
        self.processes = {}
        self.token = secrets.token_hex(16)
        self.ports = {name: free_port() for name in ("store", "peer", "controllers", "scheduler", "metrics", "health", f"{SECOND}-metrics", f"{SECOND}-health")}
        # number of counted steps, and the last seen counters of each operator
        self.steps_counted, self.steps_seen, self.steps_lock = 0, {}, threading.Lock()

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        """Replaces the file atomically, because other processes read it. Returns its path."""
        with open(self.path(name) + ".new", "w") as file:
            file.write(text)
        os.chmod(self.path(name) + ".new", 0o600)
        os.rename(self.path(name) + ".new", self.path(name))
        return self.path(name)

    def spawn(self, name, *command, env=None):
        """Starts a process that logs to a file of its name. An earlier process of that name must have ended."""
        with open(self.path(name + ".log"), "a") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env={**os.environ, **(env or {})})
        self.processes[name] = process
        return process

    def kill(self, name, how=signal.SIGKILL):
        self.steps()
        process = self.processes.pop(name)
        with self.steps_lock:
            self.steps_seen.pop(name, None)
        process.send_signal(how)
        process.wait()

    def start(self):
        # the controllers' directory for volumes; the mount ends with the namespace
        os.makedirs(self.path("volumes"))
        os.makedirs(VOLUMES, exist_ok=True)
        subprocess.run(["mount", "--bind", self.path("volumes"), VOLUMES], check=True)
        self.write("tokens.csv", f'{self.token},admin,1,"system:masters"\n')
        self.openssl("genrsa", "-out", "sa.key", "2048")
        self.authority()
        self.start_store()
        # replaces kube-proxy for the only Service without pods
        subprocess.run(["ip", "addr", "add", f"{API_ADDRESS}/32", "dev", "lo"], check=True)
        # records every request
        self.write("audit.json", json.dumps({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"], "rules": [{"level": "Metadata"}],
        }))
        self.spawn(
            "kube-apiserver", f"{self.kube}/kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.ports['store']}",
            "--bind-address=0.0.0.0", f"--secure-port={API_PORT}", "--advertise-address=192.0.2.10",
            "--tls-cert-file=apiserver.crt", "--tls-private-key-file=apiserver.key", "--client-ca-file=ca.crt",
            "--authorization-mode=RBAC", "--token-auth-file=tokens.csv", "--service-cluster-ip-range=10.96.0.0/16",
            # as in OpenShift: setting an owner needs permission for its finalizers
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            "--audit-policy-file=audit.json", "--audit-log-path=audit.log", "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=sa.key",
            "--service-account-signing-key-file=sa.key", "--kubelet-preferred-address-types=InternalIP",
            "--kubelet-client-certificate=kubelet-client.crt", "--kubelet-client-key=kubelet-client.key",
            f"--default-not-ready-toleration-seconds={NODE_GRACE_S}", f"--default-unreachable-toleration-seconds={NODE_GRACE_S}",
        )
        self.proxy = Proxy(("127.0.0.1", API_PORT))
        self.api = Api(f"https://127.0.0.1:{API_PORT}", self.token, self.path("ca.crt"))
        self.kubeconfig = self.write_kubeconfig("kubeconfig", self.token)
        eventually("kube-apiserver is ready", lambda: self.ready())
        self.spawn(
            "kube-controller-manager", f"{self.kube}/kube-controller-manager", f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false", "--bind-address=127.0.0.1", f"--secure-port={self.ports['controllers']}", "--cert-dir=certs-cm",
            "--service-account-private-key-file=sa.key", "--root-ca-file=ca.crt", "--use-service-account-credentials=true",
            "--enable-hostpath-provisioner=true", f"--node-monitor-grace-period={NODE_GRACE_S}s", "--node-monitor-period=1s",
        )
        eventually("controllers make the default service account", lambda: self.api.find("/api/v1/namespaces/default/serviceaccounts/default"))

    def start_scheduler(self):
        self.spawn(
            "kube-scheduler", f"{self.kube}/kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false",
            "--bind-address=127.0.0.1", f"--secure-port={self.ports['scheduler']}", "--cert-dir=certs-ks",
        )

    def ready(self):
        assert self.processes["kube-apiserver"].poll() is None, f"kube-apiserver exited, see {self.path('kube-apiserver.log')}"
        connection = self.api.connect()
        connection.request("GET", "/readyz", None, self.api.headers("application/json"))
        return connection.getresponse().status == 200

    def start_store(self):
        client, peer = f"http://127.0.0.1:{self.ports['store']}", f"http://127.0.0.1:{self.ports['peer']}"
        self.spawn(
            "store", self.witan, "--name", "default", "--data-dir", "store", "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        )

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def authority(self):
        """Creates the CA and the certificate of the API server, and its client certificate for kubelets."""
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=ca")
        names = "DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1,IP:192.0.2.10,IP:10.244.0.1"
        for name, subject, extra in (
            ("apiserver", "/CN=kube-apiserver", f"subjectAltName={names}"),
            ("kubelet-client", "/O=system:masters/CN=apiserver-kubelet-client", "extendedKeyUsage=clientAuth"),
        ):
            self.write("extensions", extra)
            self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
                         "-extfile", "extensions", "-out", f"{name}.crt")

    def write_kubeconfig(self, name, token, namespace="default", server=None):
        return self.write(name, json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "l",
            "clusters": [{"name": "l", "cluster": {"server": server or self.api.url, "certificate-authority": self.path("ca.crt")}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "l", "context": {"cluster": "l", "user": "u", "namespace": namespace}}],
        }))

    def start_operator(self, kubeconfig, image, name=FIRST, program=None):
        """Starts the operator outside the cluster, under a fixed replica name, so that a restart finds its own lease."""
        metrics, health = self.operator_ports(name)
        self.spawn(
            name, program or self.operator_program, "--member-image", image, "--metrics-addr", f"127.0.0.1:{metrics}",
            "--health-addr", f"127.0.0.1:{health}", "--identity", f"witan-{name}-0", "--lease-namespace", OPERATOR_NAMESPACE,
            "--log-level", os.environ.get("OPERATOR_LOG", "info"), env={"KUBECONFIG": kubeconfig},
        )

    def operator_ports(self, name):
        before = "" if name == FIRST else f"{name}-"
        return self.ports[f"{before}metrics"], self.ports[f"{before}health"]

    def operator_is_ready(self, name=FIRST):
        assert self.processes[name].poll() is None, f"the operator ended, see {self.path(name + '.log')}"
        connection = http.client.HTTPConnection("127.0.0.1", self.operator_ports(name)[1], timeout=2)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200

    def operator_metrics(self, name=FIRST):
        connection = http.client.HTTPConnection("127.0.0.1", self.operator_ports(name)[0], timeout=2)
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()

    def steps(self):
        """Returns the number of steps that operators have taken or tried on EtcdClusters. Counted steps of deleted clusters
        remain, although an operator forgets them."""
        kinds = ("witan_operator_steps_total{", "witan_operator_reconcile_errors_total{")
        with self.steps_lock:
            for name in {FIRST, SECOND} & set(self.processes):
                try:
                    lines = [line.rsplit(" ", 1) for line in self.operator_metrics(name).splitlines() if line.startswith(kinds)]
                except (OSError, http.client.HTTPException):
                    continue  # it starts, is stopped, or has ended
                before, after = self.steps_seen.get(name, {}), {series: int(float(value)) for series, value in lines}
                # a counter that has decreased belongs to a recreated cluster
                self.steps_counted += sum(value - before.get(series, 0) if value >= before.get(series, 0) else value for series, value in after.items())
                self.steps_seen[name] = after
            return self.steps_counted

    def count_steps(self):
        """Reads the counters continuously, because those of a cluster disappear with it."""
        while True:
            self.steps()
            time.sleep(1)

    def end(self, keep):
        """Ends every process, clients first and the store last. Removes the directory or prints its path."""
        for name in reversed(list(self.processes)):
            self.kill(name)
        subprocess.run(["umount", "-l", VOLUMES], check=False)
        if keep:
            print("logs are in", self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
