"""Patroni's own classes for etcd, without PostgreSQL, on three members: patroni_cases.py PROGRAM etcd3|etcd prints one line per
case. A demotion is the most harmful result: it follows if Patroni's call that renews the leader key returns False. After an
exception, Patroni waits. Patroni's own decisions are not tested."""
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import etcd
from patroni.dcs.etcd import Etcd, EtcdError
from patroni.dcs.etcd3 import Etcd3, Etcd3ClientError, Unavailable, Unknown, _raise_for_data
from patroni.exceptions import DCSError
from patroni.postgresql.mpp import get_mpp

from cluster import Cluster, ask, coded, folder, until
from report import Report

# Patroni's defaults
RETRY_S, TTL_S = 10, 30
# for the renewal that must fail
SHORT_RETRY_S = 4
# a standby that is not woken continues after this time
WAKE_S = 30
SORTS = {"etcd3": Etcd3, "etcd": Etcd}
# longer than a member waits for a quorum
REFUSED_S = 60
PUT = {"key": coded("k"), "value": coded("v")}
# calls that need a quorum, in the form of the gateway; v2 gets a form with an empty value
CALLS = {"etcd3": {"v3/lease/keepalive": {"ID": 7}, "v3/lease/grant": {"TTL": 60}, "v3/kv/put": PUT,
                   "v3/kv/txn": {"success": [{"request_put": PUT}]}, "v3/kv/range": {"key": PUT["key"]}},
         "etcd": {"v2/keys/queue": {}}}


class Errors(logging.Handler):
    """Keeps server errors that Patroni logs without recognizing them."""

    def __init__(self):
        super().__init__()
        self.unknown = []

    def emit(self, record):
        causes = [record.exc_info[1] if record.exc_info else None, *(record.args or ())]
        while causes:
            error = causes.pop()
            if isinstance(error, BaseException):
                causes += [error.__cause__, error.__context__]
            if type(error) in (Etcd3ClientError, Unknown, EtcdError):
                self.unknown.append(repr(error))


def node(sort, name, urls, **more):
    """Returns Patroni's view of its store as the node `name`."""
    dcs = SORTS[sort]({"hosts": [url.split("//")[1] for url in urls], "scope": "main", "namespace": "/service",
                       "name": name, "ttl": TTL_S, "loop_wait": 1, "retry_timeout": RETRY_S} | more, get_mpp({}))
    dcs.set_retry_timeout(RETRY_S)
    return dcs


def raises(call, *arguments):
    """Returns how a renewal failed, or None if it succeeded."""
    try:
        return None if call(*arguments) else "the renewal answered False"
    except DCSError:
        return "raised"


class Primary(threading.Thread):
    """Renews the leader key continuously, as Patroni's loop does, and records errors."""

    def __init__(self, dcs):
        super().__init__(daemon=True)
        self.dcs, self.renewed, self.lost, self.errors, self.stop = dcs, 0, [], [], threading.Event()
        self.start()

    def run(self):
        while not self.stop.is_set():
            try:
                cluster = self.dcs.get_cluster()
                self.dcs.touch_member({"state": "running", "round": self.renewed})
                if cluster.leader is None or cluster.leader.name != "a":
                    self.lost.append(f"the leader is {cluster.leader}")
                elif self.dcs.update_leader(cluster, self.renewed + 1):
                    self.renewed += 1
                else:
                    self.lost.append("the renewal answered False")
            except DCSError as error:
                self.errors.append(repr(error))

    def renews(self, times=3):
        wanted = self.renewed + times
        until("the primary renews its key", lambda: self.renewed >= wanted or self.lost)

    def end(self):
        self.stop.set()
        self.join()


