"""The volumes of a pod: directories with the content of claims, secrets, config maps, tokens and the downward API. Changed
secrets reach the pod."""

import base64
import os

USER = 65532
# by kind of reference in a volume or a variable: the resource's plural, and the field with the object's name
KINDS = {"secret": ("secrets", "secretName"), "configMap": ("configmaps", "name"), "secretKeyRef": ("secrets", "name")}
WRITABLE = {"emptyDir", "persistentVolumeClaim"}


class Missing(Exception):
    """A required secret or config map does not exist."""


class Volumes:
    def __init__(self, pod):
        self.pod, self.api, self.core = pod, pod.api, f"/api/v1/namespaces/{pod.namespace}"
        self.folders = {}

    def listed(self):
        return self.pod.spec.get("volumes", [])

    def prepare(self):
        """Provides the volumes. Returns whether all of them are available."""
        try:
            self.folders = {each["name"]: self.folder(each) for each in self.listed()}
        except Missing:
            return False
        return None not in self.folders.values()

    def refresh(self):
        """Updates changed secrets in the pod, like a kubelet."""
        for each in self.listed():
            if not WRITABLE & set(each):
                try:
                    self.folder(each)
                except Missing:
                    pass  # the pod keeps the old content

    def folder(self, volume):
        """Returns the directory of a volume, or None until its claim is bound and attached."""
        folder = os.path.join(self.pod.root, "volumes", volume["name"])
        if "persistentVolumeClaim" in volume:
            claim = self.api.find(f"{self.core}/persistentvolumeclaims/{volume['persistentVolumeClaim']['claimName']}")
            if not claim or claim.get("status", {}).get("phase") != "Bound" or claim["metadata"]["name"] in self.pod.node.held:
                return None
            folder = self.api.get(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}")["spec"]["hostPath"]["path"]
        os.makedirs(folder, exist_ok=True)
        if WRITABLE & set(volume):
            # everyone can write to an emptyDir
            self.own(folder, 0o2777 if "emptyDir" in volume else 0o2775)
            return folder
        for source in volume.get("projected", {}).get("sources", [volume]):
            self.write_source(source, folder)
        return folder

    def source(self, mount):
        """Returns the path that a container mounts, and whether it is read-only."""
        volume = next(each for each in self.listed() if each["name"] == mount["name"])
        return self.folders[mount["name"]], bool(mount.get("readOnly")) or not WRITABLE & set(volume)

    def data(self, kind, reference):
        """Returns the keys of the secret or config map that a volume or variable names."""
        plural, name_of = KINDS[kind]
        name = reference.get(name_of) or reference.get("name")
        found = self.api.find(f"{self.core}/{plural}/{name}")
        if not found and not reference.get("optional"):
            raise Missing(f'{plural.rstrip("s")} "{name}" not found')
        values = (found or {}).get("data") or {}
        return {key: base64.b64decode(value) if plural == "secrets" else value.encode() for key, value in values.items()}

    def write_source(self, source, folder):
        if "serviceAccountToken" in source:
            self.write_token(source["serviceAccountToken"], folder)
        for item in source.get("downwardAPI", {}).get("items", []):
            write_file(folder, item["path"], self.pod.field(item["fieldRef"]["fieldPath"]).encode())
        for kind in {"secret", "configMap"} & set(source):
            places = {item["key"]: item["path"] for item in source[kind].get("items", [])}
            for key, value in self.data(kind, source[kind]).items():
                if not places or key in places:
                    write_file(folder, places.get(key, key), value)

    def write_token(self, source, folder):
        """Writes a token of the pod's account that is valid for longer than any test."""
        if os.path.exists(os.path.join(folder, source["path"])):
            return
        pod = {"kind": "Pod", "apiVersion": "v1", "name": self.pod.name, "uid": self.pod.uid}
        token = self.api.create(f"{self.core}/serviceaccounts/{self.pod.spec['serviceAccountName']}/token", {
            "spec": {"audiences": [source["audience"]] if "audience" in source else [], "expirationSeconds": max(source.get("expirationSeconds", 0), 36000), "boundObjectRef": pod},
        })
        write_file(folder, source["path"], token["status"]["token"].encode())

    def user(self, container):
        """Returns user and group of a container, and the group of the pod's volumes."""
        own, pod = container.get("securityContext", {}), self.pod.spec.get("securityContext", {})
        user = own.get("runAsUser", pod.get("runAsUser", USER))
        return user, own.get("runAsGroup", pod.get("runAsGroup", user)), pod.get("fsGroup")

    def own(self, folder, mode):
        _, group, fs_group = self.user(self.pod.spec["containers"][0])
        os.chown(folder, 0, fs_group if fs_group is not None else group)
        os.chmod(folder, mode)


def write_file(folder, name, data):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path) or open(path, "rb").read() != data:
        with open(path + ".new", "wb") as file:
            file.write(data)
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)
