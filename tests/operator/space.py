"""A cluster whose quota is used up: the operator compacts it if the spec requests this, and not again immediately.

The helpers are in `trouble.py` and `drive.py`."""

import urllib.error

from api import condition, eventually
from trouble import PATIENCE_S

# bytes of a value, the quota, and enough values to exceed it
VALUE_BYTES, QUOTA, VALUES = 1 << 20, "16Mi", 40


class Space:
    """Mixin for `Drive`."""

    def fill(self, name, key):
        """Puts large values until the members refuse one; `key` returns the key of each."""
        for number in range(VALUES):
            try:
                self.put(name, key(number), "x" * VALUE_BYTES)
            except urllib.error.HTTPError as error:
                said = error.read().decode()
                assert "space exceeded" in said, said
                return
        raise AssertionError("the quota is not used up")

    def compaction(self, name):
        return self.cluster(name)["status"].get("compaction", {})

    # cases

    def full_store(self):
        """Old versions of one key fill the quota: the operator compacts, and writes are accepted again. Then live keys fill it:
        the operator reports this, and compacts no more history for ten minutes."""
        name = "full"
        healing = {"unhealthyAfter": f"{PATIENCE_S}s", "compactOnNoSpace": {"keepRevisions": 3}}
        with self.brief(name, replicas=1, writes=False, options={"quotaBackendBytes": QUOTA}, selfHealing=healing):
            self.fill(name, lambda number: "one")
            done = eventually("the keys are compacted, and the alarm is lowered", lambda: self.compaction(name) if self.compaction(name).get("disarmed") else None)
            eventually("no alarm is left", lambda: not self.cluster(name)["status"].get("alarms"))
            assert done["revision"] > 3, done
            self.fill(name, lambda number: f"another-{number}")
            says = lambda: " ".join(each.get("message", "") for each in self.cluster(name)["status"]["conditions"] if each["type"] == "AlarmActive")
            eventually("a condition reports that the alarm was raised again", lambda: condition(self.cluster(name), "AlarmActive")[0] == "True" and "raised again" in says())
            assert "quotaBackendBytes" in says(), says()
            self.stays(name, 6, lambda: self.compaction(name))
            assert self.compaction(name) == done, "the operator compacted twice"
