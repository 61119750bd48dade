"""Traefik with its etcd provider on three members: traefik_cases.py PROGRAM TRAEFIK prints one line per case."""
import subprocess
import sys

from cluster import Cluster, ask, delete, folder, free_port, put, until
from report import Report


def cases_of(cluster, entry):
    """Returns the cases, which run in order. Each uses the state that the previous ones left. Traefik routes to pages of
    members."""
    def answers(path, status):
        until(f"{path} is answered with {status}", lambda: ask(f"http://127.0.0.1:{entry}{path}")[0] == status)

    def route(name, path):
        put(cluster.members, f"traefik/http/routers/{name}/service", "pages")
        put(cluster.members, f"traefik/http/routers/{name}/rule", f"Path(`{path}`)")

    def configuration_that_was_there_is_read():
        answers("/version", 200)

    def changes_are_watched():
        answers("/health", 404)
        route("health", "/health")
        answers("/health", 200)
        delete(cluster.members, "traefik/http/routers/health/rule")
        delete(cluster.members, "traefik/http/routers/health/service")
        answers("/health", 404)
        answers("/version", 200)

    def changes_are_watched_after_each_member_was_killed():
        for number, member in enumerate(cluster.members):
            member.kill()
            route(f"more{number}", ("/health", "/readyz", "/livez")[number])
            answers(("/health", "/readyz", "/livez")[number], 200)
            cluster.start_again(member)

    for number, url in enumerate(cluster.urls()):
        put(cluster.members, f"traefik/http/services/pages/loadbalancer/servers/{number}/url", url)
    route("version", "/version")
    return [case for name, case in locals().items() if callable(case) and name not in ("answers", "route")]


def main():
    program, traefik = sys.argv[1:]
    with Cluster(program, folder("traefik")) as cluster:
        cluster.leader()
        entry = free_port()
        cases = cases_of(cluster, entry)
        hosts = ",".join(url.split("//")[1] for url in cluster.urls())
        with open(folder("traefik") / "log", "ab") as log:
            proxy = subprocess.Popen(
                [traefik, f"--entrypoints.web.address=127.0.0.1:{entry}", f"--providers.etcd.endpoints={hosts}",
                 "--providers.etcd.rootkey=traefik", "--providers.providersthrottleduration=100ms",
                 "--global.sendanonymoususage=false", "--global.checknewversion=false"], stdout=log, stderr=log)
        try:
            Report().run("traefik", cases)
        finally:
            proxy.kill()
            proxy.wait()


main()
