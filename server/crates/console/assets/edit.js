// Writes of v3's keys, each by compare-and-swap on the revision that was seen: nobody's change is lost unseen.

import { getKey, swap } from "./api.js";
import { equal, keyOf, keyText } from "./bytes.js";
import { ask, button, field, h, notify, trouble } from "./dom.js";
import { address } from "./keys.js";
import { diffView, valueEditor, valueView } from "./values.js";

/** Edits a key in a place of its view. */
export function editKey(place, kv, again) {
  const editor = valueEditor(kv.value);
  const problem = h("div", {});
  const save = async (event) => {
    event.preventDefault();
    try {
      const mine = editor.read();
      await write({ place, key: kv.key, mine, before: kv, again });
    } catch (error) {
      problem.replaceChildren(trouble(error));
    }
  };
  place.replaceChildren(h("form", { class: "card", onsubmit: save, "aria-label": "Edit the value" },
    editor.view, problem,
    h("div", { class: "row" }, h("button", { class: "main" }, "Save"), button("Cancel", again),
      h("span", { class: "quiet" }, `Saved only if the revision is still ${kv.modified}.`))));
  editor.focus();
}

/** Writes a value in the place of what was seen before, or shows who was faster. */
async function write({ place, key, mine, before, again }) {
  const result = await swap(key, before?.modified ?? "0", mine);
  if (result.done) {
    notify(`Saved at revision ${result.revision}.`);
    again();
  } else {
    conflict(place, { key, mine, before, now: result.now, again });
  }
}

/** Shows both values after a lost comparison, and lets a person decide. `mine` is null for a deletion. */
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
      (now || mine) && button(mine === null ? "Delete theirs" : "Replace theirs by mine", replace, { class: "danger" })));
  place.replaceChildren(panel);
  panel.focus();
}

async function removeNow(place, { key, before, now, again }) {
  const result = await swap(key, now.modified, null);
  if (result.done) again();
  else conflict(place, { key, mine: null, before, now: result.now, again });
}

/** Asks for a new key and creates it, if there is none of its name. */
export async function createKey(prefix) {
  const given = await ask("New key", [
    field("Key", h("input", { name: "key", value: keyText(prefix), required: true, autocomplete: "off", autocapitalize: "none", spellcheck: "false" }),
      "A backslash is written \\\\, any byte \\x00."),
    field("Value", h("textarea", { name: "value", rows: 6, spellcheck: "false" })),
  ], "Create");
  if (!given) return;
  try {
    const key = keyOf(given.get("key"));
    const value = new TextEncoder().encode(given.get("value").replace(/\r\n/g, "\n"));
    const result = await swap(key, "0", value);
    notify(result.done ? `Created at revision ${result.revision}.` : "The key exists already. Nothing was written.");
    const target = address(prefix, key);
    if (location.hash === target) dispatchEvent(new Event("hashchange"));
    else location.hash = target;
  } catch (error) {
    notify(`${error.title ?? "Not created"}: ${error.message}`);
  }
}

/** Makes an old value the present one. The comparison is with what stands there at this moment, which is shown before. */
export async function bringBack(place, key, old, again) {
  const now = await getKey(key);
  if (now && equal(now.value, old.value)) {
    notify("The key has this value already.");
    return;
  }
  await write({ place, key, mine: old.value, before: now, again });
}
