"""A member that is backed up, or one that starts from a backup: a process of Witan or etcd, called through its gateway."""

import base64
import http.client
import json
import os
import subprocess
import threading
import time
import urllib.request

from api import encoded
from ports import free_port

PASSWORD = "a-password"
# keys in one transaction
CHUNK = 100
LEASES = (11, 12, 13)
START_S = 30


class Source:
    def __init__(self, program, folder):
        self.program, self.folder, self.port, self.process, self.token = program, folder, free_port(), None, None
        self.url, self.peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{free_port()}"
        self.data = os.path.join(folder, "data")
        os.makedirs(folder, exist_ok=True)

    def start(self):
        with open(os.path.join(self.folder, "log"), "a") as log:
            self.process = subprocess.Popen(
                [self.program, "--name", "default", "--data-dir", self.data, "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                 "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer, "--initial-cluster", f"default={self.peer}"],
                stdout=log, stderr=log,
            )
        until = time.monotonic() + START_S
        while True:
            assert self.process.poll() is None and time.monotonic() < until, f"the member does not serve, see {self.folder}/log"
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                    assert answer.status == 200
                return self
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)

    def ask(self, call, **body):
        """Returns the gateway's answer. Raises `Refused` for an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("POST", f"/v3/{call}", json.dumps(body), {"Authorization": self.token} if self.token else {})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise Refused(text.decode(errors="replace"))
        return json.loads(text)

    def fill(self, count, size=64):
        """Puts this number of keys, and updates and deletes a few of them."""
        for first in range(0, count, CHUNK):
            puts = [{"requestPut": {"key": encoded(f"key/{n:06}"), "value": encoded(f"{n:06}" * (size // 6))}} for n in range(first, min(first + CHUNK, count))]
            self.ask("kv/txn", success=puts)
        self.ask("kv/put", key=encoded("key/000000"), value=encoded("again"))
        self.ask("kv/deleterange", key=encoded("key/000001"))

    def swell(self, megabytes):
        value = base64.b64encode(os.urandom(1 << 20)).decode()
        for n in range(megabytes):
            self.ask("kv/put", key=encoded(f"large/{n:06}"), value=value)

    def lend(self):
        for lease in LEASES:
            self.ask("lease/grant", TTL=3600, ID=lease)
            self.ask("kv/put", key=encoded(f"leased/{lease}"), value=encoded("x"), lease=lease)

    def guard(self):
        """Enables authentication."""
        self.ask("auth/role/add", name="root")
        self.ask("auth/user/add", name="root", password=PASSWORD)
        self.ask("auth/user/grant", user="root", role="root")
        self.ask("auth/enable")
        self.enter()

    def enter(self):
        self.token = self.ask("auth/authenticate", name="root", password=PASSWORD)["token"]

    def hash_at(self, revision):
        return self.ask("maintenance/hashkv", revision=revision)["hash"]

    def revision(self):
        return int(self.ask("kv/range", key=encoded("none"))["header"]["revision"])

    def compact(self, revision):
        self.ask("kv/compaction", revision=revision, physical=True)

    def leases(self):
        return sorted(int(each["ID"]) for each in self.ask("lease/leases")["leases"])

    def end(self):
        """Kills the process with SIGKILL."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Refused(Exception):
    """An error answer of the member."""


class Writer(threading.Thread):
    """Writes continuously until it is stopped. A failed write fails the case. Records when each write started and was answered,
    and its revision."""

    def __init__(self, source):
        super().__init__(daemon=True)
        self.source, self.going, self.written, self.failure, self.log = source, True, 0, None, []
        self.start()

    def run(self):
        try:
            while self.going:
                begun = time.time()
                answer = self.source.ask("kv/put", key=encoded(f"writer/{self.written % 1000}"), value=encoded(str(self.written)))
                self.log.append((begun, time.time(), int(answer["header"]["revision"])))
                self.written += 1
        except Exception as error:
            self.failure = error

    def stop(self):
        self.going = False
        self.join()
        assert self.failure is None and self.written, self.failure
