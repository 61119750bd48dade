"""A stand-in for some nodes: what the kubelet, the container runtime and the network do for a pod that the scheduler has bound, done
with processes and Linux' namespaces. A node can fall silent, with or without its processes, and return. Each pod has a network of its own on one bridge, its own root with its volumes, its user,
its probes, its restarts with back-off and its grace at the end. The process is the real one, from the pod's own command line.

Needs root inside of the namespaces that `run` makes. Images are names of programs (`images`)."""

import base64
import ipaddress
import os
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

from api import Refused
from names import ADDRESS, DOMAIN
from world import API_ADDRESS, API_PORT

NODES = ("node1", "node2", "node3", "node4")
# between two renewals of a node's lease
BEAT_S = 2
MERGE = "application/strategic-merge-patch+json"
RESTART_DELAYS_S = (0, 10, 20, 40)
USER = 65532


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def shell(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Nodes:
    """All pods of the API server run here."""

    def __init__(self, api, folder, images):
        self.api, self.folder, self.images = api, folder, images
        self.pods, self.lock, self.next_address = {}, threading.Lock(), int(ipaddress.ip_address("10.244.0.10"))
        self.log = open(os.path.join(folder, "node.log"), "a", buffering=1)
        # nodes whose kubelet says and hears nothing
        self.silent = set()
        # claims whose volumes cannot be attached now
        self.held = set()
        for name in NODES:
            api.create("/api/v1/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}}})
            self.report_node(name)
        threading.Thread(target=self.beat, daemon=True).start()
        threading.Thread(target=api.watch, args=("/api/v1/pods", self.heard), daemon=True).start()
        threading.Thread(target=api.watch, args=("/api/v1/persistentvolumeclaims", self.claim_heard), daemon=True).start()

    def report_node(self, name):
        resources = {"cpu": "16", "memory": "32Gi", "pods": "110"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now(), "lastTransitionTime": now()}
        self.api.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"capacity": resources, "allocatable": resources, "conditions": [ready]}}, MERGE)
        self.lease(name)

    def lease(self, name):
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())}
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
        self.api.apply(path, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec}, name)

    def beat(self):
        while True:
            time.sleep(BEAT_S)
            for name in NODES:
                try:
                    if name not in self.silent:
                        self.lease(name)
                except (OSError, Refused) as error:
                    print(now(), "lease", error, file=self.log)

    def stop_kubelet(self, name):
        """Its containers go on, and nobody hears of them."""
        self.silent.add(name)

    def lose(self, name):
        """The node ends, with its processes."""
        self.silent.add(name)
        with self.lock:
            pods = [pod for pod in self.pods.values() if pod.spec.get("nodeName") == name]
        for pod in pods:
            if pod.process and pod.process.poll() is None:
                pod.process.kill()

    def resume(self, name):
        """It is back, and says how its pods are."""
        if name in self.silent:
            self.silent.discard(name)
            self.report_node(name)

    def heard(self, kind, what):
        for pod in what if kind == "LISTED" else [what]:
            uid = pod["metadata"]["uid"]
            with self.lock:
                known = self.pods.get(uid)
                if kind == "DELETED":
                    if known:
                        known.events.put(None)
                        del self.pods[uid]
                    continue
                if not known:
                    known = self.pods[uid] = Pod(self, pod)
            known.events.put(pod)

    def claim_heard(self, kind, what):
        """A volume that may grow grows at once, as an external resizer would make it."""
        for claim in what if kind == "LISTED" else [what]:
            asked, has = claim["spec"]["resources"]["requests"]["storage"], claim.get("status", {}).get("capacity", {}).get("storage")
            if kind != "DELETED" and has and asked != has:
                meta = claim["metadata"]
                try:
                    self.api.patch(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}", {"spec": {"capacity": {"storage": asked}}})
                    self.api.patch(f"/api/v1/namespaces/{meta['namespace']}/persistentvolumeclaims/{meta['name']}/status", {"status": {"capacity": {"storage": asked}}})
                except (OSError, Refused) as error:
                    print(now(), "resize", error, file=self.log)

    def address(self):
        with self.lock:
            self.next_address += 1
            return str(ipaddress.ip_address(self.next_address))

    def kill(self, namespace, name):
        """kill -9 of a pod's process."""
        with self.lock:
            pods = [pod for pod in self.pods.values() if (pod.namespace, pod.name) == (namespace, name)]
        for pod in pods:
            if pod.process and pod.process.poll() is None:
                pod.process.kill()

    def end(self):
        with self.lock:
            for pod in self.pods.values():
                if pod.process and pod.process.poll() is None:
                    pod.process.kill()


