"""Runs the members of deploy/compose.yaml as processes, scraped by Prometheus with deploy/prometheus/rules.yaml: every query of
the members' dashboard returns a result, every series that an alert names exists, and no alert is pending without a cause.

The operator's own tests produce the operator's series.
"""

import base64
import json
import pathlib
import random
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

import deploy

# longer than any machine needs
DEADLINE_S = 120
PAUSE_S = 0.2

PAGE_OF_OPERATOR = deploy.ROOT / "docs" / "reference" / "operator.md"

# names of series in a query
SERIES = re.compile(r"\b(?:up|(?:etcd|witan|grpc_server|process)_[a-z0-9_]+)\b")


def get(url: str, data: bytes | None = None, method: str | None = None) -> str:
    """Returns the body of an answer."""
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=10) as answer:
        return answer.read().decode()


def wait_for(what: str, check, processes: list[subprocess.Popen], work: pathlib.Path):
    """Waits for the first true result of `check`, which may raise the errors of a server that is not ready, and returns it.
    Fails after `DEADLINE_S`, or if one of the processes ends."""
    end, last = time.monotonic() + DEADLINE_S, None
    while time.monotonic() < end:
        for process in processes:
            assert process.poll() is None, f"{process.args[0]} ended: {sorted(log.read_text()[-600:] for log in work.glob('*.log'))}"
        try:
            last = check()
            if last:
                return last
        except (OSError, AssertionError, urllib.error.URLError) as error:
            last = error
        time.sleep(PAUSE_S)
    raise AssertionError(f"waited {DEADLINE_S} s for {what}: {last}")


class Members:
    """The services of compose.yaml, each on its own loopback address instead of a host name."""

    def __init__(self, program: pathlib.Path, work: pathlib.Path):
        services = yaml.safe_load((deploy.DEPLOY / "compose.yaml").read_text())["services"]
        net = f"127.{random.randrange(10, 250)}.{random.randrange(256)}"
        self.hosts = {name: f"{net}.{at + 1}" for at, name in enumerate(services)}
        self.processes = []
        for name, service in services.items():
            data = work / name
            data.mkdir()
            arguments = [self.local(name, argument, data) for argument in service["command"]]
            with open(work / f"{name}.log", "w") as log:
                self.processes.append(subprocess.Popen([str(program), *arguments], stdout=log, stderr=log, cwd=data))

    def local(self, member: str, argument: str, data: pathlib.Path) -> str:
        """Replaces host names in an argument with addresses."""
        argument = argument.replace("=/data/", f"={data}/").replace("0.0.0.0", self.hosts[member])
        return re.sub(r"(?<=://)(\w+)(?=:)", lambda host: self.hosts[host.group(1)], argument)

    def urls(self, port: int) -> list[str]:
        """Returns the URLs of all members at a port."""
        return [f"http://{host}:{port}" for host in self.hosts.values()]

    def traffic(self) -> None:
        """Sends a request of each kind, so that each series has a value."""
        key = base64.b64encode(b"key").decode()
        for url in self.urls(2379):
            get(f"{url}/v3/kv/put", json.dumps({"key": key, "value": key}).encode())
            get(f"{url}/v3/kv/range", json.dumps({"key": key}).encode())
            get(f"{url}/v2/keys/key", b"value=v", "PUT")
            get(f"{url}/v2/keys/key")
            try:
                get(f"{url}/v2/keys/absent")
            except urllib.error.HTTPError as error:
                error.close()

    def alarm(self) -> None:
        """Raises an alarm at the first member."""
        first = self.urls(2379)[0]
        status = json.loads(get(f"{first}/v3/maintenance/status", b"{}"))
        alarm = {"action": "ACTIVATE", "memberID": status["header"]["member_id"], "alarm": "NOSPACE"}
        get(f"{first}/v3/maintenance/alarm", json.dumps(alarm).encode())