class Cases:
    """The cases, which run in order. Each case uses the state that the previous ones left. `a` and `b` are two nodes."""

    def __init__(self, sort, cluster, errors):
        self.sort, self.cluster, self.errors = sort, cluster, errors
        self.a, self.b = node(sort, "a", cluster.urls()), node(sort, "b", cluster.urls())

    def _view(self, check):
        """Waits until both nodes see a state, and returns it. Patroni reads from caches and from any member."""
        for dcs in self.a, self.b:
            until("both nodes see it", lambda: check(dcs.get_cluster()))
        return self.a.get_cluster()

    def one_of_two_initializes(self):
        assert self.a.initialize(create_new=True, sysid="7") and not self.b.initialize(create_new=True, sysid="8")
        self._view(lambda seen: seen.initialize == "7")

    def configuration_changes_at_its_version(self):
        assert self.a.set_config_value('{"ttl":20}')
        seen = self._view(lambda seen: seen.config)
        assert self.a.set_config_value('{"ttl":30}', seen.config.version)
        assert not self.b.set_config_value('{"ttl":40}', seen.config.version)
        self._view(lambda now: now.config.data == {"ttl": 30})

    def members_and_one_leader(self):
        assert self.a.touch_member({"state": "running"}) and self.b.touch_member({"state": "running"})
        assert self.a.attempt_to_acquire_leader() and not self.b.attempt_to_acquire_leader()
        seen = self._view(lambda seen: seen.leader and len(seen.members) == 2)
        assert seen.leader.name == "a" and {member.name for member in seen.members} == {"a", "b"}

    def the_leader_renews_and_writes_its_position(self):
        assert self.a.update_leader(self.a.get_cluster(), 4711)
        self._view(lambda seen: seen.status.last_lsn == 4711)

    def a_failover_by_hand_is_seen_and_cleared(self):
        assert self.b.manual_failover("a", "b")
        seen = self._view(lambda seen: seen.failover)
        assert (seen.failover.leader, seen.failover.candidate) == ("a", "b")
        assert self.a.manual_failover("", "", version=seen.failover.version)
        self._view(lambda seen: not seen.failover or not seen.failover.candidate)

    def the_synchronous_standby_changes_at_its_version(self):
        first = self.a.write_sync_state("a", ["b"], 0)
        assert first and self.a.write_sync_state("a", [], 0, version=first.version)
        assert not self.b.write_sync_state("b", [], 0, version=first.version)
        assert self._view(lambda seen: seen.sync.leader == "a").sync.members == ["a"]

    def a_watch_wakes_when_the_leader_key_goes(self):
        version, woken = self.b.get_cluster().leader.version, []

        def standby():
            """Watches again, because an unrelated event may wake the node first."""
            while self.b.watch(version, WAKE_S):
                if not self.b.get_cluster().leader:
                    woken.append(True)
                    return
        watch = threading.Thread(target=standby)
        watch.start()
        assert self.a.delete_leader(self.a.get_cluster().leader)
        watch.join()
        assert woken, f"it slept for {WAKE_S} s"
        until("the other node takes the key", self.b.attempt_to_acquire_leader)
        self._view(lambda seen: seen.leader and seen.leader.name == "b")
        assert not self.a.delete_leader(self.b.get_cluster().leader), "it is not its key"
        assert self.b.delete_leader(self.b.get_cluster().leader)
        until("the first node takes it back", self.a.attempt_to_acquire_leader)
        self._view(lambda seen: seen.leader and seen.leader.name == "a")

    def _kill(self, which):
        """Kills the leader while the primary renews its key at `which` member."""
        leads = self.cluster.leader()
        at = next(member for member in self.cluster.members if (member is leads) == (which == "leader"))
        self.a._client.set_base_uri(at.url)
        primary = Primary(self.a)
        try:
            primary.renews()
            leads.kill()
            primary.renews()
        finally:
            primary.end()
            self.cluster.start_again(leads)
        assert not primary.lost and not primary.errors, (primary.lost, primary.errors)
        assert not self.b.attempt_to_acquire_leader(), "the key was there all the time"

    def the_member_that_leads_is_killed_while_it_is_asked(self):
        self._kill("leader")

    def the_member_that_leads_is_killed_while_another_is_asked(self):
        self._kill("other")

    def _refusals(self, member):
        """Returns the errors that Patroni derives from the answers of a member without a quorum."""
        def refusal(call):
            status, answer = ask(f"{member.url}/{call}", CALLS[self.sort][call], REFUSED_S)
            if status == 200 and "error" not in answer:
                return None
            if self.sort == "etcd3":
                return _raise_for_data(answer, status)
            return etcd.EtcdError.error_exceptions[answer["errorCode"]](answer)
        with ThreadPoolExecutor() as at_once:
            return [error for error in at_once.map(refusal, CALLS[self.sort]) if error]

    def without_a_quorum_a_renewal_raises_and_then_goes_on(self):
        leads = self.cluster.leader()
        others = [member for member in self.cluster.members if member is not leads]
        seen = self.a.get_cluster()
        self.a.set_retry_timeout(SHORT_RETRY_S)
        for member in others:
            member.kill()
        # etcd's leader might not notice the lost quorum before the first renewal
        try:
            with ThreadPoolExecutor() as executor:
                refusals = executor.submit(self._refusals, leads)
                answer = until("a renewal fails", lambda: raises(self.a.update_leader, seen, 4712))
            tried_again = (Unavailable, *self.a._retry.retry_exceptions)
            refusals = refusals.result()
            unknown = [error for error in refusals if not isinstance(error, tried_again)]
        finally:
            for member in others:
                member.start(self.cluster.members)
            self.a.set_retry_timeout(RETRY_S)
        until("all members serve again", self.cluster.serves)
        assert answer == "raised", f"Patroni demotes its primary: {answer}"
        assert refusals and not unknown, f"Patroni gives up on {unknown}"
        until("the leader renews its key", lambda: self.a.update_leader(self.a.get_cluster(), 4713))
        assert not self.b.attempt_to_acquire_leader() and self._view(lambda seen: seen.leader).leader.name == "a"

    def the_texts_of_all_errors_were_known(self):
        assert not self.errors.unknown, self.errors.unknown

    def all_keys_go_with_the_cluster(self):
        assert self.a.delete_cluster()
        self._view(lambda seen: not seen.initialize and not seen.leader)


def tokens(program):
    """A node with a refused token gets a new one and keeps its lease."""
    with Cluster(program, folder("patroni-token")) as cluster:
        user = {"name": "root", "password": "secret"}
        for call, body in {"user/add": user, "role/add": {"name": "root"},
                           "user/grant": {"user": "root", "role": "root"}, "enable": {}}.items():
            assert ask(f"{cluster.members[0].url}/v3/auth/{call}", body)[0] == 200

        def a_token_that_is_refused_costs_no_lease():
            c = node("etcd3", "c", cluster.urls(), username="root", password="secret")
            assert c.touch_member({"state": "running"})
            lease, c._client._token = c._lease, "nonsense"
            c._last_lease_refresh = 0
            assert c.touch_member({"state": "stopped"}) and c._client._token != "nonsense"
            assert c._lease == lease, "the keys of the old lease end"
        Report().run("patroni etcd3", [a_token_that_is_refused_costs_no_lease])


def main():
    program, sort = sys.argv[1:]
    errors = Errors()
    logging.getLogger("patroni").addHandler(errors)
    logging.basicConfig(filename=folder(f"patroni-{sort}.log"), level=logging.INFO)
    with Cluster(program, folder(f"patroni-{sort}")) as cluster:
        cluster.leader()
        cases = Cases(sort, cluster, errors)
        Report().run(f"patroni {sort}", [getattr(cases, name) for name in vars(Cases) if not name.startswith("_")])
    if sort == "etcd3":
        tokens(program)


main()
