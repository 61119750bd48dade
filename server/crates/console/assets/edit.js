// Writes v3 keys. Each write compares the revision that the user saw, so it never overwrites an unseen change.

import { getKey, swap } from "./api.js";
import { equal, keyOf, keyText } from "./bytes.js";
import { ask, button, field, h, notify, trouble } from "./dom.js";
import { address } from "./keys.js";
import { diffView, editValue, valueView } from "./values.js";

/** Shows a form that edits a key in `place`. `again` redraws the key after the form is saved or canceled. */
export function editKey(place, kv, again) {
  const note = `The value is saved only if the revision is still ${kv.modified}.`;
  editValue(place, kv.value, note, again, (mine) => write({ place, key: kv.key, mine, before: kv, again }));
}

/** Writes a value if the key is unchanged since `before`. Otherwise shows the conflict. */
async function write({ place, key, mine, before, again }) {
  const result = await swap(key, before?.modified ?? "0", mine);
  if (result.done) {
    notify(`Saved at revision ${result.revision}.`);
    again();
  } else {
    conflict(place, { key, mine, before, now: result.now, again });
  }
}

/** Shows both values after a failed comparison and lets the user choose. `mine` is null for a deletion. */
export function conflict(place, { key, mine, before, now, again }) {
  const was = before ? `It was at revision ${before.modified}` : "It did not exist";
  const is = now ? `it is at revision ${now.modified} now.` : "it is deleted now.";
  const replace = async () => {
    try {
      if (mine === null) await removeNow(place, { key, before, now, again });
      else await write({ place, key, mine, before: now, again });
    } catch (error) {
      place.append(trouble(error));
    }
  };
  const panel = h("div", { class: "card bad conflict", role: "alert", tabindex: "-1" },
    h("h3", {}, "Somebody else was faster"),
    h("p", {}, `Nothing was written. ${was} when you began; ${is}`),
    now && mine && [h("h4", {}, "From theirs to yours"), diffView(now.value, mine)],
    h("div", { class: "both" },
      h("div", {}, h("h4", {}, "Theirs"), now ? valueView(now.value) : h("p", {}, "Deleted.")),
      h("div", {}, h("h4", {}, "Yours"), mine ? valueView(mine) : h("p", {}, "Deleted."))),
    h("div", { class: "row" },
      button("Keep theirs", again, { class: "main" }),
      (now || mine) && button(mine === null ? "Delete theirs" : "Replace theirs with mine", replace, { class: "danger" })));
  place.replaceChildren(panel);
  panel.focus();
}

/** Deletes the key if it is still `now`. Otherwise, shows the conflict again. */
async function removeNow(place, { key, before, now, again }) {
  const result = await swap(key, now.modified, null);
  if (result.done) again();
  else conflict(place, { key, mine: null, before, now: result.now, again });
}

/** Asks for a key and a value, creates the key if it does not exist, and opens the key. */
export async function createKey(prefix) {
  const given = await ask("New key", [
    field("Key", h("input", { name: "key", value: keyText(prefix), required: true, autocomplete: "off", autocapitalize: "none", spellcheck: "false" }),
      "Write a backslash as \\\\ and a byte as \\x00."),
    field("Value", h("textarea", { name: "value", rows: 6, spellcheck: "false" })),
  ], "Create");
  if (!given) return;
  try {
    const key = keyOf(given.get("key"));
    const value = new TextEncoder().encode(given.get("value").replace(/\r\n/g, "\n"));
    const result = await swap(key, "0", value);
    notify(result.done ? `Created at revision ${result.revision}.` : "The key already exists. Nothing was written.");
    const target = address(prefix, key);
    if (location.hash === target) dispatchEvent(new Event("hashchange"));
    else location.hash = target;
  } catch (error) {
    notify(`${error.title ?? "Not created"}: ${error.message}`);
  }
}

/** Restores an old value, unless the key already has it. Reads the key first. If the key then changes, shows the conflict. */
export async function bringBack(place, key, old, again) {
  const now = await getKey(key);
  if (now && equal(now.value, old.value)) {
    notify("The key already has this value.");
    return;
  }
  await write({ place, key, mine: old.value, before: now, again });
}
