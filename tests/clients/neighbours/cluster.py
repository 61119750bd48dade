"""A cluster of Witan or etcd members on free ports. Needs tests/tools on the module path. Each program
that uses etcd has its own file of cases."""
import base64
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from ports import free_port

# limit until a member serves or a cluster has a leader, generous for busy machines
READY_S = 60
PAUSE_S = 0.02

# `timeout` ends a test with SIGTERM, which must also end its members
signal.signal(signal.SIGTERM, lambda *_: sys.exit("it took too long"))


def until(what, condition, seconds=READY_S):
    """Waits for the first true result of `condition` and returns it. Fails after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(PAUSE_S)
    raise AssertionError(f"not within {seconds} s: {what}")


def ask(url, body=None, timeout=5):
    """Returns the status and the JSON body of an answer, or None and {} if nobody answers. The body is {} if it is not JSON."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=timeout) as answer:
            return answer.status, parsed(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, parsed(refused)
    except (OSError, http.client.HTTPException):
        return None, {}


def parsed(answer):
    text = answer.read()
    try:
        return json.loads(text)
    except ValueError:
        return {}


class Member:
    """A process that can be killed and restarted."""

    def __init__(self, program, folder, name):
        self.program, self.folder, self.name = program, folder, name
        self.url, self.peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.process = None

    def start(self, members, flags=()):
        self.folder.mkdir(parents=True, exist_ok=True)
        cluster = ",".join(f"{member.name}={member.peer}" for member in members)
        urls = ["--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--name", self.name, "--data-dir", self.folder / "data",
                 "--initial-cluster", cluster, *urls, *flags], stdout=log, stderr=log)

    def runs(self):
        return self.process.poll() is None

    def serves(self):
        return ask(f"{self.url}/health")[1].get("health") == "true"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def panicked(self):
        return b"panicked" in (self.folder / "log").read_bytes()


class Cluster:
    """A cluster. As a context manager, it ends its members, and fails if one has ended or panicked before."""

    def __init__(self, program, folder, size=3, flags=()):
        self.flags = flags
        # if another process takes a port first, try again
        for attempt in range(5):
            self.members = [Member(program, pathlib.Path(folder) / f"{attempt}-m{number}", f"m{number}")
                            for number in range(size)]
            for member in self.members:
                member.start(self.members, flags)
            until("all members serve or one ended", lambda: not self.whole() or self.serves())
            if self.whole():
                return
            self.end()
        raise AssertionError(f"the members do not start: {folder}")

    def whole(self):
        return all(member.runs() for member in self.members)

    def serves(self):
        return all(member.serves() for member in self.members)

    def urls(self):
        return [member.url for member in self.members]

    def leader(self):
        """Waits for a leader and returns it."""
        def found():
            for member in self.members:
                status = ask(f"{member.url}/v3/maintenance/status", {})[1] if member.runs() else {}
                if status.get("leader", "0") != "0" and status["leader"] == status["header"]["member_id"]:
                    return member
            return None
        return until("a leader", found)

    def start_again(self, member):
        member.start(self.members, self.flags)
        until(f"{member.name} serves again", member.serves)

    def end(self):
        for member in self.members:
            if member.process:
                member.kill()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        whole = self.whole()
        self.end()
        assert whole and not any(member.panicked() for member in self.members), "a member exited or panicked"


def folder(name):
    """Returns the directory below $WORK for the data of a program's cluster."""
    return pathlib.Path(os.environ["WORK"]) / name


def put(members, key, value):
    """Puts a key at the first member that acknowledges the put, with retries."""
    change(members, "put", {"key": coded(key), "value": coded(value)})


def delete(members, key):
    change(members, "deleterange", {"key": coded(key)})


def change(members, what, body):
    until(f"{what} is acknowledged",
          lambda: any(ask(f"{member.url}/v3/kv/{what}", body)[0] == 200 for member in members))


def coded(text):
    return base64.b64encode(text.encode()).decode()
