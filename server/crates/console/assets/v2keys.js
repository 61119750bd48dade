// The v2 keys. Writes compare the modified index. v2 lists only whole directories with their values, so the page
// requests one directory at a time and never recursively.

import { v2 } from "./api.js";
import { fromText, utf8 } from "./bytes.js";
import { ask, button, count, facts, field, h, name, notify, size, span, trouble } from "./dom.js";
import { diffView, editValue, valueView } from "./values.js";

/** Number of entries to draw before the user requests more. */
const PAGE = 200;

const at = (path) => `v2/keys${path.split("/").map(encodeURIComponent).join("/")}`;
const address = (path) => `#keys?${new URLSearchParams({ api: "2", p: path })}`;
const redraw = () => dispatchEvent(new Event("hashchange"));

/** Shows a v2 directory or key. Throws a `Refusal` if it does not exist. */
export async function showV2({ root, params, signal }) {
  const path = params.get("p") || "/";
  const input = h("input", { type: "search", value: path, autocomplete: "off", autocapitalize: "none", spellcheck: "false", dir: "auto" });
  const go = (event) => {
    event.preventDefault();
    location.hash = address(`/${input.value.replace(/^\/+/, "")}`);
  };
  root.append(h("form", { class: "search", role: "search", onsubmit: go },
    field("Path", input), h("button", {}, "Open"), button("New key", () => create(path), { class: "main" }),
    h("p", { class: "hint" }, "Names that begin with _ are not listed. To open such a key, enter its entire path.")), crumbs(path));
  const { node } = await v2(`${at(path)}?sorted=true`);
  if (signal.aborted) return;
  root.append(...(node.dir ? [directory(node)] : key(node)));
}

function crumbs(path) {
  const names = path.split("/").filter(Boolean);
  const steps = [["/", "All keys"], ...names.map((one, index) => [`/${names.slice(0, index + 1).join("/")}`, one])];
  return h("nav", { "aria-label": "Directories above", class: "crumbs" }, h("ol", {}, steps.map(([to, text], index) =>
    h("li", {}, h("a", { href: address(to), "aria-current": index === steps.length - 1 && "location" }, name(text))))));
}

/** Creates the list of a directory, with a button that draws the next `PAGE` entries. */
function directory(node) {
  const nodes = node.nodes ?? [];
  const entries = h("ul", { class: "entries" });
  const state = h("p", { class: "quiet" });
  const more = button("More", () => draw());
  let shown = 0;
  const draw = () => {
    entries.append(...nodes.slice(shown, shown + PAGE).map(row));
    shown = Math.min(nodes.length, shown + PAGE);
    more.hidden = shown === nodes.length;
    state.textContent = nodes.length === 0 ? "This directory is empty." : `${count(shown)} of ${count(nodes.length)} entries.`;
  };
  draw();
  return h("section", { class: "list", "aria-label": "List of keys" }, entries, h("div", { class: "row" }, more, state));
}

function row(node) {
  const text = node.key.split("/").pop();
  return h("li", {}, h("a", { href: address(node.key), class: node.dir ? "folder" : "key" }, name(node.dir ? `${text}/` : text)),
    h("span", { class: "quiet small" }, node.ttl !== undefined ? `${span(node.ttl)} left` : `index ${node.modifiedIndex}`));
}

/** Returns the elements for a v2 key. */
function key(node) {
  const work = h("div", {});
  const bytes = fromText(node.value ?? "");
  return [
    h("h2", { class: "key-name" }, name(node.key)),
    facts([["Modified index", count(node.modifiedIndex)], ["Created index", count(node.createdIndex)], ["Size", size(bytes.length)],
      node.ttl !== undefined && ["Time left", span(node.ttl)]]),
    h("div", { class: "row" }, button("Edit", () => edit(work, node), { class: "main" }),
      button("Delete", () => remove(work, node), { class: "danger" })),
    work, valueView(bytes),
  ];
}

