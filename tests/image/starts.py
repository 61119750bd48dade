"""Starts the image `etcd` like the programs that deploy etcd: with their commands, environment, mounts, permissions and probes,
as in their sources; kubeadm creates its pod itself (kubeadm.py). Each member is in a separate network, on the ports of the
deployment.

tests/operator/isolated python3 tests/image/starts.py TREE    TREE: the file system of the image

Prints a line for each case, as tests/image/run does.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from kubeadm import kubeadm

LIBC = ctypes.CDLL(None, use_errno=True)
PR_CAPBSET_DROP, CAPABILITIES = 24, 41
PATIENCE_S = 60
# the runtime's default if the image sets no PATH
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options).stdout


class Failure(Exception):
    pass


class Pod:
    """A container of the image, in a network with its own address."""

    def __init__(self, number, work, tree, names=(), files=None, volume=None, user=None):
        self.address = f"10.9.0.{number}"
        self.network = f"pod{number}"
        self.root = work / self.network
        self.user = user
        self.process = None
        self.log = work / f"{self.network}.log"
        shutil.copytree(tree, self.root, symlinks=True)
        hosts = "".join(f"10.9.0.{at} {name}\n" for at, name in names)
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        for path, (content, mode) in (files or {}).items():
            file = self.root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(mode)
            if user:
                os.chown(file, user, user)
        if volume:
            folder = self.root / volume.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            if user:
                os.chown(folder, user, user)
                folder.chmod(0o700)
        run("ip", "netns", "add", self.network)
        run("ip", "link", "add", f"veth{number}", "type", "veth", "peer", "name", "eth0", "netns", self.network)
        run("ip", "link", "set", f"veth{number}", "master", "pods", "up")
        for command in (("link", "set", "lo", "up"), ("addr", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            run("ip", "-n", self.network, *command)

    def enter(self):
        """Runs in the child before its program: enters the network and the root. A user other than root gets no
        capabilities."""
        network = os.open(f"/run/netns/{self.network}", os.O_RDONLY)
        if LIBC.setns(network, 0) != 0:
            os._exit(99)
        os.chroot(self.root)
        os.chdir("/")
        if self.user:
            if any(LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 for capability in range(CAPABILITIES)):
                os._exit(98)
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)

    def start(self, command, environment=None):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env={"PATH": PATH, **(environment or {})}, preexec_fn=self.enter, stdout=log, stderr=log
            )

    def execute(self, command, environment=None):
        """Runs a command in the container like `kubectl exec` or a probe. Returns the exit code and the output."""
        done = subprocess.run(
            command, env={"PATH": PATH, **(environment or {})}, preexec_fn=self.enter, capture_output=True, check=False
        )
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def must(self, command, environment=None):
        code, said = self.execute(command, environment)
        if code != 0:
            raise Failure(f"{' '.join(command)}: {said}")
        return said

    def until(self, command, environment=None):
        """Waits until a command in the container succeeds, like a probe. Fails if the container ends."""
        self.until_answered(command, lambda: self.execute(command, environment))

    def until_http(self, url):
        """Waits until a URL answers, like an HTTP probe of a kubelet, which shares the network of a host-network pod. Fails if
        the container ends."""
        curl = ["ip", "netns", "exec", self.network, "curl", "-sSf", url]

        def ask():
            done = subprocess.run(curl, capture_output=True, text=True, check=False)
            return done.returncode, done.stderr

        self.until_answered(curl, ask)

    def until_answered(self, command, ask):
        end = time.monotonic() + PATIENCE_S
        while True:
            code, said = ask()
            if code == 0:
                return
            if time.monotonic() > end or self.process.poll() is not None:
                raise Failure(f"{' '.join(command)}: {said}\n{self.log.read_text()[-3000:]}")
            time.sleep(0.2)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)

    def remove(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        run("ip", "netns", "del", self.network)


class World:
    def __init__(self, tree):
        self.tree = tree
        self.work = pathlib.Path(tempfile.mkdtemp())
        self.pods = []
        run("ip", "link", "add", "pods", "type", "bridge")
        run("ip", "link", "set", "pods", "up")

    def pod(self, number=1, **how):
        pod = Pod(number, self.work, self.tree, **how)
        self.pods.append(pod)
        return pod

    def certificates(self, name, *users):
        """Creates a CA, a server certificate for all addresses, and a client certificate for each user's common name. Returns
        the content of each file by its name."""
        folder = self.work / f"certificates-{name}"
        folder.mkdir()

        def openssl(*arguments):
            run("openssl", *arguments, cwd=folder)

        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=ca", "-addext", "basicConstraints=critical,CA:TRUE")
        names = f"subjectAltName=DNS:localhost,DNS:{name},IP:127.0.0.1,IP:10.9.0.1"
        for user, extension in [("server", names), *((user, "basicConstraints=CA:FALSE") for user in users)]:
            subject = name if user == "server" else user
            openssl("req", *curve, "-keyout", f"{user}.key", "-out", f"{user}.csr", "-subj", f"/CN={subject}")
            (folder / "extension").write_text(extension + "\nextendedKeyUsage=serverAuth,clientAuth\n")
            openssl("x509", "-req", "-in", f"{user}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extension", "-out", f"{user}.crt")
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def clean(self):
        for pod in self.pods:
            pod.remove()
        self.pods = []
        for left in self.work.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def milvus(world):
    """deployments/docker/standalone/docker-compose.yml of Milvus 2.5."""
    pod = world.pod(volume="/etcd")
    environment = {
        "ETCD_AUTO_COMPACTION_MODE": "revision", "ETCD_AUTO_COMPACTION_RETENTION": "1000", "ETCD_QUOTA_BACKEND_BYTES": "4294967296",
        "ETCD_SNAPSHOT_COUNT": "50000",
    }
    pod.start("etcd -advertise-client-urls=http://etcd:2379 -listen-client-urls http://0.0.0.0:2379 --data-dir /etcd".split(), environment)
    pod.until(["etcdctl", "endpoint", "health"], environment)
    if not (pod.root / "etcd/member").is_dir():
        raise Failure("the data is not in its volume")


def vitess(world):
    """pkg/operator/etcd/pod.go of the Vitess operator: three members that find each other by name, and values of up to 8 MiB."""
    names = [(at, f"lock-{at}.lock-peer") for at in (1, 2, 3)]
    environment = {
        "ETCD_AUTO_COMPACTION_MODE": "revision", "ETCD_AUTO_COMPACTION_RETENTION": "1000", "ETCD_QUOTA_BACKEND_BYTES": "8589934592",
        "ETCD_MAX_REQUEST_BYTES": "8388608", "ETCDCTL_API": "3",
    }
    pods = [world.pod(at, names=names, volume="/var/etcd") for at, _ in names]
    for at, pod in enumerate(pods, 1):
        pod.start([
            "/usr/local/bin/etcd", f"--advertise-client-urls=http://lock-{at}.lock-peer:2379", "--data-dir=/var/etcd",
            f"--initial-advertise-peer-urls=http://lock-{at}.lock-peer:2380",
            "--initial-cluster=" + ",".join(f"lock-{of}=http://{name}:2380" for of, name in names), "--initial-cluster-state=new",
            "--initial-cluster-token=lock", "--listen-client-urls=http://0.0.0.0:2379", "--listen-peer-urls=http://0.0.0.0:2380",
            f"--name=lock-{at}",
        ], environment)
    for pod in pods:
        pod.until(["etcdctl", "endpoint", "health"], environment)
        pod.must(["etcdctl", "endpoint", "status"], environment)
    # etcdctl itself sends at most 2 MiB
    value = "dnZ2" * (7 << 18)
    curl = ["curl", "-sSf", f"http://{pods[0].address}:2379/v3/kv/put", "--data-binary", "@-"]
    run("ip", "netns", "exec", pods[0].network, *curl, input=f'{{"key": "bGFyZ2U=", "value": "{value}"}}')
    if len(pods[2].must(["etcdctl", "get", "large", "--print-value-only"], environment)) <= len(value) // 4 * 3:
        raise Failure("the value is not whole on another member")


def talos(world):
    """internal/app/machined/pkg/system/services/etcd.go of Talos: a separate user without any capability, whose keys no other
    user can read."""
    made = world.certificates("talos", "talos-admin")
    pki = "/system/secrets/etcd"
    kinds = {"ca": "ca", "server": "server", "peer": "server", "admin": "talos-admin"}
    files = {f"{pki}/{kind}.{end}": (made[f"{name}.{end}"], 0o400) for kind, name in kinds.items() for end in ("crt", "key")}
    pod = world.pod(files=files, volume="/var/lib/etcd", user=60)
    url = f"https://{pod.address}"
    pod.start([
        "/usr/local/bin/etcd", f"--advertise-client-urls={url}:2379", "--auto-tls=false", f"--cert-file={pki}/server.crt", "--client-cert-auth=true",
        "--data-dir=/var/lib/etcd", "--experimental-initial-corrupt-check=true", "--experimental-watch-progress-notify-interval=5s",
        f"--initial-advertise-peer-urls={url}:2380", f"--initial-cluster=talos={url}:2380", "--initial-cluster-state=new",
        f"--key-file={pki}/server.key", "--listen-client-urls=https://0.0.0.0:2379", "--listen-peer-urls=https://0.0.0.0:2380", "--name=talos",
        "--peer-auto-tls=false", f"--peer-cert-file={pki}/peer.crt", "--peer-client-cert-auth=true", f"--peer-key-file={pki}/peer.key",
        f"--peer-trusted-ca-file={pki}/ca.crt", f"--trusted-ca-file={pki}/ca.crt",
    ], {
        "ETCD_CIPHER_SUITES": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,"
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    })
    tls = [f"--cacert={pki}/ca.crt", f"--cert={pki}/admin.crt", f"--key={pki}/admin.key"]
    pod.until(["etcdctl", f"--endpoints={url}:2379", *tls, "endpoint", "health"])
    pod.must(["etcdctl", f"--endpoints={url}:2379", *tls, "member", "list"])


def cilium(world):
    """clustermesh-apiserver/deployment.yaml of Cilium: users by common names of certificates, created before the first client."""
    made = world.certificates("clustermesh-apiserver.cilium.io", "admin-east", "remote")
    secrets = "/var/lib/etcd-secrets"
    files = {f"{secrets}/{to}": (made[name], 0o400) for to, name in (("ca.crt", "ca.crt"), ("tls.crt", "server.crt"), ("tls.key", "server.key"))}
    files |= {f"/clients/{user}.{end}": (made[f"{user}.{end}"], 0o400) for user in ("admin-east", "remote") for end in ("crt", "key")}
    pod = world.pod(files=files, volume="/var/run/etcd")
    pod.start([
        "/usr/local/bin/etcd", "--data-dir=/var/run/etcd", "--name=clustermesh-apiserver", "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379", "--initial-cluster-token=clustermesh-apiserver", "--initial-cluster-state=new",
        "--auto-compaction-retention=1",
    ])
    three = {"ETCDCTL_API": "3"}
    pod.until(["etcdctl", "put", "cilium/.has-cluster-config", "true"], three)
    for words in (
        "user add root --no-password", "user grant-role root root", "user add admin-east --no-password", "user grant-role admin-east root",
        "user add remote --no-password", "role add remote", ["role", "grant-permission", "remote", "--from-key", "read", ""],
        "user grant-role remote remote", "auth enable",
    ):
        pod.must(["etcdctl", *(words.split() if isinstance(words, str) else words)], three)
    pod.stop()
    pod.start([
        "/usr/local/bin/etcd", "--data-dir=/var/run/etcd", "--name=clustermesh-apiserver", "--client-cert-auth",
        f"--trusted-ca-file={secrets}/ca.crt", f"--cert-file={secrets}/tls.crt", f"--key-file={secrets}/tls.key",
        f"--listen-client-urls=https://127.0.0.1:2379,https://[{pod.address}]:2379", f"--advertise-client-urls=https://[{pod.address}]:2379",
        "--initial-cluster-token=clustermesh-apiserver", "--auto-compaction-retention=1", f"--listen-metrics-urls=http://[{pod.address}]:9963",
        "--metrics=basic",
    ])
    pod.until_http(f"http://{pod.address}:9963/metrics")

    def by(user):
        return ["etcdctl", f"--endpoints=https://{pod.address}:2379", f"--cacert={secrets}/ca.crt", f"--cert=/clients/{user}.crt", f"--key=/clients/{user}.key"]

    pod.must([*by("admin-east"), "put", "cilium/state/nodes", "1"], three)
    if "true" not in pod.must([*by("remote"), "get", "cilium/.has-cluster-config"], three):
        raise Failure("remote does not read")
    code, said = pod.execute([*by("remote"), "put", "cilium/state/nodes", "2"], three)
    if code == 0 or "permission denied" not in said:
        raise Failure(f"remote writes: {said}")


def kubespray(world):
    """roles/etcd/templates/etcd.env.j2 of Kubespray: all settings come from variables."""
    made = world.certificates("node1", "admin-node1")
    ssl = "/etc/ssl/etcd/ssl"
    files = {f"{ssl}/ca.pem": (made["ca.crt"], 0o600)}
    for name, of in (("member-node1", "server"), ("admin-node1", "admin-node1")):
        files |= {f"{ssl}/{name}.pem": (made[f"{of}.crt"], 0o600), f"{ssl}/{name}-key.pem": (made[f"{of}.key"], 0o600)}
    pod = world.pod(files=files, volume="/var/lib/etcd")
    url = f"https://{pod.address}"
    member = {"CERT_FILE": f"{ssl}/member-node1.pem", "KEY_FILE": f"{ssl}/member-node1-key.pem", "TRUSTED_CA_FILE": f"{ssl}/ca.pem", "CLIENT_CERT_AUTH": "true"}
    environment = {
        "ETCD_DATA_DIR": "/var/lib/etcd", "ETCD_ADVERTISE_CLIENT_URLS": f"{url}:2379", "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"{url}:2380",
        "ETCD_INITIAL_CLUSTER_STATE": "new", "ETCD_METRICS": "basic", "ETCD_LISTEN_CLIENT_URLS": f"{url}:2379,https://127.0.0.1:2379",
        "ETCD_ELECTION_TIMEOUT": "5000", "ETCD_HEARTBEAT_INTERVAL": "250", "ETCD_INITIAL_CLUSTER_TOKEN": "k8s_etcd",
        "ETCD_LISTEN_PEER_URLS": f"{url}:2380", "ETCD_NAME": "etcd1", "ETCD_PROXY": "off", "ETCD_INITIAL_CLUSTER": f"etcd1={url}:2380",
        "ETCD_AUTO_COMPACTION_RETENTION": "8", "ETCD_SNAPSHOT_COUNT": "10000",
        **{f"ETCD_{kind}{name}": value for kind in ("", "PEER_") for name, value in member.items()},
    }
    pod.start(["/usr/local/bin/etcd"], environment)
    tls = {"ETCDCTL_CACERT": f"{ssl}/ca.pem", "ETCDCTL_CERT": f"{ssl}/admin-node1.pem", "ETCDCTL_KEY": f"{ssl}/admin-node1-key.pem", "ETCDCTL_ENDPOINTS": f"{url}:2379"}
    pod.until(["/usr/local/bin/etcdctl", "endpoint", "--cluster", "health"], tls)


def main():
    world = World(pathlib.Path(sys.argv[1]))
    for case in (kubeadm, milvus, vitess, talos, cilium, kubespray):
        try:
            case(world)
            print(f"ok starts: {case.__name__}")
        except (Failure, subprocess.CalledProcessError) as failure:
            print(f"FAILED starts: {case.__name__}: {failure}{getattr(failure, 'output', None) or ''}")
        finally:
            world.clean()
    with contextlib.suppress(OSError):
        world.work.rmdir()


if __name__ == "__main__":
    main()
