// A v3 key: its value, its metadata and its actions.

import { getKey, swap } from "./api.js";
import { keyText } from "./bytes.js";
import { ask, button, count, facts, h, hex, name, notify, size, span, trouble } from "./dom.js";
import { conflict, editKey } from "./edit.js";
import { showHistory } from "./history.js";
import { address } from "./keys.js";
import { timeToLive } from "./leases.js";
import { EDITED_BYTES_MAX, valueView } from "./values.js";

/** Shows a key in `place` and redraws it after each change. */
export async function openKey(place, prefix, key, signal) {
  const again = () => openKey(place, prefix, key, signal);
  const head = h("div", { class: "row" }, h("a", { class: "back", href: address(prefix) }, "← List"));
  try {
    const kv = await getKey(key);
    if (signal.aborted) return;
    const focused = place.contains(document.activeElement) && document.activeElement !== place;
    place.replaceChildren(head, heading(key), ...(kv ? present(kv, again, signal) : absent(key, again, signal)));
    // The element that had the focus was replaced.
    if (focused) place.querySelector("button").focus({ preventScroll: true });
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(head, heading(key), trouble(error));
  }
}

function heading(key) {
  const text = keyText(key);
  return h("h2", { class: "key-name" }, name(text.length > 400 ? `${text.slice(0, 400)}… (${size(key.length)})` : text));
}

/** Returns the elements for an existing key. A value above `EDITED_BYTES_MAX` cannot be edited. */
function present(kv, again, signal) {
  const work = h("div", {});
  const large = kv.value.length > EDITED_BYTES_MAX;
  const actions = h("div", { class: "row" },
    button("Edit", () => editKey(work, kv, again), { class: "main", disabled: large }),
    button("History", () => showHistory(work, kv.key, kv, again, signal)),
    button("Delete", () => remove(work, kv, again), { class: "danger" }),
    large && h("span", { class: "quiet" }, `Values above ${size(EDITED_BYTES_MAX)} cannot be edited here.`));
  return [
    facts([
      ["Revision", count(kv.modified)], ["Created at", count(kv.created)], ["Version", count(kv.version)],
      ["Size", size(kv.value.length)], kv.lease !== "0" && ["Lease", lease(kv.lease)],
    ]),
    actions, work, valueView(kv.value),
  ];
}

/** Creates the description of a key's lease with its remaining time. */
function lease(id) {
  const left = h("span", { class: "quiet" });
  timeToLive(id).then((known) => { left.textContent = `${span(known.left)} left`; }, () => {});
  return h("span", {}, name(hex(id)), " ", left);
}

/** Returns the elements for a key that does not exist. */
function absent(key, again, signal) {
  const work = h("div", {});
  return [
    h("p", {}, "This key does not exist. Its history shows earlier values that are not compacted."),
    h("div", { class: "row" }, button("History", () => showHistory(work, key, null, again, signal))),
    work,
  ];
}

/** Asks for confirmation and deletes the key. If the key has changed, shows the conflict instead. */
async function remove(work, kv, again) {
  const given = await ask("Delete this key?", [
    h("p", {}, name(keyText(kv.key).slice(0, 400))),
    h("p", { class: "quiet" }, `The key is deleted only if its revision is still ${kv.modified}. Until the next compaction, you can bring it back from its history.`),
  ], "Delete");
  if (!given) return;
  try {
    const result = await swap(kv.key, kv.modified, null);
    if (result.done) {
      notify(`Deleted at revision ${result.revision}.`);
      again();
    } else {
      conflict(work, { key: kv.key, mine: null, before: kv, now: result.now, again });
    }
  } catch (error) {
    work.replaceChildren(trouble(error));
  }
}
