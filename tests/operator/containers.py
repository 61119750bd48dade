"""A real node: kubelet on containerd, with runc and Debian's network plugins. Builds images of one layer with a program and its
libraries, and pulls none.

Needs root, Debian's containerd, runc, containernetworking-plugins and busybox-static, and a kubelet (`tests/kube/binaries`)."""

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import threading
import time

from api import Refused, condition, eventually
from names import ADDRESS, DOMAIN

NODE = "node1"
CONTAINERD = """version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-run"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""
KUBELET = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {folder}/ca.crt}}}}
authorization: {{mode: Webhook}}
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix://{folder}/containerd.sock
podLogsDir: {folder}/kubelet-logs
resolvConf: ""
clusterDomain: {domain}
clusterDNS: [{dns}]
evictionHard: {{memory.available: "50Mi", nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
makeIPTablesUtilChains: false
oomScoreAdj: 0
"""


class Containers:
    """The node of all pods. A loop binds the pods to it, like a scheduler."""

    def __init__(self, world, images):
        self.world, self.api, self.folder = world, world.api, world.folder
        network = {"cniVersion": "0.4.0", "name": "pods", "plugins": [{
            "type": "bridge", "bridge": "pods", "isGateway": True, "ipMasq": False,
            "ipam": {"type": "host-local", "dataDir": f"{self.folder}/cni-ipam", "ranges": [[{"subnet": "10.244.0.0/16", "rangeStart": "10.244.0.10"}]], "routes": [{"dst": "0.0.0.0/0"}]},
        }]}
        os.makedirs(world.path("cni"))
        world.write("cni/10-pods.conflist", json.dumps(network))
        config = world.write("containerd.toml", CONTAINERD.format(folder=self.folder))
        world.spawn("containerd", "containerd", "--config", config)
        eventually("containerd answers", lambda: self.ctr("version"), 30)
        made = {}
        for image, program in {**images, "docker.io/local/pause:1": "/bin/busybox"}.items():
            if program in made:
                self.ctr("image", "tag", made[program], image)
                continue
            made[program] = image
            entry = ["/bin/busybox", "sleep", "2147483647"] if "pause" in image else [f"/usr/local/bin/{os.path.basename(program)}"]
            place = "bin/busybox" if "pause" in image else f"usr/local/bin/{os.path.basename(program)}"
            path = world.path("image.tar")
            make_image(path, image, entry, {place: program, **libraries(program)})
            self.ctr("image", "import", path)
        kubelet = world.write("kubelet.yaml", KUBELET.format(folder=self.folder, domain=DOMAIN, dns=ADDRESS))
        world.spawn("kubelet", f"{world.kube}/kubelet", f"--config={kubelet}", f"--kubeconfig={world.kubeconfig}", f"--root-dir={self.folder}/kubelet",
                    f"--cert-dir={self.folder}/kubelet-pki", f"--hostname-override={NODE}", "--node-ip=192.0.2.10")
        eventually("the node is ready", lambda: condition(self.api.get(f"/api/v1/nodes/{NODE}"), "Ready")[0] == "True", 60)
        threading.Thread(target=self.api.watch, args=("/api/v1/pods", self.observe), daemon=True).start()

    def ctr(self, *arguments):
        done = subprocess.run(["ctr", "-a", f"{self.folder}/containerd.sock", "-n", "k8s.io", *arguments], capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""

    def observe(self, kind, what):
        for pod in what if kind == "LISTED" else [what]:
            if kind in ("LISTED", "ADDED") and not pod["spec"].get("nodeName"):
                threading.Thread(target=self.bind, args=(pod,), daemon=True).start()

    def bind(self, pod):
        """Binds a pod once its claims are bound. Sets the owner of its volumes' directories, which otherwise belong to root."""
        core, name = f"/api/v1/namespaces/{pod['metadata']['namespace']}", pod["metadata"]["name"]
        for volume in pod["spec"].get("volumes", []):
            if "persistentVolumeClaim" in volume:
                claim = f"{core}/persistentvolumeclaims/{volume['persistentVolumeClaim']['claimName']}"
                bound = eventually(f"{claim} is bound", lambda: (lambda got: got if got["status"].get("phase") == "Bound" else None)(self.api.get(claim)))
                folder = self.api.get(f"/api/v1/persistentvolumes/{bound['spec']['volumeName']}")["spec"]["hostPath"]["path"]
                os.chown(folder, 0, pod["spec"]["securityContext"]["fsGroup"])
                os.chmod(folder, 0o2770)
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        try:
            self.api.create(f"{core}/pods/{name}/binding", {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target})
        except Refused:
            pass  # already bound or deleted

    def kill(self, namespace, name):
        """Kills a pod's process with SIGKILL."""
        pod = self.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        identity = pod["status"]["containerStatuses"][0]["containerID"].split("//")[1]
        self.ctr("task", "kill", "-s", "9", identity)

    def end(self):
        """Stops the node. The pods' processes end with the process namespace of `isolated`."""
        if "kubelet" in self.world.processes:
            self.world.kill("kubelet")
        for task in self.ctr("task", "ls", "-q").split():
            self.ctr("task", "kill", "-s", "9", task)
        time.sleep(0.5)
        self.world.kill("containerd")
        mounts = [line.split()[1] for line in open("/proc/mounts")]
        for mount in sorted((each for each in mounts if each.startswith(self.folder + "/")), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)


def libraries(program):
    """Returns the shared libraries of a program, including its loader: paths in the image and on this machine."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    found = re.findall(r"(/\S+) \(0x", listed)
    return {path.lstrip("/"): os.path.realpath(path) for path in found}


def make_image(out, name, entry, files):
    """Writes an image of one layer, in the form that `ctr image import` reads."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        made = set()
        for place in ("tmp", "proc", "sys", "dev", "etc", "var/lib", "run", *(os.path.dirname(each) for each in files)):
            parts = place.split("/")
            for at in range(1, len(parts) + 1):
                folder = "/".join(parts[:at])
                if folder and folder not in made:
                    made.add(folder)
                    add(tar, folder, None, 0o1777 if folder == "tmp" else 0o755)
        add(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/false\nnonroot:x:65532:65532:nonroot:/:/bin/false\n", 0o644)
        for place, source in files.items():
            with open(source, "rb") as file:
                add(tar, place, file.read(), 0o755)
    data = layer.getvalue()
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": entry, "Env": ["PATH=/usr/local/bin:/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest()]},
    }).encode()
    identity = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": f"{identity}.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(out, "w") as tar:
        for place, content in ((f"{identity}.json", config), ("layer.tar", data), ("manifest.json", manifest)):
            add(tar, place, content, 0o644)


def add(tar, place, data, mode):
    entry = tarfile.TarInfo(place)
    entry.mode, entry.mtime = mode, 0
    if data is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    else:
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
