"""The environment of the cases: sources, stores, the program with its directory, and ways to damage files."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from source import PASSWORD, Source
from store import BUCKET, OWN, REGION, Store

from ports import free_port

WITAN, PROGRAM = os.environ["WITAN_BIN"], os.environ["OPERATOR_BIN"]
KEYS = 3000
LARGE_MB = 300
# limit for a process to end or a file to appear on a busy machine
PATIENCE_S = 60


class Done:
    """A command that has ended: exit code, stdout, stderr and peak resident memory."""

    def __init__(self, code, result, out, err, rss):
        self.code, self.result, self.out, self.err, self.rss = code, result, out, err, rss

    def good(self):
        assert self.code == 0 and "reason" not in (self.result or {}), f"code {self.code}, {self.result}\n{self.err}"
        return self

    def refused(self, *reasons):
        assert self.code == 1 and self.result and self.result.get("reason") in reasons and self.result.get("message"), f"not {reasons}: code {self.code}, {self.result}\n{self.err}"
        return self


class Running:
    """A running command of `witan-operator backup`."""

    def __init__(self, folder, command, flags, variables):
        self.result = os.path.join(folder, "result")
        if os.path.exists(self.result):
            os.remove(self.result)
        if command != "list":
            flags = [*flags, "--result", self.result]
        self.out, self.err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        env = {**{key: value for key, value in os.environ.items() if not key.startswith("AWS_")}, **variables}
        self.process = subprocess.Popen([PROGRAM, "backup", command, *flags], stdout=self.out, stderr=self.err, env=env)

    def ended(self):
        """Returns whether the process has ended. Leaves its exit code to `done`."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self):
        """Ends the process with SIGTERM, as a pod is ended. Returns its result. Fails if the command fails."""
        self.process.terminate()
        return self.done().good()

    def kill(self):
        self.process.kill()
        self.done()

    def done(self):
        until = time.monotonic() + PATIENCE_S
        while True:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:
                self.process.kill()
            time.sleep(0.005)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        said = []
        for file in (self.out, self.err):
            file.seek(0)
            said.append(file.read())
            file.close()
        result = None
        if os.path.exists(self.result):
            with open(self.result) as file:
                text = file.read()
            assert len(text.encode()) <= 4096, len(text)
            result = json.loads(text)
        return Done(self.process.returncode, result, *said, usage.ru_maxrss * 1024)


class Place:
    """A location of backups, and the directory that contains its files."""

    def __init__(self, url, folder):
        self.url, self.folder = url, folder

    def keys(self):
        return sorted(each for each in os.listdir(self.folder) if os.path.isfile(os.path.join(self.folder, each))) if os.path.isdir(self.folder) else []

    def path(self, name):
        return os.path.join(self.folder, name)


class Bench:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="witan-backup-")
        self.password = self.path("password")
        with open(self.password, "w") as file:
            file.write(PASSWORD)
        self.members, self.stores, self.places = [], [], 0
        self.store = self.open_store()

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def open_store(self, name=None):
        self.stores.append(Store(os.environ["S3_BIN"], self.path(f"store{len(self.stores)}"), port=free_port(), name=name))
        return self.stores[-1]

    def member(self, program=WITAN):
        self.members.append(Source(program, self.path(f"member{len(self.members)}")))
        return self.members[-1]

    def place(self, kind, store=None):
        """Creates a location of the kind `s3` or `file`."""
        self.places += 1
        # remove the parts that a killed process left, so that no later case finds them
        shutil.rmtree(self.store.path(OWN), ignore_errors=True)
        name = f"place-{self.places}"
        if kind == "s3":
            return Place(f"s3://{BUCKET}/{name}", (store or self.store).path(name))
        os.makedirs(self.path("files", name))
        return Place(f"file://{self.path('files', name)}", self.path("files", name))

    def run(self, command, *flags, right=True, store=None):
        """Runs the command with the flags that reach the store."""
        store = store or self.store
        flags = [*flags, "--s3-endpoint", store.url, "--s3-region", REGION, "--s3-path-style", "--s3-retry-timeout", "5s"]
        if store.name:
            flags += ["--s3-cacert", os.path.join(store.folder, "ca.crt")]
        return Running(self.folder, command, flags, store.variables(right))

    def saving(self, source, place, name, *flags, endpoints=None, password=None, **how):
        user = ["--user", "root", "--password-file", password or self.password] if source.token else []
        return self.run("save", "--endpoints", endpoints or source.url, "--to", place.url, "--name", name, *user, *flags, **how)

    def save(self, *what, **how):
        return self.saving(*what, **how).done()

    def fetch(self, place, file, *flags, **how):
        return self.run("fetch", "--from", place.url, "--file", file, *flags, **how).done()

    def changes(self, source, place, every="2s", endpoints=None):
        """Starts the process that stores changes. Its `url` serves its progress."""
        port = free_port()
        user = ["--user", "root", "--password-file", self.password] if source.token else []
        running = self.run("changes", "--endpoints", endpoints or source.url, "--to", place.url, "--every", every, "--listen", f"127.0.0.1:{port}", *user)
        running.url = f"http://127.0.0.1:{port}/"
        return running

    def listed(self, place):
        """Returns the names of the complete backups, newest first."""
        done = self.run("list", "--from", place.url, "-o", "json").done()
        assert done.code == 0, done.err
        return [each["name"] for each in json.loads(done.out) if each["complete"]]

    def restored(self, file, changes=None):
        """Starts a Witan member from the backup and optional changes."""
        member = self.member()
        done = self.restore(file, member, changes)
        assert done.returncode == 0, done.stderr
        return member.start()

    def restore(self, file, member, changes=None):
        more = ["--changes", changes] if changes else []
        return subprocess.run(
            [WITAN, "snapshot", "restore", file, "--data-dir", member.data, "--initial-cluster", f"default={member.peer}", "--initial-advertise-peer-urls", member.peer, *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )

    def in_the_middle(self, running, place):
        """Waits until the location has at least 8 MiB. Fails if the command ends first."""
        begun = self.store.path(OWN) if place.url.startswith("s3:") else place.folder
        until = time.monotonic() + PATIENCE_S
        while sum(size(begun)) < 8 << 20:
            assert not running.ended(), f"it ended first\n{running.done().err}"
            assert time.monotonic() < until, "nothing arrives"

    def nothing_left(self, place):
        """Checks that neither a file nor a part of one exists."""
        assert not place.keys() and not self.store.uploads(), (place.keys(), self.store.uploads())

    def end(self, keep):
        for each in self.members:
            each.end()
        for each in self.stores:
            each.stop()
        if keep:
            print("files are in", self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def size(folder):
    """Yields the size of each file below a directory. Files may disappear meanwhile."""
    for at, _, files in os.walk(folder):
        for each in files:
            try:
                yield os.stat(os.path.join(at, each)).st_size
            except FileNotFoundError:
                pass


@contextlib.contextmanager
def frozen(process):
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def small_disk(folder, room):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def age(place, name, year):
    """Sets the time of a backup's record to an earlier year."""
    with open(place.path(f"{name}.json"), "r+") as file:
        text, changed = re.subn(r'("startedAt": *")\d{4}', rf"\g<1>{year}", file.read())
        assert changed == 1, text
        file.seek(0)
        file.write(text)


def flip(path):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
