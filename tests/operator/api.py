"""A client of kube-apiserver: requests, lists, watches and waits."""

import base64
import http.client
import json
import ssl
import threading
import time
import urllib.parse
import urllib.request

PATIENCE_S = 120
MERGE = "application/strategic-merge-patch+json"


def now():
    """Returns the current time in the API server's format."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Refused(Exception):
    """An error answer of the API server."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Api:
    """A client of one API server with one identity and one connection per thread."""

    def __init__(self, url, token, authority):
        self.host = urllib.parse.urlsplit(url).netloc
        self.url, self.token = url, token
        self.tls = ssl.create_default_context(cafile=authority)
        self.local = threading.local()

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(self.host, context=self.tls, timeout=timeout)

    def headers(self, kind):
        return {"Authorization": f"Bearer {self.token}", "Content-Type": kind}

    def request(self, method, path, body=None, kind="application/json"):
        """Sends a request and returns the JSON answer. Raises `Refused` on an error."""
        data = None if body is None else json.dumps(body)
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None) or self.connect()
            self.local.connection = connection
            try:
                connection.request(method, path, data, self.headers(kind))
                answer = connection.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                self.local.connection = None
                if attempt == 2:
                    raise
        try:
            got = json.loads(text)
        except ValueError:
            got = {"message": text.decode(errors="replace")}
        if answer.status >= 400:
            raise Refused(answer.status, got.get("message", ""))
        return got

    def get(self, path):
        return self.request("GET", path)

    def find(self, path):
        """Returns the object, or None if it does not exist."""
        try:
            return self.get(path)
        except Refused as refusal:
            if refusal.code == 404:
                return None
            raise

    def items(self, path):
        return self.get(path).get("items", [])

    def create(self, path, body):
        return self.request("POST", path, body)

    def patch(self, path, body):
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def apply(self, path, body, manager="user"):
        return self.request("PATCH", f"{path}?fieldManager={manager}&force=true", body, "application/apply-patch+yaml")

    def delete(self, path, body=None):
        """Deletes an object. Returns None if it is absent or if there is a conflict."""
        try:
            return self.request("DELETE", path, body)
        except Refused as refusal:
            if refusal.code not in (404, 409):
                raise
            return None

    def watch(self, path, observe):
        """Calls `observe("LISTED", objects)` with all existing objects, then `observe(type, object)` for every change. Lists
        again after an error. Never returns."""
        while True:
            try:
                listed = self.get(path)
                observe("LISTED", listed["items"])
                self.follow(path, listed["metadata"]["resourceVersion"], observe)
            except (OSError, http.client.HTTPException, Refused, ValueError):
                time.sleep(0.1)  # the API server starts or stops

    def follow(self, path, version, observe):
        connection = self.connect(timeout=300)
        try:
            sign = "&" if "?" in path else "?"
            connection.request("GET", f"{path}{sign}watch=1&resourceVersion={version}", None, self.headers("application/json"))
            answer = connection.getresponse()
            if answer.status != 200:
                raise Refused(answer.status, answer.read().decode(errors="replace"))
            for line in answer:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                observe(event["type"], event["object"])
        finally:
            connection.close()


def post(address, path, body, context=None):
    """Sends a POST to a member's client port and returns the JSON answer."""
    url = f"{'https' if context else 'http'}://{address}:2379{path}"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=10, context=context) as answer:
        return json.load(answer)


def encoded(text):
    """Returns a key or value in base64, as in the JSON of the gateway."""
    return base64.b64encode(text.encode()).decode()


def eventually(what, condition, patience_s=PATIENCE_S, every_s=0.05):
    """Waits until `condition()` is true and returns its value. On a timeout, fails and reports the last exception."""
    deadline, last = time.monotonic() + patience_s, None
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
            last = None
        except (Refused, OSError, KeyError, http.client.HTTPException, ValueError) as error:
            last = error
        time.sleep(every_s)
    raise AssertionError(f"not within {patience_s} s: {what}" + (f" ({last})" if last else ""))


def condition(of, kind):
    """Returns status and reason of a condition, or empty strings if it is absent."""
    for each in of.get("status", {}).get("conditions", []):
        if each["type"] == kind:
            return each["status"], each.get("reason", "")
    return "", ""