class Prometheus:
    """A Prometheus that scrapes the members every second."""

    def __init__(self, members: Members, work: pathlib.Path):
        targets = [{"targets": [f"{host}:2381"], "labels": {"namespace": "prod", "pod": name}} for name, host in members.hosts.items()]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(deploy.DEPLOY / "prometheus" / "rules.yaml")],
            "scrape_configs": [{"job_name": "etcd-prod-m", "static_configs": targets}],
        }
        (work / "prometheus.json").write_text(json.dumps(config))
        self.url = f"http://{members.hosts['m1']}:9090"
        command = ["prometheus", f"--config.file={work / 'prometheus.json'}", f"--storage.tsdb.path={work / 'tsdb'}"]
        command.append(f"--web.listen-address={members.hosts['m1']}:9090")
        with open(work / "prometheus.log", "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def query(self, expression: str) -> list[dict]:
        """Returns the current result of an expression."""
        said = json.loads(get(f"{self.url}/api/v1/query?" + urllib.parse.urlencode({"query": expression})))
        return said["data"]["result"]


def dashboard_queries(name: str) -> list[tuple[str, str]]:
    """Returns title and expression of each query of a dashboard, with its variables replaced."""
    board = json.loads((deploy.DEPLOY / "grafana" / f"{name}.json").read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) and len(ids) > 10
    values = {"$cluster": "etcd-prod-m", "$instance": ".*", "$namespace": ".*", "$__rate_interval": "10s"}
    found = []
    for panel in board["panels"]:
        assert panel["type"] == "row" or panel["targets"], panel["title"]
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in values.items():
                expression = expression.replace(variable, value)
            assert "$" not in expression, expression
            found.append((panel["title"], expression))
    return found


def named_by_rules() -> set[str]:
    """Returns the names of all series in alerts."""
    rules = yaml.safe_load((deploy.DEPLOY / "prometheus" / "rules.yaml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return {name for expression in expressions for name in SERIES.findall(expression)}


def operators_series() -> set[str]:
    """Returns the operator's series from its page, with the series that Prometheus derives from histograms."""
    rows = re.findall(r"^\| `(witan_operator_\w+)` \| (\w+)", PAGE_OF_OPERATOR.read_text(), re.M)
    ends = {"histogram": ("_bucket", "_count", "_sum")}
    return {name + end for name, kind in rows for end in ends.get(kind, ("",))}


def run_against(report, members: Members, prometheus: Prometheus, work: pathlib.Path) -> None:
    """Runs the cases that need members and Prometheus."""
    running = [*members.processes, prometheus.process]
    quiet = 'ALERTS{job="etcd-prod-m", alertname!~"WitanAlarmActive"}'
    before = report.failed
    with report.case("the members of deploy/compose.yaml serve"):
        for url in members.urls(2379):
            wait_for(url, lambda url=url: get(f"{url}/readyz"), running, work)
        members.traffic()
        members.alarm()
        wait_for("Prometheus", lambda: len(prometheus.query("up == 1")) == 3, running, work)
    if report.failed > before:
        return
    operators = operators_series()
    for title, expression in dashboard_queries("members") + dashboard_queries("fleet"):
        names = set(SERIES.findall(expression))
        with report.case(f"query {title}: {expression[:60]}"):
            assert names, "the query names no series"
            if any(name.startswith("witan_operator_") for name in names):
                assert {name for name in names if name.startswith("witan_operator_")} <= operators, names - operators
                prometheus.query(expression)
            else:
                wait_for("a value", lambda expression=expression: prometheus.query(expression), running, work)
    for name in sorted(named_by_rules()):
        with report.case(f"series {name} of an alert"):
            if name.startswith("witan_operator_"):
                assert name in operators, "docs/reference/operator.md does not name it"
            else:
                wait_for(name, lambda name=name: prometheus.query(name), running, work)
    with report.case("the alarm raises an alert, and no other alert is pending"):
        wait_for("the alert", lambda: prometheus.query('ALERTS{alertname="WitanAlarmActive"}'), running, work)
        assert not prometheus.query(quiet), prometheus.query(quiet)
    with report.case("a query of a series that does not exist has no value"):
        assert not prometheus.query("etcd_server_has_no_such_series")


def run(report, program: pathlib.Path, work: pathlib.Path) -> None:
    """Runs all cases of this file."""
    work.mkdir()
    members = Members(program, work)
    started = list(members.processes)
    try:
        prometheus = Prometheus(members, work)
        started.append(prometheus.process)
        run_against(report, members, prometheus, work)
    finally:
        for process in started:
            process.kill()
            process.wait()
