"""JSON schemas for kubeconform: Kubernetes' kinds from its OpenAPI document, and the CRDs of Witan and of the Prometheus
operator. Unknown fields are errors.

The operator's tests check CEL rules with a real API server.
"""

import json
import pathlib
import subprocess

import yaml


class Schemas:
    """A directory of schemas."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def conform(self, documents: list[dict]) -> None:
        """Validates objects with kubeconform."""
        location = str(self.folder / "{{.ResourceKind}}{{.KindSuffix}}.json")
        text = "\n---\n".join(json.dumps(document) for document in documents if document)
        said = subprocess.run(["kubeconform", "-strict", "-summary", "-schema-location", location, "-"], input=text, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout + said.stderr


def closed(schema: dict) -> dict:
    """Returns a schema without Kubernetes' extensions. An object with named fields allows no other fields."""
    if "$ref" in schema:
        return {"$ref": "_definitions.json#/definitions/" + schema["$ref"].rsplit("/", 1)[1]}
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    out = {key: value for key, value in schema.items() if not key.startswith("x-") and key not in ("default", "nullable")}
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = closed(out[key])
    if "properties" in out:
        out["properties"] = {key: closed(value) for key, value in out["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            out.setdefault("additionalProperties", False)
    return out


def of_definition(definition: dict) -> dict[str, dict]:
    """Returns the schemas of a CustomResourceDefinition by file name."""
    group, kind = definition["spec"]["group"], definition["spec"]["names"]["kind"]
    found = {}
    for version in definition["spec"]["versions"]:
        schema = closed(version["schema"]["openAPIV3Schema"])
        schema["properties"] |= {
            "apiVersion": {"const": f"{group}/{version['name']}"},
            "kind": {"const": kind},
            "metadata": {"$ref": "_definitions.json#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
        }
        found[f"{kind.lower()}-{group.split('.')[0]}-{version['name']}.json"] = schema
    return found


def of_kubernetes(document: dict) -> dict[str, dict]:
    """Returns the schemas of Kubernetes' own kinds by file name."""
    definitions = {name: closed(schema) for name, schema in document["definitions"].items()}
    for name in definitions:
        if name.endswith("JSONSchemaProps"):
            definitions[name] = {"type": "object"}
    definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = {"type": ["string", "integer"]}
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
    # A null removes the default of a live Deployment. The API server accepts it.
    strategy = definitions["io.k8s.api.apps.v1.DeploymentStrategy"]["properties"]
    strategy["rollingUpdate"] = {"anyOf": [strategy["rollingUpdate"], {"type": "null"}]}
    found = {"_definitions.json": {"definitions": definitions}}
    for name, schema in document["definitions"].items():
        kinds = schema.get("x-kubernetes-group-version-kind", [])
        if len(kinds) != 1:
            continue
        group, version, kind = (kinds[0][key] for key in ("group", "version", "kind"))
        file = "-".join(part for part in (kind.lower(), group.split(".")[0], version) if part)
        whole = dict(definitions[name])
        whole["properties"] = whole.get("properties", {}) | {
            "apiVersion": {"const": "/".join(part for part in (group, version) if part)},
            "kind": {"const": kind},
        }
        whole["required"] = sorted({*whole.get("required", []), "apiVersion", "kind"})
        found[f"{file}.json"] = whole
    return found


def write(cache: pathlib.Path, crd: pathlib.Path, folder: pathlib.Path) -> Schemas:
    """Writes all schemas to a directory and returns them."""
    folder.mkdir(parents=True)
    found = of_kubernetes(json.loads((cache / "swagger.json").read_text()))
    assert len(found) > 100, "Kubernetes' kinds were found"
    for path in [*(cache / "crds").glob("*.yaml"), crd]:
        for definition in yaml.safe_load_all(path.read_text()):
            found |= of_definition(definition)
    for name, schema in found.items():
        (folder / name).write_text(json.dumps(schema))
    return Schemas(folder)