class Pod(threading.Thread):
    """One pod from its binding to its end; the thread is the only one that changes it."""

    def __init__(self, node, pod):
        super().__init__(daemon=True)
        meta = pod["metadata"]
        self.node, self.api, self.namespace, self.name, self.uid = node, node.api, meta["namespace"], meta["name"], meta["uid"]
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self.events, self.process, self.ip, self.spec, self.seen = queue.Queue(), None, None, pod["spec"], pod
        self.root = os.path.join(node.folder, "pods", self.uid)
        self.restarts, self.ready, self.last_end, self.start_at, self.started = 0, False, None, 0, None
        self.probed, self.failures, self.reported, self.since = 0, 0, None, {}
        self.start()

    def run(self):
        try:
            self.live()
        except Exception as error:  # a stand-in that fails must say so, the test then fails for lack of a pod
            self.say(f"ended by {error!r}")
            raise
        finally:
            if self.process and self.process.poll() is None:
                self.process.kill()

    def say(self, text):
        print(now(), f"{self.namespace}/{self.name}", text, file=self.node.log)

    def live(self):
        while True:
            try:
                self.seen = self.events.get(timeout=0.1 if self.ip else 0.5)
            except queue.Empty:
                pass
            if self.spec.get("nodeName") in self.node.silent:
                self.reported = None
                continue
            if self.seen is None:
                return
            self.spec = self.seen["spec"]
            if self.seen["metadata"].get("deletionTimestamp"):
                return self.finish(self.seen["metadata"].get("deletionGracePeriodSeconds", 30))
            try:
                if not self.spec.get("nodeName"):
                    continue
                if not self.ip:
                    self.prepare()
                else:
                    self.tend()
            except (Refused, OSError) as error:
                self.say(f"{error}")

    def prepare(self):
        """Waits for the pod's volumes and gives it its network and root."""
        volumes = {}
        for volume in self.spec.get("volumes", []):
            folder = self.volume(volume)
            if folder is None:
                return
            volumes[volume["name"]] = folder
        image = self.spec["containers"][0]["image"]
        if image not in self.node.images:
            return self.report(waiting="ImagePullBackOff", message=f'Back-off pulling image "{image}"')
        self.volumes = volumes
        self.ip = self.node.address()
        net, link = f"p-{self.uid[:8]}", f"v{self.uid[:8]}"
        shell("ip", "netns", "add", net)
        shell("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", net)
        shell("ip", "link", "set", link, "master", "pods", "up")
        shell("ip", "-n", net, "addr", "add", f"{self.ip}/24", "dev", "eth0")
        shell("ip", "-n", net, "link", "set", "eth0", "up")
        shell("ip", "-n", net, "link", "set", "lo", "up")
        shell("ip", "-n", net, "route", "add", "default", "via", ADDRESS)
        self.net = net

    def volume(self, volume):
        """The folder behind a volume; None as long as there is none."""
        folder = os.path.join(self.root, "volumes", volume["name"])
        if "persistentVolumeClaim" in volume:
            claim = self.api.find(f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims/{volume['persistentVolumeClaim']['claimName']}")
            if not claim or claim.get("status", {}).get("phase") != "Bound" or claim["metadata"]["name"] in self.node.held:
                self.report(waiting="ContainerCreating")
                return None
            folder = self.api.get(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}")["spec"]["hostPath"]["path"]
            os.makedirs(folder, exist_ok=True)
            self.own(folder)
            return folder
        os.makedirs(folder, exist_ok=True)
        if "emptyDir" in volume:
            self.own(folder)
            return folder
        sources = volume.get("projected", {}).get("sources", [volume])
        for source in sources:
            if not self.write_source(source, folder):
                self.report(waiting="ContainerCreating")
                return None
        return folder

    def write_source(self, source, folder):
        """Writes keys of a secret or a config map, or what a pod may know of itself; False if it does not exist."""
        if "serviceAccountToken" in source:
            self.write_token(source["serviceAccountToken"], folder)
        for item in source.get("downwardAPI", {}).get("items", []):
            self.write_file(folder, item["path"], self.field(item["fieldRef"]["fieldPath"]).encode())
        for field, plural, name_of in (("secret", "secrets", "secretName"), ("configMap", "configmaps", "name")):
            if field not in source:
                continue
            name = source[field].get(name_of) or source[field].get("name")
            found = self.api.find(f"/api/v1/namespaces/{self.namespace}/{plural}/{name}")
            if not found:
                return bool(source[field].get("optional"))
            keys = {item["key"]: item["path"] for item in source[field].get("items", [])}
            for key, value in (found.get("data") or {}).items():
                if keys and key not in keys:
                    continue
                data = base64.b64decode(value) if field == "secret" else value.encode()
                self.write_file(folder, keys.get(key, key), data)
        return True

    def write_token(self, source, folder):
        """A token of the pod's account, valid for longer than any test."""
        if os.path.exists(os.path.join(folder, source["path"])):
            return
        pod = {"kind": "Pod", "apiVersion": "v1", "name": self.name, "uid": self.uid}
        token = self.api.create(f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{self.spec['serviceAccountName']}/token", {
            "spec": {"expirationSeconds": max(source.get("expirationSeconds", 0), 36000), "boundObjectRef": pod},
        })
        self.write_file(folder, source["path"], token["status"]["token"].encode())

    def write_file(self, folder, name, data):
        path = os.path.join(folder, name)
        if not os.path.exists(path) or open(path, "rb").read() != data:
            with open(path + ".new", "wb") as file:
                file.write(data)
            os.chmod(path + ".new", 0o644)
            os.rename(path + ".new", path)

    def refresh(self):
        """Secrets that changed reach the pod, as the kubelet carries them."""
        for volume in self.spec.get("volumes", []):
            if not {"emptyDir", "persistentVolumeClaim"} & set(volume):
                self.volume(volume)

    def user(self):
        container, pod = self.spec["containers"][0].get("securityContext", {}), self.spec.get("securityContext", {})
        user = container.get("runAsUser", pod.get("runAsUser", USER))
        return user, container.get("runAsGroup", pod.get("runAsGroup", user)), pod.get("fsGroup")

    def own(self, folder):
        _, group, fs_group = self.user()
        os.chown(folder, 0, fs_group if fs_group is not None else group)
        os.chmod(folder, 0o2775)

    def launch(self):
        """Starts the container: a root of its own in a mount namespace, its network, its user."""
        container = self.spec["containers"][0]
        program = self.node.images[container["image"]]
        user, group, fs_group = self.user()
        root = os.path.join(self.root, "root")
        os.makedirs(root, exist_ok=True)
        script = ["set -e", f"mount -t tmpfs tmpfs {root}", f"cd {root}", "mkdir -p usr/local/bin usr/lib usr/lib64 usr/bin etc proc dev tmp", "chmod 1777 tmp"]
        script += [f"mount --bind /usr/{each} usr/{each}" for each in ("lib", "lib64", "bin") if os.path.isdir(f"/usr/{each}")]
        script += ["ln -s usr/lib lib", "ln -s usr/lib64 lib64", "ln -s usr/bin bin", "mount --rbind /dev dev", "mount -t proc proc proc || mount --rbind /proc proc"]
        script += [f"touch usr/local/bin/{os.path.basename(program)}", f"mount --bind {program} usr/local/bin/{os.path.basename(program)}"]
        search = f"{self.namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}"
        script += [f"printf 'nameserver {ADDRESS}\\nsearch {search}\\noptions ndots:5\\n' > etc/resolv.conf", "printf '127.0.0.1 localhost\\n' > etc/hosts"]
        for mount in container.get("volumeMounts", []):
            place = mount["mountPath"].lstrip("/")
            script += [f"mkdir -p {place}", f"mount --bind {self.volumes[mount['name']]} {place}"]
        script += [f'exec chroot --userspec={user}:{group}{"" if fs_group is None else f" --groups={fs_group}"} {root} "$@"']
        command = container.get("command") or [f"/usr/local/bin/{os.path.basename(program)}"]
        command = [self.expand(each) for each in command + container.get("args", [])]
        output = open(os.path.join(self.node.folder, f"{self.namespace}-{self.name}.log"), "ab")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.net, "unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(script), "sh", *command],
            stdout=output, stderr=output, env={"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin", "HOSTNAME": self.name, **self.environment()},
        )
        output.close()
        self.started, self.ready, self.failures, self.probed = time.monotonic(), False, 0, 0
        self.say(f"started: {' '.join(command)}")

    def environment(self):
        values = {"KUBERNETES_SERVICE_HOST": API_ADDRESS, "KUBERNETES_SERVICE_PORT": str(API_PORT)}
        for each in self.spec["containers"][0].get("env", []):
            field = each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            values[each["name"]] = self.field(field) if field else each.get("value", "")
        return values

    def field(self, path):
        return {"metadata.name": self.name, "metadata.namespace": self.namespace, "status.podIP": self.ip}[path]

    def expand(self, text):
        for name, value in self.environment().items():
            text = text.replace(f"$({name})", value)
        return text

    def tend(self):
        """Starts what has ended, probes what runs, and reports what changed."""
        if self.process is None:
            if time.monotonic() >= self.start_at:
                self.launch()
        elif self.process.poll() is not None:
            self.last_end = self.process.returncode
            self.say(f"ended with {self.last_end}")
            delay = RESTART_DELAYS_S[min(self.restarts, len(RESTART_DELAYS_S) - 1)]
            self.restarts, self.start_at, self.process, self.ready = self.restarts + 1, time.monotonic() + delay, None, False
        else:
            self.probe()
        self.report()

    def probe(self):
        probe = self.spec["containers"][0].get("readinessProbe")
        period = 1 if not self.ready else (probe or {}).get("periodSeconds", 10)
        if time.monotonic() < self.probed + min(period, 1):
            return
        self.probed = time.monotonic()
        self.refresh()
        if not probe or self.asked(probe):
            self.ready, self.failures = True, 0
        else:
            self.failures += 1
            if self.failures >= probe.get("failureThreshold", 3):
                self.ready = False

    def asked(self, probe):
        ask = probe["httpGet"]
        port = ask["port"]
        if isinstance(port, str):
            port = next(each["containerPort"] for each in self.spec["containers"][0]["ports"] if each.get("name") == port)
        try:
            with urllib.request.urlopen(f"{ask.get('scheme', 'http').lower()}://{self.ip}:{port}{ask.get('path', '/')}", timeout=probe.get("timeoutSeconds", 1)) as answer:
                return answer.status < 400
        except (OSError, urllib.error.URLError, ValueError):
            return False

    def report(self, waiting=None, message=""):
        running = self.process is not None
        state = {"running": {"startedAt": now()}} if running else {"waiting": {"reason": waiting or ("CrashLoopBackOff" if self.restarts else "ContainerCreating"), "message": message}}
        said = {each["type"]: each["status"] for each in self.seen["status"].get("conditions", [])} if self.seen else {}
        gates = all(said.get(gate["conditionType"]) == "True" for gate in self.spec.get("readinessGates", []))
        shown = (running, self.ready, self.restarts, self.ip, waiting, gates)
        if shown == self.reported:
            return
        container = self.spec["containers"][0]
        flag = lambda value: "True" if value else "False"
        conditions = [{"type": "ContainersReady", "status": flag(self.ready)}, {"type": "Ready", "status": flag(self.ready and gates)}]
        for each in conditions:
            if self.since.get(each["type"], ("",))[0] != each["status"]:
                self.since[each["type"]] = (each["status"], now())
        last = {"lastState": {"terminated": {"exitCode": self.last_end if self.last_end >= 0 else 128 - self.last_end, "reason": "Error", "finishedAt": now()}}} if self.last_end is not None else {}
        status = {
            "phase": "Running" if running or self.restarts else "Pending", "hostIP": "192.0.2.10",
            "conditions": [{"lastTransitionTime": self.since[each["type"]][1], **each} for each in conditions],
            "containerStatuses": [{"name": container["name"], "image": container["image"], "imageID": container["image"], "ready": self.ready,
                                   "started": running, "restartCount": self.restarts, "state": state, **last}],
            **({"podIP": self.ip, "podIPs": [{"ip": self.ip}]} if self.ip else {}),
        }
        self.api.request("PATCH", f"{self.path}/status", {"metadata": {"uid": self.uid}, "status": status}, MERGE)
        self.reported = shown

    def finish(self, grace):
        """SIGTERM, the grace, SIGKILL; then the object goes."""
        self.ready = False
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            try:
                self.process.wait(timeout=max(grace, 0.1))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.say(f"stopped with {self.process.returncode} after {time.monotonic() - begun:.2f} s")
        if self.ip:
            subprocess.run(["ip", "netns", "del", self.net], check=False)
        for _ in range(100):
            try:
                self.api.delete(self.path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})
                return
            except (OSError, Refused) as error:
                self.say(f"deletion: {error}")
                time.sleep(0.2)


def prepare_network():
    """The bridge of all pods, inside of the namespaces that `run` has made."""
    shell("ip", "link", "add", "pods", "type", "bridge")
    shell("ip", "addr", "add", f"{ADDRESS}/24", "dev", "pods")
    shell("ip", "link", "set", "pods", "up")