/** Shows a form that edits a key. Saving restarts the key's time to live. */
function edit(work, node) {
  const kept = node.ttl === undefined ? "" : ` Its time to live starts again with ${span(node.ttl)}.`;
  const note = `The value is saved only if the index is still ${node.modifiedIndex}.${kept}`;
  editValue(work, fromText(node.value ?? ""), note, redraw, (mine) => swap(work, node, textOf(mine)));
}

/** Returns the text of a value. Throws an error for bytes that are not UTF-8, which v2 cannot store. */
function textOf(bytes) {
  const text = utf8(bytes);
  if (text === null) throw new Error("A v2 value must be UTF-8 text.");
  return text;
}

/** Writes a value if the node's index is unchanged. Otherwise shows both values. */
async function swap(work, node, mine) {
  try {
    const done = await v2(`${at(node.key)}?prevIndex=${node.modifiedIndex}`, {
      method: "PUT", form: { value: mine, ...(node.ttl !== undefined && { ttl: node.ttl }) },
    });
    notify(`Saved at index ${done.node.modifiedIndex}.`);
    redraw();
  } catch (error) {
    if (error.code === "v2:101") await conflict(work, node, mine);
    else work.append(trouble(error));
  }
}

/** Reads the current value and shows it next to `mine`, which is null for a deletion. */
async function conflict(work, node, mine) {
  let now;
  try {
    ({ node: now } = await v2(at(node.key)));
  } catch (error) {
    // The key was deleted, or the request failed.
    work.append(trouble(error));
    return;
  }
  const [theirs, yours] = [now.value ?? "", mine ?? ""].map(fromText);
  const panel = h("div", { class: "card bad conflict", role: "alert", tabindex: "-1" },
    h("h3", {}, "Somebody else was faster"),
    h("p", {}, `Nothing was written. The key was at index ${node.modifiedIndex} when you began; it is at ${now.modifiedIndex} now.`),
    h("div", { class: "both" }, h("div", {}, h("h4", {}, "Theirs"), valueView(theirs)),
      h("div", {}, h("h4", {}, "Yours"), mine === null ? h("p", {}, "Deleted.") : valueView(yours))),
    mine !== null && diffView(theirs, yours),
    h("div", { class: "row" }, button("Keep theirs", redraw, { class: "main" }),
      mine !== null && button("Replace theirs with mine", () => swap(work, now, mine), { class: "danger" })));
  work.replaceChildren(panel);
  panel.focus();
}

/** Asks for confirmation and deletes the key if its index is unchanged. Otherwise, shows the conflict. */
async function remove(work, node) {
  const given = await ask("Delete this key?", [h("p", {}, name(node.key)),
    h("p", { class: "quiet" }, `The key is deleted only if its index is still ${node.modifiedIndex}. v2 keeps no old values.`)], "Delete");
  if (!given) return;
  try {
    await v2(`${at(node.key)}?prevIndex=${node.modifiedIndex}`, { method: "DELETE" });
    notify("Deleted.");
    location.hash = address(node.key.slice(0, node.key.lastIndexOf("/")) || "/");
  } catch (error) {
    if (error.code === "v2:101") await conflict(work, node, null);
    else work.append(trouble(error));
  }
}

/** Asks for a path and a value, creates the key if it does not exist, and opens the key. */
async function create(path) {
  const given = await ask("New key", [
    field("Path", h("input", { name: "key", value: path.replace(/\/*$/, "/"), required: true, autocomplete: "off", autocapitalize: "none", spellcheck: "false" })),
    field("Value", h("textarea", { name: "value", rows: 6, spellcheck: "false" })),
  ], "Create");
  if (!given) return;
  try {
    const target = `/${given.get("key").replace(/^\/+/, "")}`;
    await v2(`${at(target)}?prevExist=false`, { method: "PUT", form: { value: given.get("value").replace(/\r\n/g, "\n") } });
    notify("Created.");
    location.hash = address(target);
  } catch (error) {
    notify(`${error.title}: ${error.message}`);
  }
}
