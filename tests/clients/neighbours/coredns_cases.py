"""CoreDNS with its etcd plugin on three members: coredns_cases.py PROGRAM COREDNS prints one line per case. The expected answers
come from the plugin's documentation."""
import json
import subprocess
import sys

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.reversename

from cluster import Cluster, delete, folder, free_port, put, until
from report import Report

KEYS = {
    "/skydns/local/skydns/x1": {"host": "1.1.1.1", "ttl": 60},
    "/skydns/local/skydns/x6": {"host": "2001:db8::1", "ttl": 60},
    "/skydns/local/skydns/alias": {"host": "x1.skydns.local", "ttl": 60},
    "/skydns/local/skydns/web/a": {"host": "1.1.1.2", "port": 80, "priority": 10, "weight": 1, "ttl": 60},
    "/skydns/local/skydns/web/b": {"host": "1.1.1.3", "port": 81, "priority": 20, "weight": 1, "ttl": 60},
    "/skydns/local/skydns/say": {"text": "hello", "ttl": 60},
    "/skydns/arpa/in-addr/10/0/0/127": {"host": "reverse.skydns.local", "ttl": 60},
}


def cases_of(cluster, port):
    """Returns the cases, which run in order. Each case uses the state that the previous ones left."""
    def query(name, kind):
        """Returns the code of the answer, and its records without name and TTL."""
        try:
            answer = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", port=port, timeout=5)
        except (OSError, dns.exception.DNSException):
            return None, []
        records = [f"{dns.rdatatype.to_text(some.rdtype)} {record}" for some in answer.answer for record in some]
        return dns.rcode.to_text(answer.rcode()), sorted(records)

    def answers(name, kind, *records):
        answer = query(name, kind)
        assert answer == ("NOERROR", sorted(records)), answer

    def addresses_of_one_name():
        for key, value in KEYS.items():
            put(cluster.members, key, json.dumps(value))
        until("the plugin answers", lambda: query("x1.skydns.local", "A")[0] == "NOERROR")
        answers("x1.skydns.local", "A", "A 1.1.1.1")
        answers("x6.skydns.local", "AAAA", "AAAA 2001:db8::1")
        answers("alias.skydns.local", "A", "A 1.1.1.1", "CNAME x1.skydns.local.")

    def a_name_with_more_below_it_has_all_their_addresses():
        answers("web.skydns.local", "A", "A 1.1.1.2", "A 1.1.1.3")
        answers("web.skydns.local", "SRV", "SRV 10 100 80 a.web.skydns.local.", "SRV 20 100 81 b.web.skydns.local.")

    def text_and_reverse():
        answers("say.skydns.local", "TXT", 'TXT "hello"')
        answers("127.0.0.10.in-addr.arpa", "PTR", "PTR reverse.skydns.local.")

    def a_change_is_the_next_answer():
        assert query("new.skydns.local", "A")[0] == "NXDOMAIN"
        put(cluster.members, "/skydns/local/skydns/new", '{"host":"1.1.1.9"}')
        answers("new.skydns.local", "A", "A 1.1.1.9")
        delete(cluster.members, "/skydns/local/skydns/new")
        assert query("new.skydns.local", "A")[0] == "NXDOMAIN"

    def it_answers_while_each_member_is_killed_in_turn():
        for member in cluster.members:
            member.kill()
            until("the plugin answers", lambda: query("x1.skydns.local", "A") == ("NOERROR", ["A 1.1.1.1"]))
            cluster.start_again(member)

    return [case for case in locals().values()
            if callable(case) and case not in (query, answers)]


def main():
    program, coredns = sys.argv[1:]
    with Cluster(program, folder("coredns")) as cluster:
        cluster.leader()
        port = free_port()
        corefile = folder("coredns") / "Corefile"
        corefile.write_text(f".:{port} {{\n  bind 127.0.0.1\n  etcd skydns.local in-addr.arpa {{\n    path /skydns\n"
                            f"    endpoint {' '.join(cluster.urls())}\n  }}\n}}\n", encoding="utf-8")
        with open(folder("coredns") / "log", "ab") as log:
            server = subprocess.Popen([coredns, "-conf", corefile], stdout=log, stderr=log)
        try:
            Report().run("coredns", cases_of(cluster, port))
        finally:
            server.kill()
            server.wait()


main()
