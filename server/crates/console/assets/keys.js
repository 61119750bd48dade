// The v3 keys as a tree, next to the open key. `v2keys.js` shows the v2 keys.

import { keyOf, keyText } from "./bytes.js";
import { user, writes } from "./api.js";
import { button, count, field, h, name, trouble } from "./dom.js";
import { openKey } from "./key.js";
import { createKey } from "./edit.js";
import { showV2 } from "./v2keys.js";
import { Listing, parents } from "./v3list.js";

export const title = "Keys";

/** Number of entries on a page of the list. */
const PAGE = 100;
const SLASH = 47;

/** Returns the address of a folder or prefix, with an open key if given. */
export function address(prefix, key) {
  const params = new URLSearchParams({ p: keyText(prefix), ...(key && { k: keyText(key) }) });
  return `#keys?${params}`;
}

export async function show(view) {
  const old = view.params.get("api") === "2";
  view.root.append(h("nav", { class: "choice", "aria-label": "Key space" },
    h("a", { href: "#keys", "aria-current": !old && "true" }, "v3"),
    h("a", { href: "#keys?api=2", "aria-current": old && "true" }, "v2")));
  await (old ? showV2(view) : showV3(view));
}

/** The last list. `of` contains the user, the number of writes and the prefix that the list depends on. */
let kept = { of: null, list: null };

/** Shows the list of a prefix and the open key. Restores the scroll position `y` if the list is the same as before. */
async function showV3({ root, params, signal, y }) {
  const prefix = keyOf(params.get("p") ?? "");
  const key = params.has("k") ? keyOf(params.get("k")) : null;
  const of = `${user()} ${writes} ${keyText(prefix)}`;
  // When another key is opened, the list does not change.
  const again = key !== null && kept.of === of;
  if (!again) kept = { of, list: h("section", { class: "list", "aria-label": "List of keys" }) };
  const { list } = kept;
  const open = h("section", { class: "open", "aria-label": "Open key", tabindex: "-1" });
  root.append(search(prefix), h("div", { class: key ? "panes opened" : "panes" }, list, open));
  if (again && getComputedStyle(list).display !== "none") scrollTo(0, y);
  const shown = again ? null : showList(list, prefix);
  mark(list, key);
  if (key) {
    await openKey(open, prefix, key, signal);
    // Keyboard users continue at the open key.
    if (document.activeElement?.id === "main") open.focus({ preventScroll: true });
  } else {
    open.append(h("p", { class: "quiet empty" }, "Choose a key to see its value and its history."));
  }
  await shown;
  mark(list, key);
}

/** Marks the open key in the list. */
function mark(list, key) {
  const at = key && keyText(key);
  for (const link of list.querySelectorAll("a.key")) {
    if (link.dataset.key === at) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

/** Creates the form for a prefix. Shows an error below the form if the prefix contains an unknown escape. */
function search(prefix) {
  const input = h("input", {
    type: "search", value: keyText(prefix), autocomplete: "off", autocapitalize: "none", spellcheck: "false", dir: "auto",
  });
  const problem = h("p", { class: "hint", role: "alert" });
  const go = (event) => {
    event.preventDefault();
    try {
      location.hash = address(keyOf(input.value));
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  return h("form", { class: "search", role: "search", onsubmit: go },
    field("Prefix", input), h("button", {}, "Search"),
    button("New key", () => createKey(prefix), { class: "main" }), problem);
}

/** Shows the first page of the entries below a prefix, and a button for more. */
async function showList(list, prefix) {
  const entries = h("ul", { class: "entries" });
  const state = h("p", { class: "quiet", role: "status" }, "Reading…");
  const listing = new Listing(prefix);
  let shown = 0;
  const more = button("More", () => page(), { hidden: true });
  /** Appends a page of entries. Focuses its first entry, except on the first page. Shows an error in place of the count. */
  async function page() {
    more.disabled = true;
    try {
      const found = await listing.page(PAGE);
      const first = found.map((entry) => row(entry, prefix));
      entries.append(...first);
      shown += found.length;
      if (shown > found.length) first[0]?.querySelector("a").focus();
      const below = `${count(listing.total)} ${listing.total === "1" ? "key" : "keys"}`;
      state.textContent = listing.done ? `${below} below this prefix.` : `The first ${count(shown)} entries. ${below} below this prefix.`;
      if (shown === 0) state.textContent = "No key has this prefix.";
      more.hidden = listing.done;
    } catch (error) {
      state.replaceWith(trouble({ ...error, message: error.message, title: error.title, advice: advice(error) }));
      more.hidden = true;
    }
    more.disabled = false;
  }
  list.append(crumbs(prefix), entries, h("div", { class: "row" }, more, state));
  await page();
}

function advice(error) {
  if (error.title !== "No permission") return error.advice;
  return `${error.advice} A user can list only keys that its roles cover: enter a prefix of such keys above.`;
}

/** Creates links to the folders above a prefix, and to the prefix itself. */
function crumbs(prefix) {
  const steps = [[new Uint8Array(), "All keys"]];
  let before = 0;
  for (const folder of parents(prefix)) {
    steps.push([folder, keyText(folder.subarray(before))]);
    before = folder.length;
  }
  return h("nav", { "aria-label": "Folders above", class: "crumbs" }, h("ol", {}, steps.map(([folder, text], at) =>
    h("li", {}, h("a", { href: address(folder), "aria-current": at === steps.length - 1 && "location" }, name(text))))));
}

/** Creates an entry of the list. A folder opens its own list, and a key opens next to this list. */
function row({ folder, key, kv }, prefix) {
  const text = keyText(key.subarray(prefix.lastIndexOf(SLASH) + 1)) || "(the prefix itself)";
  const at = keyText(key);
  return h("li", {},
    h("a", { href: folder ? address(key) : address(prefix, key), class: folder ? "folder" : "key", "data-key": at, title: at.slice(0, 300) },
      name(text.length > 200 ? `${text.slice(0, 200)}…` : text)),
    kv && h("span", { class: "quiet small" }, `revision ${kv.mod_revision}`));
}
