"""The cases of changes: a cluster that lost all members and disks is restored to its state seconds before, or to any
revision or time since its snapshot. Every fault of the changes is detected."""

import hashlib
import json
import os
import random
import shutil
import time
import urllib.request

from api import encoded, eventually
from bench import KEYS, LARGE_MB, flip, frozen, size
from source import Writer

EVERY_S = 4
# number of times that the process is killed
KILLS = 8


def segments(place):
    """Returns generation, first revision, number and path of the segments, in order."""
    found = []
    for at, _, files in os.walk(place.path("changes")):
        for name in files:
            numbers, dot, end = name.partition(".")
            if dot and end == "events":
                found.append((*map(int, numbers.split("-")), os.path.join(at, name)))
    return sorted(found)


def generations(place):
    return sorted({generation for generation, *_ in segments(place)})


def progress(running):
    """Returns how far the changes are stored, as the process reports it."""
    def look():
        assert not running.ended(), running.done().err
        with urllib.request.urlopen(running.url, timeout=5) as answer:
            return json.load(answer)

    return eventually("the process reports its progress", look)


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03}Z"


class Changes:
    """Mixin for `Cases`."""

    def source_with_changes(self, of, kind, every=EVERY_S):
        """Starts a separate source with a backup, and the process that stores its changes. Returns source, place
        and process."""
        bench, place = self.bench, self.bench.place(kind)
        source = (bench.member() if of == "witan" else bench.member(os.environ["ETCD_BIN"])).start()
        source.fill(KEYS)
        source.lend()
        source.guard()
        bench.save(source, place, "first").good()
        return source, place, bench.changes(source, place, f"{every}s")

    def stored(self, running, revision):
        eventually(f"revision {revision} is stored", lambda: progress(running)["revision"] >= revision)

    def fetched(self, place, *flags):
        """Fetches the newest backup and its changes. Returns the file, the directory of the changes and the
        command's result."""
        file, folder = self.bench.path("changed.db"), self.bench.path("changed")
        shutil.rmtree(folder, ignore_errors=True)
        done = self.bench.fetch(place, file, "--changes", folder, *flags)
        return file, folder, done

    def begun(self, place, *flags, users=True):
        """Starts a member from the backup and its changes, and logs in if the source has users."""
        file, folder, done = self.fetched(place, *flags)
        done.good()
        member = self.bench.restored(file, folder)
        if users:
            member.enter()
        return member

    def bridges(self, place):
        """Returns the backups that the process has saved itself."""
        return [name for name in self.bench.listed(place) if name.startswith("after-gap-")]

    def lost_seconds(self, of, kind):
        """Members, disks and the process are killed while a client writes: only the writes of the last seconds are lost. A
        restore to an earlier revision or time has the keys of that point."""
        source, place, running = self.source_with_changes(of, kind)
        source.ask("lease/grant", TTL=600, ID=77)
        source.ask("kv/put", key=encoded("leased since"), value=encoded("x"), lease=77)
        writer = Writer(source)
        self.stored(running, source.revision())
        middle, at = source.revision(), time.time()
        hash_of_middle = source.hash_at(middle)
        chance = random.Random(int(os.environ.get("BACKUP_SEED", "1")))
        time.sleep(EVERY_S * chance.uniform(1.5, 2.5))
        died = time.time()
        source.end()
        running.kill()
        shutil.rmtree(source.folder)
        writer.join()
        member = self.begun(place)
        kept = member.revision()
        member.end()
        lost = [answered for _, answered, revision in writer.log if revision > kept]
        seconds = died - min(lost) if lost else 0
        print(f"        lost seconds: {seconds:.2f} of at most {EVERY_S}, {len(lost)} of {writer.written} writes")
        assert writer.written > len(lost) and seconds <= EVERY_S, (seconds, len(lost), writer.written)
        member = self.begun(place, "--to-revision", str(middle))
        assert member.revision() == middle and member.hash_at(middle) == hash_of_middle
        lease = member.ask("lease/timetolive", ID=77, keys=True)
        assert lease["grantedTTL"] == "600" and lease["keys"] == [encoded("leased since")], lease
        member.end()
        member = self.begun(place, "--to-time", stamp(at))
        found = member.revision()
        member.end()
        # writes that started later are missing, and writes that were acknowledged long before exist
        after = min(revision for begun, _, revision in writer.log if begun > at)
        before = max([revision for _, answered, revision in writer.log if answered < at - EVERY_S], default=0)
        assert before <= found < after, (before, found, after)

    def changes_killed(self, kind):
        """The process is killed repeatedly, and the member once: each revision is stored once, and a cluster that is restored
        from the changes has the same keys."""
        source, place, running = self.source_with_changes("witan", kind, 1)
        chance = random.Random(int(os.environ.get("BACKUP_SEED", "1")))
        gone = self.bench.member()
        writer = Writer(source)
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.1, 1.2))
            running.kill()
            running = self.bench.changes(source, place, "1s", endpoints=f"{gone.url},{source.url}")
        writer.stop()
        source.end()
        source.start()
        source.enter()
        writer = Writer(source)
        time.sleep(chance.uniform(0.1, 1.2))
        writer.stop()
        last = source.revision()
        # on a normal end, the process stores the last changes in order
        self.stored(running, writer.log[0][2])
        running.stop()
        stored = segments(place)
        assert len(generations(place)) == 1, stored
        member = self.begun(place)
        assert member.revision() == last and member.hash_at(last) == source.hash_at(last)
        # a compaction during the stream does not change what is stored
        middle = stored[len(stored) // 2][1] - 1
        for each in (source, member):
            each.compact(middle)
        assert member.hash_at(last) == source.hash_at(last)
        member.end()
        source.end()

    def changes_compacted(self, kind):
        """Revisions are compacted while the process is down: it reports this, and continues after a new backup."""
        source, place, running = self.source_with_changes("witan", kind, 1)
        source.fill(100)
        self.stored(running, source.revision())
        before = progress(running)["revision"]
        running.kill()
        source.fill(100)
        lost = source.revision()
        source.compact(lost)
        running = self.bench.changes(source, place, "1s")
        eventually("the gap is reported", lambda: progress(running)["gaps"] == 1)
        assert progress(running)["gap"]["after"], progress(running)
        source.fill(100)
        last = source.revision()
        self.stored(running, last)
        # nothing is missing if the compaction covers only stored revisions
        source.compact(last)
        source.fill(100)
        self.stored(running, source.revision())
        assert progress(running)["gaps"] == 1 and progress(running)["error"] is None, progress(running)
        eventually("a backup bridges the gap", lambda: self.bridges(place))
        running.stop()
        older, newer = generations(place)
        assert min(first for generation, first, *_ in segments(place) if generation == newer) == lost
        *_, done = self.fetched(place, "--to-revision", str(before + 1))
        assert "compacted before they were stored" in done.refused("ChangesMissing").result["message"]
        member = self.begun(place)
        assert member.revision() == source.revision()
        member.compact(last)
        assert member.hash_at(member.revision()) == source.hash_at(member.revision())
        member.end()
        source.end()

    def changes_first(self, kind):
        """The changes of a cluster without a backup start with a backup, even where an earlier cluster has backups and changes.
        The later cluster is lost before another backup is saved, and its changes are restored."""
        bench, place = self.bench, self.bench.place(kind)
        for clusters in (1, 2):
            source = bench.member().start()
            source.fill(100 * clusters)
            running = bench.changes(source, place, "1s")
            eventually("a backup is saved", lambda: len(self.bridges(place)) == clusters)
            source.fill(100)
            last = source.revision()
            self.stored(running, last)
            eventually("the changes continue it", lambda: not progress(running)["needsBackup"])
            assert progress(running)["gaps"] == 0, progress(running)
            hash_of_last = source.hash_at(last)
            source.end()
            running.kill()
            shutil.rmtree(source.folder)
            member = self.begun(place, users=False)
            assert member.revision() == last and member.hash_at(last) == hash_of_last
            member.end()

    def changes_overtaken(self, kind):
        """Revisions are compacted again while the backup of the new generation is saved: there is only one new generation."""
        bench, place, source = self.bench, self.bench.place(kind), self.large
        bench.save(source, place, "first").good()
        put = lambda n: source.ask("kv/put", key=encoded(f"overtaken/{n}"), value=encoded("x"))
        put(0)
        source.compact(source.revision())
        running = bench.changes(source, place, "1s")
        begun = lambda: sum(size(place.folder)) > (LARGE_MB + 8 << 20)
        for n in range(1, 4):
            eventually("a backup is being saved", begun)
            put(n)
            last = source.revision()
            self.stored(running, last)
            source.compact(last)
        eventually("the backup is saved", lambda: self.bridges(place))
        put(4)
        last = source.revision()
        self.stored(running, last)
        running.stop()
        assert len(self.bridges(place)) == 1 and len(generations(place)) == 1, (self.bridges(place), segments(place))
        member = self.begun(place, users=False)
        assert member.revision() == last
        member.end()
        shutil.rmtree(place.folder)

    def changes_damaged(self, kind):
        """A lost or damaged segment is refused, in the store and in a restore's directory. Old segments are removed with their
        backup."""
        bench = self.bench
        source, place, running = self.source_with_changes("witan", kind, 1)
        for _ in range(3):
            source.fill(100)
            self.stored(running, source.revision())
        stored = segments(place)
        assert len(stored) >= 3, stored
        file, folder, done = self.fetched(place)
        done.good()
        (_, first, _, path), last = stored[1], stored[2][1] - 1
        copy = os.path.join(folder, os.path.basename(path))
        flip(copy)
        member = bench.member()
        assert f"{os.path.basename(path)}: it is broken" in bench.restore(file, member, folder).stderr
        os.remove(copy)
        assert f"the changes of the revisions {first} to {last} are missing" in bench.restore(file, member, folder).stderr
        assert not os.path.exists(member.data)
        flip(path)
        self.fetched(place)[2].refused("BackupBroken")
        os.remove(path)
        assert f"revisions {first} to {last} are missing" in self.fetched(place)[2].refused("ChangesMissing").result["message"]
        # all changes before the fault can be restored
        self.begun(place, "--to-revision", str(first - 1)).end()
        saved = bench.save(source, place, "second", "--keep-last", "1").good().result
        # the segment with the backup's revision stays
        older = [first for _, first, *_ in segments(place) if first <= saved["revision"]]
        assert saved["removed"] == ["first"] and len(older) == 1, (saved, segments(place))
        source.fill(100)
        self.stored(running, source.revision())
        running.stop()
        member = self.begun(place)
        assert member.revision() == source.revision()
        member.end()
        source.end()

    def back_to(self, source, place, revision):
        """Sets the cluster back to a revision under the same id, by a restore with its name and URLs."""
        file, folder, done = self.fetched(place, "--to-revision", str(revision))
        done.good()
        source.end()
        shutil.rmtree(source.data)
        restored = self.bench.restore(file, source, folder)
        assert restored.returncode == 0, restored.stderr
        source.start()
        source.enter()
        assert source.revision() == revision

    def changes_cut_back(self, kind, *, runs):
        """A cluster returns to an earlier revision and keeps its id, while the process runs or is down. The new writes have
        revisions that are already stored. A restore has the new writes and none of the replaced ones."""
        source, place, running = self.source_with_changes("witan", kind, 1)
        base = source.revision()
        for n in range(20):
            source.ask("kv/put", key=encoded(f"old/{n}"), value=encoded("x"))
        old = source.revision()
        hash_of_old = source.hash_at(old)
        self.stored(running, old)
        if not runs:
            running.stop()
        self.back_to(source, place, base + 5)
        # as many writes, so that the last revision is the same, and so are the first changes
        for n in range(5, 25 if not runs else 10):
            source.ask("kv/put", key=encoded(f"{'old' if n < 8 else 'new'}/{n}"), value=encoded("x"))
        if not runs:
            running = self.bench.changes(source, place, "1s")
        eventually("another generation begins", lambda: progress(running)["gaps"] == 1)
        eventually("a backup of the new generation is saved", lambda: self.bridges(place))
        for n in range(30, 40):
            source.ask("kv/put", key=encoded(f"new/{n}"), value=encoded("x"))
        last = source.revision()
        eventually("its changes are stored", lambda: progress(running)["revision"] == last)
        running.stop()
        assert len(generations(place)) == 2, segments(place)
        member = self.begun(place)
        assert member.revision() == last and member.hash_at(last) == source.hash_at(last)
        member.end()
        # the earlier history can be restored, and does not continue with the new one
        member = self.begun(place, "--name", "first", "--to-revision", str(old))
        assert member.hash_at(old) == hash_of_old
        member.end()
        for wanted in (["--to-revision", str(old + 1)], []):
            message = self.fetched(place, "--name", "first", *wanted)[2].refused("ChangesMissing").result["message"]
            assert f"the last revision is {old}" in message and "to restore a later point, use a backup" in message, message
        source.end()

    def changes_cut_back_unnoticed(self, kind):
        self.changes_cut_back(kind, runs=False)

    def changes_cut_back_running(self, kind):
        self.changes_cut_back(kind, runs=True)

    def changes_twice(self, kind):
        """A process is frozen, another one continues, and the first one resumes: it exits, and every point in time stays the
        same."""
        source, place, first = self.source_with_changes("witan", kind, 1)
        source.fill(10)
        self.stored(first, source.revision())
        with frozen(first.process):
            source.fill(10)
            second = self.bench.changes(source, place, "1s")
            self.stored(second, source.revision())
            middle, at = source.revision(), time.time()
            time.sleep(0.01)
            source.fill(10)
            self.stored(second, source.revision())
            before = [segments(place), open(os.path.join(self.fetched(place, "--to-time", stamp(at))[1], "target.json")).read()]
            assert json.loads(before[1])["revision"] == middle, before
        message = first.done().refused("AlreadyExists").result["message"]
        assert "another process" in message, message
        assert [segments(place), open(os.path.join(self.fetched(place, "--to-time", stamp(at))[1], "target.json")).read()] == before
        second.stop()
        source.end()

    def changes_of_another_version(self, kind):
        """The process does not change segments of another version, and writes none next to them."""
        source, place, running = self.source_with_changes("witan", kind, 1)
        source.fill(10)
        self.stored(running, source.revision())
        running.stop()
        for *_, path in segments(place):
            with open(path, "rb") as file:
                body = file.read()[8:-32]
            with open(path, "wb") as file:
                file.write(b"WITANCH2" + body + hashlib.sha256(b"WITANCH2" + body).digest())
        before = segments(place)
        source.fill(10)
        self.bench.changes(source, place, "1s").done().refused("ForeignFormat")
        self.fetched(place)[2].refused("ForeignFormat")
        assert segments(place) == before
        source.end()

    def changes_bounded(self):
        """The process stores many missed changes with little memory, in segments of bounded size."""
        bench, place, source = self.bench, self.bench.place("file"), self.bench.member().start()
        bench.save(source, place, "first").good()
        source.swell(LARGE_MB // 2)
        running = bench.changes(source, place)
        self.stored(running, source.revision())
        rss = running.stop().rss
        sizes = [os.path.getsize(path) for *_, path in segments(place)]
        print(f"        {rss >> 20} MiB for {sum(sizes) >> 20} MiB in {len(sizes)} segments")
        assert sum(sizes) > LARGE_MB // 2 << 20 and max(sizes) < 12 << 20 and rss < LARGE_MB // 4 << 20, (sizes, rss)
        source.end()


BOTH = ("s3", "file")
LIST = [
    *(("lost_seconds", of, kind) for of, kind in (("witan", "s3"), ("witan", "file"), ("etcd", "s3"))),
    *((name, kind) for name in ("changes_killed", "changes_damaged") for kind in BOTH),
    *((name, "file") for name in ("changes_first", "changes_compacted", "changes_cut_back_running", "changes_cut_back_unnoticed", "changes_of_another_version", "changes_overtaken")),
    *(("changes_twice", kind) for kind in BOTH),
    ("changes_bounded",),
]
