// The history of a v3 key, newest version first, back to the last compaction.
//
// Versions since the key's creation are read one by one, each at the revision before the next newer version. A watch
// from the oldest revision finds the versions from before a deletion.

import { getKey, readKv, stream } from "./api.js";
import { toBase64 } from "./bytes.js";
import { button, count, h, size, trouble } from "./dom.js";
import { bringBack } from "./edit.js";
import { diffView, valueView } from "./values.js";

/** Number of versions on a page. */
const PAGE = 20;
/** Maximum number of versions to keep from before the creation of the key; older versions are dropped. */
const OLDER_MAX = 200;

/** Reads the versions of a key backward. */
class Walk {
  constructor(key, newest) {
    this.key = key;
    this.next = newest;
    this.end = null;
  }

  /** Returns up to `PAGE` versions, newest first. The next call continues with older versions. After an error, the next call
   *  reads the same versions again. */
  async page() {
    const found = [];
    let next = this.next;
    while (next && found.length < PAGE) {
      found.push(next);
      next = await this.step(next);
    }
    this.next = next;
    return found;
  }

  /** Returns the version before `version`. Returns null and sets `end` if there is none or it is compacted. */
  async step(version) {
    if (version.version === "1") {
      this.end = "created";
      return null;
    }
    try {
      return await getKey(this.key, BigInt(version.modified) - 1n);
    } catch (error) {
      if (!/compacted/.test(error.message)) throw error;
      this.end = "compacted";
      return null;
    }
  }
}

/** Reads the last `OLDER_MAX` versions and deletions before `revision` with a watch. Returns them newest first. Without
 *  `revision`, includes the newest version. Fails if compactions interrupt three attempts. */
async function before(key, revision, signal) {
  let start = "1";
  for (let tries = 0; tries < 3; tries += 1) {
    const read = await replay(key, start, revision, signal);
    if (read.compacted === null) return read.events.reverse();
    start = read.compacted;
  }
  throw new Error("The history was compacted repeatedly while it was being read.");
}

/** Reads the changes of a key from `start` on, before `revision` if given. Resolves to the last `OLDER_MAX` events, oldest
 *  first, and the compacted revision if `start` is below it, otherwise null. */
async function replay(key, start, revision, signal) {
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const read = { events: [], compacted: null };
  const each = (message) => {
    if (message.compact_revision) {
      read.compacted = message.compact_revision;
      stop.abort();
    } else if (message.canceled) {
      throw new Error(message.cancel_reason || "The member has canceled the watch.");
    } else if (message.watch_id === "-1") {
      // The member answers the progress request after it has sent all old revisions.
      stop.abort();
    }
    for (const event of message.events ?? []) {
      const version = { ...readKv(event.kv), deleted: event.type === "DELETE" };
      if (revision && BigInt(version.modified) >= BigInt(revision)) stop.abort();
      else read.events.push(version);
      if (read.events.length > OLDER_MAX) read.events.shift();
    }
  };
  try {
    const create = { key: toBase64(key), start_revision: start };
    await stream("watch", [{ create_request: create }, { progress_request: {} }], each, both);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    stop.abort();
  }
  return read;
}

/** Shows the history of a key in `place`. `newest` is the current version, or null if the key does not exist. */
export async function showHistory(place, key, newest, again, signal) {
  const rows = h("ol", { class: "history" });
  const state = h("p", { class: "quiet", role: "status" }, "Reading…");
  const more = button("Older versions", () => run(page), { hidden: true });
  const older = button("Before it was created", () => run(earlier), { hidden: true });
  const panel = h("section", { class: "card", "aria-label": "History", tabindex: "-1" }, h("h3", {}, "History"), rows,
    h("div", { class: "row" }, more, older, button("Close", again)), state);
  place.replaceChildren(panel);
  panel.focus();
  const walk = new Walk(key, newest);
  let last = null;
  let running = false;
  const add = (versions) => {
    for (const version of versions) {
      // A version is compared with the version before it, which is the next one shown.
      last?.comparable(version);
      last = row(place, key, version, newest, again);
      rows.append(last.view);
    }
  };
  async function page() {
    add(await walk.page());
    more.hidden = walk.next === null;
    older.hidden = walk.end !== "created";
    state.textContent = walk.end === "compacted" ? "Older versions are compacted." : "";
  }
  async function earlier() {
    const versions = await before(key, newest?.created, signal);
    older.hidden = true;
    add(versions);
    state.textContent = versions.length === 0 ? "No older versions are kept." : "All versions that are not compacted are shown.";
    if (versions.length === OLDER_MAX) state.textContent = `Only the last ${OLDER_MAX} of the older versions are shown.`;
  }
  async function run(work) {
    // Two quick clicks would read and show the same versions twice.
    if (running) return;
    running = true;
    try {
      await work();
    } catch (error) {
      if (!signal.aborted) state.replaceChildren(trouble(error));
    }
    running = false;
  }
  await run(newest ? page : earlier);
}

/** Creates the row of a version. `comparable` sets the previous version, so that the changes can be shown. */
function row(place, key, version, newest, again) {
  const current = newest && version.modified === newest.modified;
  const shown = h("div", {});
  const what = version.deleted ? "deleted" : version.version === "1" ? "created" : `version ${version.version}`;
  const changes = button("Changes", () => {}, { disabled: true });
  const actions = version.deleted ? [] : [
    button("Value", () => shown.replaceChildren(valueView(version.value))), changes,
    !current && button("Bring back", async () => {
      try {
        await bringBack(place, key, version, again);
      } catch (error) {
        shown.replaceChildren(trouble(error));
      }
    }, { "aria-label": `Bring back revision ${version.modified}` }),
  ];
  const view = h("li", {}, h("div", { class: "row" },
    h("strong", {}, `Revision ${count(version.modified)}`), h("span", {}, what),
    !version.deleted && h("span", { class: "quiet" }, size(version.value.length)),
    current && h("span", { class: "tag" }, "now"), h("div", { class: "row actions" }, actions)), shown);
  const comparable = (older) => {
    if (older.deleted || version.deleted) return;
    changes.disabled = false;
    changes.addEventListener("click", () => shown.replaceChildren(
      h("p", { class: "quiet" }, `From revision ${older.modified} to ${version.modified}`), diffView(older.value, version.value)));
  };
  return { view, comparable };
}
