"""Checks alerts with their runbook and unit tests, workflows, the text of the Dockerfile, and the plugin's manifest for krew.

live.py checks the series of alerts and dashboards, release.py the parts of a release, and tests/image/run builds the Dockerfile.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import tempfile

import yaml

import deploy

RULES = deploy.FILES / "rules.yaml"
RUNBOOK = deploy.ROOT / "docs" / "operating" / "runbook.md"
TESTS = pathlib.Path(__file__).parent / "rules"
WORKFLOWS = deploy.ROOT / ".github" / "workflows"
DOCKERFILE = deploy.ROOT / "Dockerfile"
RENDER = deploy.ROOT / "deploy" / "krew" / "render"

SEVERITIES = {"info", "warning", "critical"}
FIRING = 'group by (alertname, severity) (ALERTS{alertstate="firing"})'


def said_by(*command: str) -> tuple[int, str]:
    """Returns exit code and output of a program."""
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return said.returncode, said.stdout + said.stderr


def alerts() -> list[dict]:
    """Returns all alerts."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def check_alerts() -> None:
    """Checks that each alert has a severity, its texts and a section of the runbook."""
    headings = set(re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.M))
    rules = alerts()
    assert len(rules) > 30
    for rule in rules:
        name, notes = rule["alert"], rule["annotations"]
        assert rule["labels"]["severity"] in SEVERITIES, name
        assert notes["summary"] and notes["description"], name
        page, _, anchor = notes["runbook_url"].partition("#")
        assert page.endswith("/docs/operating/runbook.md") and anchor == name.lower(), notes["runbook_url"]
    names = {rule["alert"] for rule in rules}
    assert names == headings, f"runbook and rules differ: {names ^ headings}"


def unit_test(interval: str, situation: dict) -> dict:
    """Returns promtool's unit test of a situation."""
    queries = []
    for time, firing in situation["firing"].items():
        samples = ['{{alertname="{}", severity="{}"}}'.format(*alert.split()) for alert in firing]
        queries.append({"expr": FIRING, "eval_time": time, "exp_samples": [{"labels": labels, "value": 1} for labels in samples]})
    series = [{"series": name, "values": values} for name, values in situation["series"].items()]
    return {"name": situation["name"], "interval": interval, "input_series": series, "promql_expr_test": queries}


def unit_tests(path: pathlib.Path) -> dict:
    """Returns the unit tests of a file, in promtool's form."""
    tests = yaml.safe_load(path.read_text())
    if "situations" in tests:
        interval = tests["interval"]
        tests = {"evaluation_interval": interval, "tests": [unit_test(interval, situation) for situation in tests["situations"]]}
    return {"rule_files": [str(RULES)], **tests}


def check_unit_tests(path: pathlib.Path) -> None:
    """Runs the unit tests of a file."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(unit_tests(path), file)
        file.flush()
        code, said = said_by("promtool", "test", "rules", file.name)
    assert code == 0 and "SUCCESS" in said, said


def check_every_alert_is_tested() -> None:
    """Checks that a unit test expects each alert with each of its severities."""
    expected = set()
    for path in TESTS.glob("*.yaml"):
        for test in unit_tests(path)["tests"]:
            for query in test.get("promql_expr_test", []):
                for sample in query["exp_samples"]:
                    expected.add(tuple(re.findall(r'"(\w+)"', sample["labels"])))
    wanted = {(rule["alert"], rule["labels"]["severity"]) for rule in alerts()}
    assert wanted <= expected, f"no test expects {wanted - expected}"


def check_nightly() -> None:
    """Checks that the nightly workflow runs the tests that are too slow for each change."""
    commands = set()
    for path in WORKFLOWS.glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        # YAML parses the key `on` as a boolean
        if "schedule" in workflow[True]:
            commands |= {step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]}
    for wanted in ("tests/operator/run", "tests/run --all"):
        assert any(command.endswith(wanted) for command in commands), f"no workflow with a schedule runs {wanted}"


def check_krew(folder: pathlib.Path) -> None:
    """Checks that krew's manifest names the archives of the release workflow, with their digests."""
    version, digests = "1.2.3-rc.1", {}
    for arch in ("amd64", "arm64"):
        archive = folder / f"kubectl-witan-{version}-linux-{arch}.tar.gz"
        archive.write_text(arch)
        digests[arch] = hashlib.sha256(arch.encode()).hexdigest()
    code, said = said_by(str(RENDER), version, str(folder))
    assert code == 0, said
    plugin = yaml.safe_load(said)
    assert (plugin["kind"], plugin["metadata"]["name"], plugin["spec"]["version"]) == ("Plugin", "witan", f"v{version}")
    # limit of krew's guidelines
    assert len(plugin["spec"]["shortDescription"]) <= 50
    platforms = {one["selector"]["matchLabels"]["arch"]: one for one in plugin["spec"]["platforms"]}
    assert platforms.keys() == digests.keys()
    for arch, one in platforms.items():
        name = f"kubectl-witan-{version}-linux-{arch}"
        assert one["sha256"] == digests[arch], arch
        assert one["uri"].endswith(f"/releases/download/v{version}/{name}.tar.gz"), one["uri"]
        assert one["bin"] == "kubectl-witan" and {"from": "*/kubectl-witan", "to": "."} in one["files"]
    archive.unlink()
    code, said = said_by(str(RENDER), version, str(folder))
    assert code != 0 and archive.name in said, said
    # the archives that the release contains
    jobs = yaml.safe_load((WORKFLOWS / "release.yml").read_text())["jobs"]
    assert jobs["programs"]["env"]["PLUGIN"] == "kubectl-witan-${{ needs.version.outputs.version }}-linux-${{ matrix.arch }}"
    commands = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    for wanted in ('install programs/witan-operator "dist/$PLUGIN/kubectl-witan"', 'cp LICENSE "dist/$PLUGIN/"',
                   'deploy/krew/render "$VERSION" release'):
        assert wanted in commands, f"the release does not run {wanted}"


