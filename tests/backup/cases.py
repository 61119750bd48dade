"""The cases: each listed backup is complete, whatever fault occurs. `bench.py` has the environment."""

import contextlib
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
import time

from bench import KEYS, LARGE_MB, Bench, age, flip, frozen, small_disk
from changes import LIST as CHANGES, Changes
from report import Report
from source import LEASES, Refused, Writer


class Cases(Changes):
    def __init__(self, bench):
        self.bench = bench
        self.sources = {"witan": bench.member().start(), "etcd": bench.member(os.environ["ETCD_BIN"]).start()}
        for source in self.sources.values():
            source.fill(KEYS)
            source.lend()
            source.guard()
        self.large = bench.member().start()
        self.large.swell(LARGE_MB)

    def small(self):
        return self.sources["witan"]

    # successes

    def comes_back(self, of, kind):
        """Saves under writes, lists, fetches, restores and starts: keys, leases and users equal the source's at that revision."""
        bench, source, place = self.bench, self.sources[of], self.bench.place(kind)
        writer, before = Writer(source), source.revision()
        saved = bench.save(source, place, "first").good().result
        after = source.revision()
        writer.stop()
        # only Witan's page /version has a release and a level
        assert all((name in saved) == (of == "witan") for name in ("release", "level")), saved
        assert bench.listed(place) == ["first"]
        file = bench.path(f"{of}-{kind}.db")
        bench.fetch(place, file).good()
        assert os.path.getsize(file) == saved["bytes"] and filecmp.cmp(file, place.path("first.db"), shallow=False)
        member = bench.restored(file)
        with contextlib.suppress(Refused):
            raise AssertionError(f"it answers who is nobody: {member.ask('kv/range', key='AA==')}")
        member.enter()
        # the backup has at least the revision that the record names
        revision = member.revision()
        assert before <= saved["revision"] <= revision <= after, (before, saved, revision, after)
        assert member.hash_at(revision) == source.hash_at(revision)
        assert member.leases() == list(LEASES), member.leases()
        member.end()

    def same_name(self, kind):
        """A pod that restarts after its success succeeds with the first result and copies nothing."""
        bench, place = self.bench, self.bench.place(kind)
        first = bench.save(self.small(), place, "twice").good().result
        self.small().fill(100)
        assert bench.save(self.small(), place, "twice").good().result == first
        assert place.keys() == ["twice.db", "twice.json"], place.keys()

    def foreign_file(self, kind):
        """Fetches a file of etcdctl by its name, and refuses it if it is damaged."""
        bench, place = self.bench, self.bench.place(kind)
        os.makedirs(place.folder, exist_ok=True)
        etcd = self.sources["etcd"]
        etcdctl = os.environ["ETCD_BIN"].replace("etcd37", "etcdctl37")
        subprocess.run([etcdctl, "--endpoints", etcd.url, "--user", "root:a-password", "snapshot", "save", place.path("hand.db")], check=True, capture_output=True)
        file = bench.path(f"hand-{kind}.db")
        bench.fetch(place, file, "--name", "hand.db").good()
        assert filecmp.cmp(file, place.path("hand.db"), shallow=False)
        flip(place.path("hand.db"))
        self.is_refused(place, "hand.db")

    def newest(self, kind):
        """Without a name, fetches the newest backup. A directory with data does not change."""
        bench, place = self.bench, self.bench.place(kind)
        # the order of the names is not the order of the times
        bench.save(self.small(), place, "b").good()
        age(place, "b", 2001)
        self.small().fill(100)
        last = bench.save(self.small(), place, "a").good().result
        data = bench.path(f"data-{kind}")
        os.makedirs(data)
        file = os.path.join(bench.path(), f"newest-{kind}.db")
        bench.fetch(place, file, "--unless-exists", data).good()
        assert os.path.getsize(file) == last["bytes"] and filecmp.cmp(file, place.path("a.db"), shallow=False)
        os.remove(file)
        shutil.copy(place.path("a.json"), data)
        bench.fetch(place, file, "--unless-exists", data).good()
        assert not os.path.exists(file)

    def retention(self, kind):
        """Keeps the last two of four backups and all young ones. Other files and subdirectories stay."""
        bench, place = self.bench, self.bench.place(kind)
        os.makedirs(place.path("below"), exist_ok=True)
        for other in ("other.txt", "half.db", "below/old.db", "below/old.json"):
            with open(place.path(other), "w") as file:
                file.write("{}")
        # older backups have later names
        for name, year, *limits in (("d", 2001, "2"), ("c", 2002, "2"), ("b", 2003, "2"), ("a", 2004, "2"), ("e", 2005, "3", "--keep-within", "1h")):
            removed = bench.save(self.small(), place, name, "--keep-last", *limits).good().result["removed"]
            assert removed == {"b": ["d"], "a": ["c"]}.get(name, []), (name, removed)
            age(place, name, year)
        removed = bench.save(self.small(), place, "f", "--keep-within", "1h").good().result["removed"]
        assert sorted(removed) == ["a", "b", "e"], removed
        assert bench.listed(place) == ["f"]
        assert place.keys() == ["f.db", "f.json", "half.db", "other.txt"], place.keys()
        assert sorted(os.listdir(place.path("below"))) == ["old.db", "old.json"]

    def encrypted(self):
        """Requests encryption with the key from the store."""
        bench, place = self.bench, self.bench.place("s3")
        before = len(bench.store.log())
        bench.save(self.small(), place, "e", "--s3-server-side-encryption", "aws:kms", "--s3-kms-key-id", "key-1").good()
        log = bench.store.log()[before:].lower()
        for name, value in (("x-amz-server-side-encryption", "aws:kms"), ("x-amz-server-side-encryption-aws-kms-key-id", "key-1")):
            lines = [line for line in log.splitlines() if name + "\x1b" in line]
            # the snapshot, and the record that completes it
            assert len(lines) >= 2 and all(value in line for line in lines), lines

    def store_over_tls(self):
        """Uses a store whose certificate comes from its own CA."""
        bench = self.bench
        store = bench.open_store("localhost")
        place = bench.place("s3", store)
        bench.save(self.small(), place, "t", store=store).good()
        bench.fetch(place, bench.path("tls.db"), store=store).good()
        # without the store's CA
        store.name = None
        bench.save(self.small(), place, "u", store=store).refused("StoreUnreachable")

    def bounded(self, kind):
        """Saves and fetches a large backup with little memory."""
        bench, place = self.bench, self.bench.place(kind)
        saved = bench.save(self.large, place, "large").good()
        fetched = bench.fetch(place, bench.path("large.db")).good()
        assert saved.result["bytes"] > LARGE_MB << 20
        for done in (saved, fetched):
            assert done.rss < saved.result["bytes"] / 4, f"{done.rss >> 20} of {saved.result['bytes'] >> 20} MiB"
        print(f"        {saved.rss >> 20} and {fetched.rss >> 20} MiB for {saved.result['bytes'] >> 20} MiB")
        os.remove(bench.path("large.db"))
        shutil.rmtree(place.folder)

    # faults

    def is_refused(self, place, name):
        """Checks that a fetch of damaged data leaves nothing behind."""
        with tempfile.TemporaryDirectory() as folder:
            self.bench.fetch(place, os.path.join(folder, "got.db"), "--name", name).refused("BackupBroken")
            assert not os.listdir(folder), os.listdir(folder)

    def counts_not(self, place, name):
        """Checks that no backup of the name exists, and that the next attempt creates one."""
        bench = self.bench
        assert f"{name}.json" not in place.keys() and bench.listed(place) == [], place.keys()
        bench.fetch(place, bench.path("none.db")).refused("NotFound")
        assert not os.path.exists(bench.path("none.db"))
        bench.save(self.small(), place, name).good()
        assert place.keys() == [f"{name}.db", f"{name}.json"], place.keys()
        bench.fetch(place, bench.path("none.db")).good()
        os.remove(bench.path("none.db"))

    def interrupted(self, kind, how):
        """Ends the program during a backup."""
        bench, place = self.bench, self.bench.place(kind)
        running = bench.saving(self.large, place, "half")
        bench.in_the_middle(running, place)
        end = getattr(running.process, how)
        if kind == "s3":
            # parts are still being sent, and an abort must not overtake them
            with frozen(bench.store.process):
                time.sleep(PAUSE_S)
                end()
                time.sleep(PAUSE_S)
            done = running.done()
        else:
            with frozen(self.large.process):
                end()
                done = running.done()
        assert done.code != 0
        if how == "terminate":
            bench.nothing_left(place)
        self.counts_not(place, "half")

    def source_killed(self, kind):
        """Kills the source during a backup."""
        bench, place = self.bench, self.bench.place(kind)
        running = bench.saving(self.large, place, "half")
        bench.in_the_middle(running, place)
        self.large.end()
        try:
            running.done().refused("SourceUnreachable", "SnapshotBroken")
            bench.nothing_left(place)
            self.counts_not(place, "half")
        finally:
            self.large.start()

    def source_gone(self):
        """No source answers; one source does not answer, and the next is used; the source refuses the password."""
        bench, place, small = self.bench, self.bench.place("file"), self.small()
        gone = bench.member()
        bench.save(gone, place, "x").refused("SourceUnreachable")
        with open(bench.path("wrong"), "w") as file:
            file.write("wrong")
        bench.save(small, place, "x", password=bench.path("wrong")).refused("SourceRefused")
        assert not place.keys(), place.keys()
        bench.save(small, place, "x", endpoints=f"{gone.url},{small.url}").good()

    def wrong_key(self):
        """Each command uses a key that the store does not know."""
        bench, place = self.bench, self.bench.place("s3")
        bench.save(self.small(), place, "x", right=False).refused("WrongCredentials")
        bench.fetch(place, bench.path("x.db"), right=False).refused("WrongCredentials")
        assert bench.run("list", "--from", place.url, right=False).done().code == 1
        assert not place.keys()

    def no_bucket(self):
        bench, place = self.bench, self.bench.place("s3")
        place.url = "s3://no-such-bucket/p"
        bench.save(self.small(), place, "x").refused("NoSuchBucket")
        bench.fetch(place, bench.path("x.db")).refused("NoSuchBucket")

    def store_down(self):
        """The store is down. When it is back, the next attempt succeeds."""
        bench, place = self.bench, self.bench.place("s3")
        bench.store.stop()
        try:
            bench.save(self.small(), place, "x").refused("StoreUnreachable")
        finally:
            bench.store.start()
        self.counts_not(place, "x")

    def store_back(self):
        """The store is down for a moment."""
        bench, place = self.bench, self.bench.place("s3")
        bench.store.stop()
        try:
            running = bench.saving(self.small(), place, "x")
            time.sleep(PAUSE_S)
        finally:
            bench.store.start()
        running.done().good()
        assert bench.listed(place) == ["x"]

    def store_full(self, kind):
        """The store has too little space for the backup."""
        bench, place = self.bench, self.bench.place(kind)
        with bench.store.full(40 << 20) if kind == "s3" else small_disk(place.folder, 40 << 20):
            bench.save(self.large, place, "x").refused("StoreFull")
            bench.nothing_left(place)
        self.counts_not(place, "x")


# time for which a store is frozen or down, so that a premature request fails
PAUSE_S = 0.3
BOTH = ("s3", "file")
LIST = [
    *(("comes_back", of, kind) for of in ("witan", "etcd") for kind in BOTH),
    *((name, kind) for name in ("same_name", "foreign_file", "newest", "retention", "store_full") for kind in BOTH),
    ("encrypted",), ("store_over_tls",), ("source_gone",), ("wrong_key",), ("no_bucket",), ("store_back",), ("store_down",),
    *(("interrupted", kind, how) for kind in BOTH for how in ("kill", "terminate")),
    *((name, kind) for name in ("source_killed", "bounded") for kind in BOTH),
    *CHANGES,
]


def main(wanted):
    bench, report, keep = Bench(), Report(), True
    try:
        cases = Cases(bench)
        for name, *arguments in LIST:
            if not wanted or name in wanted:
                with report.case(" ".join([name, *arguments])):
                    getattr(cases, name)(*arguments)
        keep = report.failed > 0
    finally:
        bench.end(keep)
    sys.exit(report.finish())


main(sys.argv[1:])
