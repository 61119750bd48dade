"""A name server for pods and Services: the part of the cluster's DNS that members use. Answers A queries with the addresses that
the API server knows, and other queries with an empty answer."""

import socket
import struct
import threading

ADDRESS = "10.244.0.1"
DOMAIN = "cluster.local"


class Names:
    """A name server on the pods' bridge."""

    def __init__(self, api):
        self.pods, self.services, self.lock = {}, {}, threading.Lock()
        # `fixed`: addresses by name of hosts that are not pods
        self.table, self.fixed = {}, {}
        for path, kept in (("/api/v1/pods", self.pods), ("/api/v1/services", self.services)):
            threading.Thread(target=api.watch, args=(path, self.keeper(kept)), daemon=True).start()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ADDRESS, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def keeper(self, kept):
        def observe(kind, what):
            with self.lock:
                if kind == "LISTED":
                    kept.clear()
                    kept.update({key(each): each for each in what})
                elif kind == "DELETED":
                    kept.pop(key(what), None)
                elif kind in ("ADDED", "MODIFIED"):
                    kept[key(what)] = what
                self.table = self.build()

        return observe

    def build(self):
        """Returns addresses by name: the ready pods of each Service, and each pod with a hostname under its subdomain."""
        table = {}
        for service in self.services.values():
            selector = service["spec"].get("selector")
            base = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.{DOMAIN}"
            early = service["spec"].get("publishNotReadyAddresses", False)
            addresses = table.setdefault(base, [])
            if not selector and service["spec"].get("clusterIP", "None") != "None":
                addresses.append(service["spec"]["clusterIP"])
            for pod in self.pods.values():
                address = pod.get("status", {}).get("podIP")
                labels = pod["metadata"].get("labels", {})
                if not selector or not address or pod["metadata"]["namespace"] != service["metadata"]["namespace"]:
                    continue
                if any(labels.get(name) != value for name, value in selector.items()) or not (early or is_ready(pod)):
                    continue
                addresses.append(address)
                host, subdomain = pod["spec"].get("hostname"), pod["spec"].get("subdomain")
                if host and subdomain == service["metadata"]["name"]:
                    table[f"{host}.{base}"] = [address]
        return table

    def serve(self):
        while True:
            question, sender = self.socket.recvfrom(512)
            try:
                self.socket.sendto(answer(question, {**self.table, **self.fixed}), sender)
            except (IndexError, struct.error, UnicodeDecodeError):
                pass  # not a query


def key(of):
    return of["metadata"]["namespace"], of["metadata"]["name"]


def is_ready(pod):
    if pod["metadata"].get("deletionTimestamp"):
        return False
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod.get("status", {}).get("conditions", []))


def answer(question, table):
    """Returns the DNS answer (RFC 1035): the query and an A record for each address, or NXDOMAIN for an unknown name."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode().lower())
        at += question[at] + 1
    kind = struct.unpack("!H", question[at + 1 : at + 3])[0]
    query = question[12 : at + 5]
    name = ".".join(labels)
    known = name in table
    addresses = table.get(name, []) if kind == 1 else []
    flags = 0x8580 if known else 0x8583
    records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(address) for address in addresses)
    return question[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0) + query + records
