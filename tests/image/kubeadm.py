"""etcd's keys and static pod from kubeadm itself, and the image `etcd` started with the pod's command.

kubelet.py runs the pod with a kubelet.
"""

import json
import os
import pathlib
import shutil
import subprocess

import yaml

NODE = "node-1"
KUBEADM = f"{os.environ['KUBE_BIN']}/kubeadm"
MANIFEST = "etc/kubernetes/manifests/etcd.yaml"
PKI = "/etc/kubernetes/pki/etcd"
REPOSITORY = "registry.test/witan"
# kubeadm compares it as a semantic version
TAG = "3.7.3-witan.1"
# the command with which a kubeadm user inspects etcd
CLIENT = ["--endpoints=https://127.0.0.1:2379", f"--cacert={PKI}/ca.crt", f"--cert={PKI}/healthcheck-client.crt", f"--key={PKI}/healthcheck-client.key"]


def make(root, address, tag, keys=True, **flags):
    """Runs kubeadm to write the keys and the static pod below a directory that replaces the host's root. Returns the pod."""
    root = pathlib.Path(root)
    (root / "etc").mkdir(parents=True, exist_ok=True)
    local = {"imageRepository": REPOSITORY, "imageTag": tag, "extraArgs": [{"name": name.replace("_", "-"), "value": value} for name, value in flags.items()]}
    version = subprocess.run([KUBEADM, "version", "--output=short"], check=True, capture_output=True, text=True).stdout.strip()
    documents = [
        {"kind": "InitConfiguration", "localAPIEndpoint": {"advertiseAddress": address}, "nodeRegistration": {"name": NODE, "criSocket": "unix:///run/none.sock"}},
        {"kind": "ClusterConfiguration", "kubernetesVersion": version, "etcd": {"local": local}},
    ]
    config = "\n---\n".join(json.dumps({"apiVersion": "kubeadm.k8s.io/v1beta4", **document}) for document in documents)
    (root / "etc/kubeadm.yaml").write_text(config)
    phases = [f"certs etcd-{kind}" for kind in ("ca", "server", "peer", "healthcheck-client")] if keys else []
    for phase in [*phases, "etcd local"]:
        command = [KUBEADM, f"--rootfs={root}", "init", "phase", *phase.split(), "--config=/etc/kubeadm.yaml"]
        subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return yaml.safe_load((root / MANIFEST).read_text())


def kubeadm(world):
    """Starts the image with the static pod's command, variables, mounts and probes. A host-network pod is in the kubelet's
    network."""
    pod = world.pod()
    root = world.work / "made"
    spec = make(root, pod.address, TAG)["spec"]
    container, = spec["containers"]
    for volume in spec["volumes"]:
        path = volume["hostPath"]["path"].lstrip("/")
        mount, = (each["mountPath"] for each in container["volumeMounts"] if each["name"] == volume["name"])
        # keep the modes, because only root can read the keys
        shutil.copytree(root / path, pod.root / mount.lstrip("/"), dirs_exist_ok=True)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    environment = {each["name"]: each["value"] for each in container.get("env", [])}
    pod.start(container["command"], environment)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = container[probe]["httpGet"]
        pod.until_http(f"{get['scheme'].lower()}://{get['host']}:{ports.get(get['port'], get['port'])}{get['path']}")
    pod.until(["etcdctl", *CLIENT, "endpoint", "health"])
    pod.stop()
    # the flag names of kubeadm 1.35 and earlier
    older = [word for word in container["command"] if not word.startswith(("--feature-gates", "--watch-progress"))]
    pod.start([*older, "--experimental-initial-corrupt-check=true", "--experimental-watch-progress-notify-interval=5s"])
    pod.until_http("http://127.0.0.1:2381/readyz")
