"""Checks that the NetworkPolicies of both charts admit each connection of the programs, with each subset of four values.

Ports and labels come from the operator's source, so that this test fails first for a new one.
"""

import itertools
import re

import deploy
from charts import CLUSTER, OPERATOR, objects, render

SOURCES = deploy.ROOT / "operator"
ELSEWHERE = {"kubernetes.io/metadata.name": "elsewhere"}


def constant(path: str, name: str) -> str:
    """Returns the value of a constant in the operator's source."""
    found = re.search(rf"const {name}: [^=]+ = \"?([^\";]+)\"?;", (SOURCES / path).read_text())
    assert found, f"{path} has no constant {name}"
    return found[1]


CLIENT, PEER, METRICS = (int(constant("crd/src/names.rs", name)) for name in ("CLIENT", "PEER", "METRICS"))
STATUS = int(constant("controller/src/resources/changes.rs", "STATUS_PORT"))
MEMBER_OF, BACKUP_OF = constant("crd/src/names.rs", "CLUSTER"), constant("controller/src/resources/names.rs", "BACKUP_OF")


def peer_admits(peer: dict, labels: dict, same_namespace: bool) -> bool:
    """Returns whether a NetworkPolicyPeer selects a pod."""
    assert set(peer) <= {"podSelector", "namespaceSelector"}, peer
    wanted = peer.get("podSelector", {}).get("matchLabels", {})
    namespace = peer.get("namespaceSelector")
    reached = same_namespace if namespace is None else namespace.get("matchLabels", {}).items() <= ELSEWHERE.items()
    return reached and wanted.items() <= labels.items()


def admits(rules: list[dict], port: int, way: str, labels: dict, same_namespace: bool = True) -> bool:
    """Returns whether a rule admits a TCP connection; `way` is `from` or `to`."""
    def admitted(rule: dict) -> bool:
        ports = [each["port"] for each in rule.get("ports", []) if each.get("protocol", "TCP") == "TCP"]
        peers = rule.get(way, [])
        return (not rule.get("ports") or port in ports) and (not peers or any(peer_admits(peer, labels, same_namespace) for peer in peers))

    return any(admitted(rule) for rule in rules)


def check_cluster(cluster: list[str], operator: list[str]) -> None:
    """Checks the connections to members."""
    policies = objects(render(CLUSTER, cluster), "NetworkPolicy")
    name = objects(render(CLUSTER, cluster), "EtcdCluster")[0]["metadata"]["name"]
    pod = objects(render(OPERATOR, operator), "Deployment")[0]["spec"]["template"]["metadata"]["labels"]
    (policy,) = policies
    member, backup = {MEMBER_OF: name}, {BACKUP_OF: name}
    assert policy["spec"]["podSelector"]["matchLabels"] == member
    rules = policy["spec"]["ingress"]
    for port in (PEER, CLIENT):
        assert admits(rules, port, "from", member), f"members do not reach {port} of each other"
    assert admits(rules, CLIENT, "from", pod, same_namespace=False), "the operator in another namespace does not reach a member"
    assert admits(rules, CLIENT, "from", backup), "a backup does not reach a member"
    assert admits(rules, METRICS, "from", {"app": "prometheus"}), "Prometheus cannot scrape a member"
    restricted = any("clientsFrom" in value for value in cluster)
    assert admits(rules, CLIENT, "from", {"app": "client"}), "an admitted client does not reach a member"
    assert admits(rules, CLIENT, "from", {"app": "stranger"}) is not restricted, "clientsFrom has no effect"
    assert not admits(rules, PEER, "from", {"app": "stranger"}), "a stranger reaches the peer port"


def check_operator(values: list[str]) -> None:
    """Checks the connections of the operator."""
    documents = render(OPERATOR, values)
    (policy,) = objects(documents, "NetworkPolicy")
    pod = objects(documents, "Deployment")[0]["spec"]["template"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    egress = policy["spec"]["egress"]
    for port, what in ((CLIENT, "a member"), (STATUS, "a pod that stores changes"), (443, "the API server"), (6443, "the API server"), (53, "DNS")):
        assert admits(egress, port, "to", {}), f"the operator does not reach {what} at {port}"
    assert not admits(egress, PEER, "to", {}), "the operator reaches the peer port"
    named = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    ports = {each["port"] for rule in policy["spec"]["ingress"] for each in rule["ports"]}
    assert ports == named, f"{ports} is not {named}"


def combinations(*options: str) -> list[list[str]]:
    """Returns every subset of the options."""
    chosen = itertools.product(*([[], [option]] for option in options))
    return [["networkPolicy.enabled=true", *itertools.chain(*each)] for each in chosen]


def run(report) -> None:
    """Runs all cases of this file."""
    operators = combinations("nameOverride=other", "fullnameOverride=whole", "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
                             "networkPolicy.extraEgress[0].ports[0].port=8443")
    clusters = combinations("nameOverride=other", "fullnameOverride=whole", "networkPolicy.clientsFrom[0].podSelector.matchLabels.app=client",
                            "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus")
    with report.case(f"policy of witan-operator, {len(operators)} combinations"):
        for values in operators:
            check_operator(values)
    with report.case(f"policy of witan-cluster, {len(clusters)} combinations"):
        for values, operator in zip(clusters, itertools.cycle(operators)):
            check_cluster(values, operator)
    with report.case("a policy without a rule for backups does not admit backups"):
        rules = objects(render(CLUSTER, clusters[-1]), "NetworkPolicy")[0]["spec"]["ingress"]
        assert not admits([rule for rule in rules if BACKUP_OF not in str(rule)], CLIENT, "from", {BACKUP_OF: "whole"})