def stages() -> dict[str, tuple[str, list[str]]]:
    """Returns the base image or stage and the lines of each stage of the Dockerfile, by name."""
    found, lines = {}, []
    for line in re.sub(r"\\\n", " ", DOCKERFILE.read_text()).splitlines():
        if match := re.match(r"FROM (\S+) AS (\S+)$", line):
            lines = []
            found[match.group(2)] = (match.group(1), lines)
        elif line.strip() and not line.startswith("#"):
            lines.append(line)
    return found


def check_dockerfile() -> None:
    """Checks rules that hadolint does not have."""
    toolchain = re.search(r'channel = "([^"]+)"', (deploy.ROOT / "rust-toolchain.toml").read_text()).group(1)
    assert f"FROM rust:{toolchain}-" in DOCKERFILE.read_text(), "the compiler has the version of rust-toolchain.toml"
    known = stages()
    assert len(known) >= 4
    for _, lines in known.values():
        for command in re.findall(r"cargo (?:build|install|chef cook)[^&;\n]*", "\n".join(lines)):
            assert "--locked" in command, command
    for target, program in (("server", "witan"), ("operator", "witan-operator")):
        base, own = known[target]
        run = known[base][1] + own
        assert f'ENTRYPOINT ["/usr/local/bin/{program}"]' in run, target
        users = [line.split()[1] for line in run if line.startswith("USER ")]
        assert users and re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", users[-1]), f"{target}: {users}"
        assert not any(line.startswith("RUN ") for line in run), f"{target} runs nothing: its base has no shell"


def check_compose() -> None:
    """Checks that other machines cannot connect to the members, which have neither TLS nor authentication."""
    services = yaml.safe_load((deploy.DEPLOY / "compose.yaml").read_text())["services"]
    ports = [port for service in services.values() for port in service["ports"]]
    assert len(ports) == 3 and all(port.startswith("127.0.0.1:") for port in ports), ports


def run(report) -> None:
    """Runs all cases of this file."""
    with report.case("promtool check rules"):
        code, said = said_by("promtool", "check", "rules", str(RULES))
        assert code == 0 and "SUCCESS" in said, said
    for path in sorted(TESTS.glob("*.yaml")):
        with report.case(f"promtool test rules {path.name}"):
            check_unit_tests(path)
    with report.case("each alert has a severity and a section of the runbook"):
        check_alerts()
    with report.case("a unit test expects each alert"):
        check_every_alert_is_tested()
    for path in sorted(WORKFLOWS.glob("*.yml")):
        with report.case(f"actionlint {path.name}"):
            code, said = said_by("actionlint", "-shellcheck=", "-pyflakes=", str(path))
            assert code == 0, said
    with report.case("the nightly workflow runs the slow tests"):
        check_nightly()
    with report.case("krew's manifest of the plugin"), tempfile.TemporaryDirectory() as folder:
        check_krew(pathlib.Path(folder))
    with report.case("compose.yaml publishes its ports only on this machine"):
        check_compose()
    with report.case("hadolint Dockerfile"):
        code, said = said_by("hadolint", str(DOCKERFILE))
        assert code == 0 and not said, said
    with report.case("Dockerfile"):
        check_dockerfile()
