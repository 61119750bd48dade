"""A node of kubeadm: a real kubelet on containerd runs kubeadm's static pod of etcd, first with etcd's own image. Witan's image
then replaces it like `kubeadm upgrade`: a copy of the data directory, and another manifest.

tests/operator/isolated python3 tests/image/kubelet.py ARCHIVE    ARCHIVE: the image `etcd`, in the form of `ctr image import`

Prints a line for each step, as tests/image/run does. /etc and /var/lib are separate layers, which end with the mount namespace:
kubeadm and the pod use the paths of a real node.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from containers import CONTAINERD, make_image
from kubeadm import CLIENT, MANIFEST, REPOSITORY, TAG, make

# the address that tests/operator/isolated sets
ADDRESS = "192.0.2.10"
DATA = "/var/lib/etcd"
# the image's name in the archive
BUILT = "localhost/etcd:built"
# a kubelet increases the delay between its attempts, and this machine may be busy
PATIENCE_S = 300
KEYS = 20
# the tag of etcd's own image; kubeadm upgrades to a later one
ETCD_TAG = "3.6.0-0"
KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "staticPodPath": f"/{os.path.dirname(MANIFEST)}",
    "address": "127.0.0.1", "readOnlyPort": 10255, "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"}, "failCgroupV1": False, "failSwapOn": False, "cgroupDriver": "cgroupfs", "enforceNodeAllocatable": [],
    "resolvConf": "", "makeIPTablesUtilChains": False, "oomScoreAdj": 0, "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
    "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
}


def run(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout


def eventually(what, condition):
    end = time.monotonic() + PATIENCE_S
    while not (got := condition()):
        if time.monotonic() > end:
            raise RuntimeError(f"waited {PATIENCE_S} s without success: {what}")
        time.sleep(0.2)
    return got


class Node:
    def __init__(self):
        self.folder = tempfile.mkdtemp()
        self.processes = []

    def start(self, archive):
        layers = f"{self.folder}/layers"
        os.mkdir(layers)
        run("mount", "-t", "tmpfs", "tmpfs", layers)
        for at in ("/etc", "/var/lib"):
            upper, work = (f"{layers}{at}-{kind}" for kind in ("upper", "work"))
            os.makedirs(upper)
            os.makedirs(work)
            run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={at},upperdir={upper},workdir={work}", at)
        for old in ("/etc/kubernetes", DATA):
            shutil.rmtree(old, ignore_errors=True)
        os.makedirs(f"/{os.path.dirname(MANIFEST)}")
        config = self.write("containerd.toml", CONTAINERD.format(folder=self.folder))
        self.spawn("containerd", "--config", config)
        eventually("containerd answers", lambda: self.ctr("version", check=False).returncode == 0)
        self.image("docker.io/local/pause:1", ["/bin/busybox", "sleep", "2147483647"], {"bin/busybox": shutil.which("busybox")})
        programs = pathlib.Path(os.environ["ETCD_BIN"])
        self.image(f"{REPOSITORY}/etcd:{ETCD_TAG}", ["/usr/local/bin/etcd"], {f"usr/local/bin/{name}": programs / f"{name}36" for name in ("etcd", "etcdctl")})
        self.ctr("image", "import", archive)
        self.ctr("image", "tag", BUILT, f"{REPOSITORY}/etcd:{TAG}")
        kubelet = {**KUBELET, "containerRuntimeEndpoint": f"unix://{self.folder}/containerd.sock", "podLogsDir": f"{self.folder}/logs"}
        self.spawn(f"{os.environ['KUBE_BIN']}/kubelet", f"--config={self.write('kubelet.yaml', json.dumps(kubelet))}", f"--root-dir={self.folder}/kubelet",
                   f"--cert-dir={self.folder}/kubelet-pki", "--hostname-override=node-1", f"--node-ip={ADDRESS}")

    def write(self, name, text):
        path = f"{self.folder}/{name}"
        pathlib.Path(path).write_text(text)
        return path

    def spawn(self, program, *arguments):
        with open(f"{self.folder}/{os.path.basename(program)}.log", "wb") as log:
            self.processes.append(subprocess.Popen([program, *arguments], stdout=log, stderr=log))

    def ctr(self, *arguments, check=True):
        done = subprocess.run(["ctr", "-a", f"{self.folder}/containerd.sock", "-n", "k8s.io", *arguments], capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done

    def image(self, name, entry, files):
        archive = f"{self.folder}/image.tar"
        make_image(archive, name, entry, files)
        self.ctr("image", "import", archive)

    def pods(self):
        """Returns the kubelet's view of its pods."""
        try:
            with urllib.request.urlopen("http://127.0.0.1:10255/pods", timeout=10) as answer:
                return json.load(answer)["items"] or []
        except OSError:
            return []

    def ready(self, manifest):
        """Waits until the pod of this manifest passes its probes. Returns its container's id."""
        wanted, = manifest["spec"]["containers"]

        def ask():
            for pod in self.pods():
                has, status = pod["spec"]["containers"][0], pod.get("status", {})
                conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
                if has["image"] == wanted["image"] and has["command"] == wanted["command"] and conditions.get("Ready") == "True":
                    container, = status["containerStatuses"]
                    return container["containerID"].split("//")[1] if "running" in container["state"] else None
            return None

        return eventually(f"a pod of {wanted['image']} is ready", ask)

    def gone(self):
        eventually("no container of etcd runs", lambda: len(self.ctr("task", "ls", "-q").stdout.split()) == 0)

    def end(self, keep):
        for process in reversed(self.processes):
            if process is self.processes[0]:
                for task in self.ctr("task", "ls", "-q", check=False).stdout.split():
                    self.ctr("task", "kill", "-s", "9", task, check=False)
                time.sleep(0.5)
            process.kill()
            process.wait()
        if keep:
            for log in ("kubelet", "containerd"):
                print("\n".join(pathlib.Path(f"{self.folder}/{log}.log").read_text(errors="replace").splitlines()[-30:]), file=sys.stderr)
            for log in pathlib.Path(self.folder, "logs").rglob("*.log"):
                print(log, log.read_text(errors="replace")[-2000:], file=sys.stderr)
        with open("/proc/mounts", encoding="utf-8") as mounts:
            inside = [line.split()[1] for line in mounts if line.split()[1].startswith(self.folder + "/")]
        for mount in sorted(inside, reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Etcd:
    """The running pod as its users see it, whichever program it contains."""

    def __init__(self, node, manifest):
        self.node, self.manifest, self.calls = node, manifest, 0
        self.container = node.ready(manifest)

    def etcdctl(self, *words):
        """Runs etcdctl in the container, like `kubectl exec` and `crictl exec`. Returns its output."""
        self.calls += 1
        return self.node.ctr("task", "exec", "--exec-id", f"call-{self.calls}", self.container, "etcdctl", *CLIENT, *words).stdout

    def put(self, name):
        for n in range(KEYS):
            self.etcdctl("put", f"{name}-{n}", name)

    def state(self):
        """Returns all keys with their revisions, and the cluster and member ids."""
        got = json.loads(self.etcdctl("get", "", "--prefix", "--write-out=json"))
        return got["kvs"], got["header"]["cluster_id"], got["header"]["member_id"]

    def upgrade(self, tag, **flags):
        """Acts like `kubeadm upgrade`: copies the data directory of the running member, and replaces the manifest. Returns the
        new pod and the path of the copy."""
        copy = f"/etc/kubernetes/tmp/{len(os.listdir('/etc/kubernetes/tmp'))}"
        run("cp", "-r", DATA, f"{copy}-etcd")
        manifest = make(copy, ADDRESS, tag, keys=False, **flags)
        os.rename(f"/{MANIFEST}", f"{copy}-etcd.yaml")
        os.rename(f"{copy}/{MANIFEST}", f"/{MANIFEST}")
        return Etcd(self.node, manifest), f"{copy}-etcd"


def same(what, got, wanted):
    if got != wanted:
        raise RuntimeError(f"{what}: {got} instead of {wanted}")


def steps(node):
    os.mkdir("/etc/kubernetes/tmp")
    first = make("/", ADDRESS, ETCD_TAG)
    etcd = Etcd(node, first)
    etcd.put("etcd")
    before = etcd.state()
    same("keys", len(before[0]), KEYS)
    yield "etcd 3.6 in kubeadm's static pod"

    witan, of_etcd = etcd.upgrade(TAG, adopt_etcd="true")
    same("keys of etcd", witan.state(), before)
    witan.etcdctl("endpoint", "health")
    yield "an upgrade to the image keeps etcd's keys"

    witan.put("witan")
    node.ctr("task", "kill", "-s", "9", witan.container)
    eventually("another container", lambda: node.ready(witan.manifest) != witan.container)
    witan = Etcd(node, witan.manifest)
    copied = witan.state()
    same("keys", len(copied[0]), 2 * KEYS)
    yield "a killed container restarts with its keys"

    later, copy = witan.upgrade(TAG, adopt_etcd="true", quota_backend_bytes="4294967296")
    same("keys", later.state(), copied)
    later.put("later")
    yield "an upgrade of the image's flags"

    def back(manifest, data):
        os.remove(f"/{MANIFEST}")
        node.gone()
        shutil.rmtree(DATA)
        run("cp", "-r", data, DATA)
        os.rename(f"{data}.yaml", f"/{MANIFEST}")
        return Etcd(node, manifest).state()

    same("keys of the copy", back(witan.manifest, copy), copied)
    yield "a restore of the copy of the running member"
    same("keys of etcd's copy", back(first, of_etcd), before)
    yield "a return to etcd"


def main():
    node, failed = Node(), False
    try:
        node.start(sys.argv[1])
        for step in steps(node):
            print(f"ok kubelet: {step}", flush=True)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as failure:
        failed = True
        print(f"FAILED kubelet: {failure}{getattr(failure, 'output', None) or ''}".replace("\n", " "), flush=True)
    finally:
        node.end(failed)


if __name__ == "__main__":
    main()
