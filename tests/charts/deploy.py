"""The files of deploy/ that come from the charts: copies, and operator.yaml. As a program, writes these files.

charts.py validates them as Kubernetes objects.
"""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
DEPLOY = ROOT / "deploy"
FILES = CHARTS / "witan-operator" / "files"

# files that exist twice, because a chart cannot contain a file from outside its directory
COPIES = {
    DEPLOY / "crd.yaml": FILES / "crd.yaml",
    DEPLOY / "prometheus" / "rules.yaml": FILES / "rules.yaml",
    DEPLOY / "grafana" / "members.json": FILES / "dashboards" / "members.json",
    DEPLOY / "grafana" / "fleet.json": FILES / "dashboards" / "fleet.json",
}

HEAD = """\
# The operator for all namespaces, without helm. Apply deploy/crd.yaml first.
# Rendered from charts/witan-operator by tests/charts/run --write.
apiVersion: v1
kind: Namespace
metadata:
  name: witan-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""

# labels that only helm needs
HELM_LABELS = ("helm.sh/chart:", "app.kubernetes.io/managed-by: Helm")


def operator_manifest() -> str:
    """Returns deploy/operator.yaml as rendered from the chart."""
    command = ["helm", "template", "witan-operator", str(CHARTS / "witan-operator"), "--namespace", "witan-system"]
    command += ["--set", "crds.enabled=false"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line for line in said.splitlines() if not line.strip().startswith(HELM_LABELS)]
    return HEAD + "\n".join(lines).rstrip() + "\n"


def wanted() -> dict[pathlib.Path, str]:
    """Returns the path and the expected content of each generated file."""
    made = {path: source.read_text() for path, source in COPIES.items()}
    made[DEPLOY / "operator.yaml"] = operator_manifest()
    return made


if __name__ == "__main__":
    for path, text in wanted().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(path.relative_to(ROOT))
