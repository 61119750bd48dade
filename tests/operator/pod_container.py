"""One container of a pod: a process with its command line and user, in its own root with the pod's volumes and network.
Simulates its variables, its probe, its restarts with back-off, and its termination message. Images are names of programs."""

import os
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request

from api import now
from names import ADDRESS, DOMAIN
from pod_volumes import Missing
from world import API_ADDRESS, API_PORT

RESTART_DELAYS_S = (0, 10, 20, 40)
# maximum size of a termination message
MESSAGE_BYTES = 4096
# time between two attempts to start a container that lacks a secret
RETRY_S = 1
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


class Container:
    def __init__(self, pod, spec, init=False):
        self.pod, self.node, self.spec, self.name, self.init = pod, pod.node, spec, spec["name"], init
        self.process, self.ready, self.probed, self.failures = None, False, 0, 0
        # the reason why it does not start, the number of starts, its ends, and times
        self.waits, self.launches, self.ends, self.start_at, self.started = None, 0, [], 0, None
        # whether it will not be restarted
        self.over = False
        self.message = os.path.join(pod.root, f"{self.name}.message")

    def succeeded(self):
        return self.over and bool(self.ends) and self.ends[-1]["exitCode"] == 0

    def failed(self):
        return self.over and not self.succeeded()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.running():
            self.process.kill()

    def terminate(self):
        if self.running():
            self.process.send_signal(signal.SIGTERM)

    def close(self, grace):
        """Waits up to `grace` seconds for the container's final end, then kills it."""
        if self.process:
            begun = time.monotonic()
            try:
                self.process.wait(timeout=grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.pod.say(f"{self.name} stopped with {self.process.returncode} after {time.monotonic() - begun:.2f} s")
            self.ended()
        self.over = True

    def tend(self):
        """Starts or probes the container, or records its end."""
        if self.process is None:
            if not self.over and time.monotonic() >= self.start_at:
                self.launch()
        elif self.process.poll() is not None:
            self.ended()
        elif not self.init:
            self.probe()

    def ended(self):
        code = self.process.returncode
        code = code if code >= 0 else 128 - code
        text = self.last_words()
        self.ends.append({"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": self.started, "finishedAt": now(), **({"message": text} if text else {})})
        self.pod.say(f"{self.name} ended with {code}")
        policy = self.pod.spec.get("restartPolicy", "Always")
        if self.init and policy == "Always":
            policy = "OnFailure"
        self.over = policy == "Never" or policy == "OnFailure" and code == 0
        self.start_at = time.monotonic() + RESTART_DELAYS_S[min(self.launches, len(RESTART_DELAYS_S)) - 1]
        self.process, self.ready = None, False

    def last_words(self):
        with open(self.message, "rb") as file:
            return file.read()[-MESSAGE_BYTES:].decode(errors="replace")

    def status(self):
        ends = self.ends
        if self.process:
            state = {"running": {"startedAt": self.started}}
        elif self.over and ends:
            state, ends = {"terminated": ends[-1]}, ends[:-1]
        else:
            reason, message = self.waits or ("CrashLoopBackOff" if ends else "PodInitializing" if self.pod.inits and self.pod.ip else "ContainerCreating", "")
            state = {"waiting": {"reason": reason, "message": message}}
        return {
            "name": self.name, "image": self.spec["image"], "imageID": self.spec["image"], "ready": self.succeeded() if self.init else self.ready,
            "started": self.process is not None, "restartCount": max(self.launches - 1, 0), "state": state,
            **({"lastState": {"terminated": ends[-1]}} if ends else {}),
        }

    # start

    def launch(self):
        image = self.spec["image"]
        if image not in self.node.images:
            self.waits = "ImagePullBackOff", f'Back-off pulling image "{image}"'
            return
        try:
            variables = self.environment()
        except Missing as missing:
            self.waits, self.start_at = ("CreateContainerConfigError", str(missing)), time.monotonic() + RETRY_S
            return
        program = self.node.images[image]
        command = [f"/usr/local/bin/{os.path.basename(program)}", *self.spec.get("args", [])]
        with open(os.path.join(self.node.folder, f"{self.pod.namespace}-{self.pod.name}.log"), "ab") as output:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.pod.net, "unshare", "--mount", "--propagation", "private", "sh", "-c", self.script(program), "sh", *command],
                stdout=output, stderr=output, env=variables,
            )
        self.launches, self.started, self.waits = self.launches + 1, now(), None
        self.ready, self.failures, self.probed = False, 0, 0
        self.pod.say(f"{self.name} started: {' '.join(command)}")

    def script(self, program):
        """Returns a script that creates the root in a mount namespace and then executes the program."""
        user, group, fs_group = self.pod.volumes.user(self.spec)
        root = os.path.join(self.pod.root, "root")
        os.makedirs(root, exist_ok=True)
        place = f"usr/local/bin/{os.path.basename(program)}"
        search = f"{self.pod.namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}"
        lines = ["set -e", f"mount -t tmpfs tmpfs {root}", f"cd {root}", "mkdir -p usr/local/bin usr/lib usr/lib64 usr/bin etc proc dev tmp", "chmod 1777 tmp"]
        lines += [f"mount --bind /usr/{each} usr/{each}" for each in ("lib", "lib64", "bin") if os.path.isdir(f"/usr/{each}")]
        lines += ["ln -s usr/lib lib", "ln -s usr/lib64 lib64", "ln -s usr/bin bin", "mount -t proc proc proc || mount --rbind /proc proc"]
        lines += ["mount -t tmpfs tmpfs dev", "ln -s /proc/self/fd dev/fd", *(bind(f"/dev/{each}", f"dev/{each}") for each in DEVICES)]
        lines += [bind(program, place)]
        lines += [f"printf 'nameserver {ADDRESS}\\nsearch {search}\\noptions ndots:5\\n' > etc/resolv.conf", "printf '127.0.0.1 localhost\\n' > etc/hosts"]
        for mount in self.spec.get("volumeMounts", []):
            source, read_only = self.pod.volumes.source(mount)
            lines.append(bind(source, mount["mountPath"].lstrip("/"), read_only))
        with open(self.message, "wb"):
            os.chmod(self.message, 0o666)
        lines.append(bind(self.message, self.spec.get("terminationMessagePath", "/dev/termination-log").lstrip("/")))
        if self.spec.get("securityContext", {}).get("readOnlyRootFilesystem"):
            lines.append(f"mount -o remount,ro {root}")
        return "\n".join([*lines, f'exec chroot --userspec={user}:{group}{"" if fs_group is None else f" --groups={fs_group}"} {root} "$@"'])

    def environment(self):
        """Returns the variables. Raises `Missing` if a referenced object or key is missing."""
        values = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin", "HOSTNAME": self.pod.name,
                  "KUBERNETES_SERVICE_HOST": API_ADDRESS, "KUBERNETES_SERVICE_PORT": str(API_PORT)}
        for each in self.spec.get("env", []):
            ways = each.get("valueFrom", {})
            if "fieldRef" in ways:
                values[each["name"]] = self.pod.field(ways["fieldRef"]["fieldPath"])
            elif ways:
                way = ways["secretKeyRef"]
                found = self.pod.volumes.data("secretKeyRef", way)
                if way["key"] in found:
                    values[each["name"]] = found[way["key"]].decode()
                elif not way.get("optional"):
                    raise Missing(f"couldn't find key {way['key']} in {way['name']}")
            else:
                values[each["name"]] = each.get("value", "")
        return values

    # probe

    def probe(self):
        if time.monotonic() < self.probed + 1:
            return
        self.probed = time.monotonic()
        probe = self.spec.get("readinessProbe")
        if not probe or self.is_ready(probe):
            self.ready, self.failures = True, 0
        else:
            self.failures += 1
            if self.failures >= probe.get("failureThreshold", 3):
                self.ready = False

    def is_ready(self, probe):
        ask = probe["httpGet"]
        port = ask["port"]
        if isinstance(port, str):
            port = next(each["containerPort"] for each in self.spec["ports"] if each.get("name") == port)
        try:
            with urllib.request.urlopen(f"{ask.get('scheme', 'http').lower()}://{self.pod.ip}:{port}{ask.get('path', '/')}", timeout=probe.get("timeoutSeconds", 1)) as answer:
                return answer.status < 400
        except (OSError, urllib.error.URLError, ValueError):
            return False


def bind(source, place, read_only=False):
    """Returns shell code that mounts a file or directory at a place in the root."""
    source, place = shlex.quote(source), shlex.quote(place)
    made = f'mkdir -p "$(dirname {place})" && if [ -d {source} ]; then mkdir -p {place}; else touch {place}; fi && mount --bind {source} {place}'
    return f"{made} && mount -o remount,bind,ro {place}" if read_only else made
