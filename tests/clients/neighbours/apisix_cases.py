"""The calls of APISIX's client (lua-resty-etcd): apisix_cases.py PROGRAM ETCD prints one line per case. Sends the same calls to a
Witan member and to an etcd member, and compares the answers. APISIX itself is not tested, because it needs OpenResty."""
import contextlib
import http.client
import json
import sys

from cluster import Cluster, coded, folder
from report import Report

SOON_S = 30
PREFIX, END = coded("/apisix"), coded("/apisiy")
# fields that differ between two members with the same history
OWN = {"cluster_id", "member_id", "raft_term", "ID", "lease", "token"}
MANY = 200


def common(value):
    """Replaces the member-specific values of an answer, but keeps their fields."""
    if isinstance(value, list):
        return [common(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: "own" if name in OWN else common(one) for name, one in value.items()}
    # Witan's errors have more fields, for clients of etcd 3.4 (docs/reference/differences.md)
    if kept.get("error") == kept.get("message"):
        kept.pop("error", None)
    if "etcdserver" in kept:
        # /version also shows Witan's release
        for name in ("witan", "level", "clusterLevel"):
            kept.pop(name, None)
    if "code" in kept:
        for name in ("grpc_code", "http_code", "http_status"):
            kept.pop(name, None)
    return kept


class Talk:
    """A member and its recorded answers."""

    def __init__(self, url):
        self.address, self.answers, self.token = url.split("//")[1], [], None

    def request(self, method, path, body):
        """Sends a request without a content type. Returns the connection and its answer."""
        connection = http.client.HTTPConnection(self.address, timeout=SOON_S)
        headers = {"Authorization": self.token} if self.token else {}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        return connection, connection.getresponse()

    def keep(self, status, answer):
        self.answers.append((status, common(answer)))
        return answer

    def ask(self, path, body=None, method="POST"):
        connection, answer = self.request(method, path, body)
        with contextlib.closing(connection):
            text = answer.read().decode()
        return self.keep(answer.status, json.loads(text) if text.startswith("{") else text)

    def v3(self, call, **body):
        return self.ask(f"/v3/{call}", body)

    def put(self, key, value, **more):
        return self.v3("kv/put", key=coded(f"/apisix/{key}"), value=coded(value), **more)

    @contextlib.contextmanager
    def watch(self, **create):
        """Opens a watch. Yields a function that reads the next message, a line of the chunked answer."""
        connection, answer = self.request(
            "POST", "/v3/watch", {"create_request": {"key": PREFIX, "range_end": END} | create})
        with contextlib.closing(connection):
            yield lambda: self.keep(answer.status, json.loads(answer.readline()))["result"]


def version_and_unknown_paths(talk):
    assert talk.ask("/version", method="GET")["etcdcluster"] >= "3.4.0"
    assert talk.v3("nothing")["code"] == 5
    assert talk.ask("/nothing").startswith("404 page not found")


def directories_are_made_and_read(talk):
    for name in ("routes", "upstreams", "services", "ssls"):
        talk.put(f"{name}/", "init_dir")
    found = talk.v3("kv/range", key=PREFIX, range_end=END)
    assert found["count"] == "4" and found["kvs"][0]["value"] == coded("init_dir")
    talk.v3("kv/range", key=PREFIX, range_end=END, limit=2, sort_order="DESCEND", sort_target="KEY")
    talk.v3("kv/range", key=PREFIX, range_end=END, count_only=True)
    talk.v3("kv/range", key=PREFIX, range_end=END, keys_only=True, serializable=True)
    assert "kvs" not in talk.v3("kv/range", key=coded("/apisix/none"))
    assert talk.v3("kv/range", range_end=END)["code"] == 3


def routes_are_put_and_deleted(talk):
    talk.put("routes/1", '{"uri":"/one"}')
    assert talk.put("routes/1", '{"uri":"/two"}', prev_kv=True)["prev_kv"]["version"] == "1"
    talk.v3("kv/deleterange", key=coded("/apisix/routes/1"), prev_kv=True)
    assert "deleted" not in talk.v3("kv/deleterange", key=coded("/apisix/routes/1"))


def transactions_compare_revisions(talk):
    key = coded("/apisix/routes/2")
    create = {"compare": [{"key": key, "target": "CREATE", "create_revision": 0}],
              "success": [{"requestPut": {"key": key, "value": coded("{}")}}],
              "failure": [{"requestRange": {"key": key}}]}
    assert talk.v3("kv/txn", **create)["succeeded"]
    seen = talk.v3("kv/txn", **create)
    at = seen["responses"][0]["response_range"]["kvs"][0]["mod_revision"]
    change = {"compare": [{"key": key, "result": "EQUAL", "target": "MOD", "mod_revision": at}],
              "success": [{"requestPut": {"key": key, "value": coded("[]")}}]}
    assert talk.v3("kv/txn", **change)["succeeded"] and "succeeded" not in talk.v3("kv/txn", **change)


def leases(talk):
    lease = talk.v3("lease/grant", TTL=60)["ID"]
    talk.put("data_plane/server_info", "{}", lease=lease)
    assert talk.v3("lease/keepalive", ID=lease)["result"]["TTL"] == "60"
    assert talk.v3("lease/timetolive", ID=lease, keys=True)["keys"] == [coded("/apisix/data_plane/server_info")]
    talk.answers.pop()  # contains the remaining seconds
    talk.v3("lease/revoke", ID=lease)
    assert "kvs" not in talk.v3("kv/range", key=coded("/apisix/data_plane/server_info"))
    assert talk.put("data_plane/server_info", "{}", lease=lease)["code"] == 5
    assert "TTL" not in talk.v3("lease/keepalive", ID=lease)["result"]


def a_watch_goes_through_history_and_on(talk):
    first = int(talk.put("routes/3", "{}")["header"]["revision"])
    for number in range(MANY):
        talk.put("routes/3", f'{{"n":{number}}}')
    with talk.watch(start_revision=first, prev_kv=True) as following:
        seen = []

        def until_revision(last):
            """Reads events up to a revision. Only events are compared, because their grouping into messages can differ."""
            while not seen or int(seen[-1]["kv"]["mod_revision"]) < last:
                seen.extend(following().get("events", []))
                talk.answers.pop()
        assert following()["created"]
        until_revision(first + MANY)
        talk.v3("kv/deleterange", key=coded("/apisix/routes/3"))
        until_revision(first + MANY + 1)
        talk.put("routes/4", "{}")
        until_revision(first + MANY + 2)
    assert [int(event["kv"]["mod_revision"]) for event in seen] == list(range(first, first + MANY + 3))
    assert seen[-2]["type"] == "DELETE" and seen[-2]["prev_kv"]["version"] == str(MANY + 1)
    talk.keep(0, seen)


def a_watch_behind_a_compaction_says_so(talk):
    revision = int(talk.put("routes/5", "{}")["header"]["revision"])
    talk.v3("kv/compaction", revision=revision)
    with talk.watch(start_revision=1) as following:
        following()
        ended = following()
    assert ended["canceled"] and ended["compact_revision"] == str(revision), ended
    old = talk.v3("kv/range", key=PREFIX, range_end=END, revision=1)
    assert old["message"] == "etcdserver: mvcc: required revision has been compacted"


def a_watch_shows_progress(talk):
    with talk.watch(progress_notify=True) as following:
        following()
        progress = following()
    assert "events" not in progress and int(progress["header"]["revision"]) > 1


def users_ask_with_a_token(talk):
    talk.v3("auth/user/add", name="root", password="secret")
    talk.v3("auth/role/add", name="root")
    talk.v3("auth/user/grant", user="root", role="root")
    talk.v3("auth/enable")
    try:
        assert talk.v3("kv/range", key=PREFIX)["code"] == 3
        assert talk.v3("auth/authenticate", name="root", password="wrong")["code"] == 3
        with talk.watch() as following:
            assert following()["canceled"]
        assert talk.v3("maintenance/snapshot")["error"]["code"] == 3
        assert talk.v3("lease/keepalive", ID="1")["error"]["code"] == 3
        talk.token = "nonsense"
        assert talk.v3("lease/keepalive", ID="1")["error"]["code"] == 16
        assert talk.v3("kv/range", key=PREFIX)["code"] == 16
        talk.token = None
        talk.token = talk.v3("auth/authenticate", name="root", password="secret")["token"]
        assert talk.v3("kv/range", key=PREFIX, range_end=END)["count"] != "0"
        with talk.watch() as following:
            assert following()["created"]
    finally:
        talk.v3("auth/disable")
        talk.token = None


CASES = [version_and_unknown_paths, directories_are_made_and_read, routes_are_put_and_deleted,
         transactions_compare_revisions, leases, a_watch_goes_through_history_and_on,
         a_watch_behind_a_compaction_says_so, a_watch_shows_progress, users_ask_with_a_token]


def compared(case, talks):
    """Returns a case that runs this case on both servers and checks that their answers are equal."""
    def act():
        for talk in talks:
            talk.answers = []
            case(talk)
        ours, theirs = (talk.answers for talk in talks)
        assert len(ours) == len(theirs), (len(ours), len(theirs))
        for one, other in zip(ours, theirs):
            assert one == other, f"{one} instead of {other}"
    act.__name__ = case.__name__
    return act


def main():
    with contextlib.ExitStack() as ends:
        talks = []
        for program, name in zip(sys.argv[1:], ("apisix", "apisix-etcd")):
            flags = ["--watch-progress-notify-interval=1s"]
            cluster = ends.enter_context(Cluster(program, folder(name), 1, flags))
            talks.append(Talk(cluster.members[0].url))
        assert len(talks) == 2, "two programs are compared"
        Report().run("apisix", [compared(case, talks) for case in CASES])


main()
