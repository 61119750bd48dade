"""An object store: a real S3 server (`tests/tools/s3.sh`) with one bucket and one key. A test can stop it, fill its disk, and
read or alter its files. It runs in the network of its creator. Pods reach it at the address of their bridge, or by its name in
`Names`."""

import contextlib
import os
import socket
import subprocess
import time

from names import ADDRESS

BUCKET, REGION = "backups", "eu-test-1"
# the server's directory for parts of incomplete uploads and other files that are not objects
OWN = ".sgwtmp"


class Store:
    def __init__(self, program, folder, address="127.0.0.1", port=9000, name=None, region=REGION):
        """With a name, the store uses TLS, and its CA is `ca.crt` in its directory."""
        self.program, self.folder, self.listens, self.region, self.process = program, folder, f"{address}:{port}", region, None
        self.name, self.url = name, f"https://{name}:{port}" if name else f"http://{address}:{port}"
        self.bucket = os.path.join(folder, "data", BUCKET)
        os.makedirs(self.bucket)
        os.makedirs(os.path.join(folder, "meta"))
        if name:
            self.certify()
        self.start()

    def variables(self, right=True):
        """Returns the key as environment variables of clients."""
        return {"AWS_ACCESS_KEY_ID": "keeper", "AWS_SECRET_ACCESS_KEY": "the-right-one" if right else "a-wrong-one"}

    def certify(self):
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=store")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=store")
        with open(os.path.join(self.folder, "extensions"), "w") as file:
            file.write(f"subjectAltName=DNS:{self.name}")
        openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "extensions", "-out", "tls.crt")

    def start(self):
        key = self.variables()
        data, meta, certificate, secret, log = (os.path.join(self.folder, each) for each in ("data", "meta", "tls.crt", "tls.key", "log"))
        tls = ["--cert", certificate, "--key", secret] if self.name else []
        with open(log, "ab") as log:
            self.process = subprocess.Popen(
                # the log has the headers of each request; object metadata is in files, which every file system supports
                [self.program, "--port", self.listens, "--region", self.region, "--log-level", "debug", *tls, "posix", "--sidecar", meta, data],
                stdout=log, stderr=log, env={**os.environ, "ROOT_ACCESS_KEY": key["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": key["AWS_SECRET_ACCESS_KEY"]},
            )
        while not self.answers():
            assert self.process.poll() is None, f"the store ended, see {self.folder}/log"
            time.sleep(0.05)

    def answers(self):
        host, port = self.listens.rsplit(":", 1)
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return True
        except OSError:
            return False

    def stop(self):
        """Kills the server with SIGKILL."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def log(self):
        """Returns the server's log, which has each request with its headers."""
        with open(os.path.join(self.folder, "log"), errors="replace") as file:
            return file.read()

    def keys(self, prefix=""):
        """Returns the names of all objects with a prefix."""
        found = []
        for folder, inner, files in os.walk(self.bucket):
            inner[:] = [each for each in inner if each != OWN]
            found += [os.path.relpath(os.path.join(folder, each), self.bucket) for each in files]
        return sorted(each for each in found if each.startswith(prefix))

    def path(self, key):
        """Returns the file that contains an object."""
        return os.path.join(self.bucket, key)

    def uploads(self):
        """Returns the uploads that were started but neither completed nor aborted."""
        begun = os.path.join(self.bucket, OWN, "multipart")
        return [upload for of in (os.listdir(begun) if os.path.isdir(begun) else []) for upload in os.listdir(os.path.join(begun, of))]

    @contextlib.contextmanager
    def full(self, size):
        """Replaces the bucket with an empty disk of this size until the end of the context. Needs root."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.bucket], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", self.bucket], check=True)


def open_for_pods(program, world, names, name="s3.example.com"):
    """Starts a store that pods reach by its name, with TLS."""
    names.fixed[name] = [ADDRESS]
    return Store(program, world.path("s3"), ADDRESS, name=name)
