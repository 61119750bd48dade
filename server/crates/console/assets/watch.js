// Shows the changes below a v3 prefix as they occur.

import { readKv, stream } from "./api.js";
import { keyOf, keyText, prefixRange, utf8 } from "./bytes.js";
import { button, count, field, h, name, size, trouble } from "./dom.js";
import { address } from "./keys.js";

export const title = "Watch";

/** Number of changes to keep on the page. */
const KEPT = 200;
/** Number of characters of a value to show in a line. */
const SHOWN = 160;
/** Minimum interval in milliseconds between two announcements to screen readers. */
const SAID_MS = 2000;

/** Shows the form and the changes. Watches nothing until the user starts the watch. Leaving the view ends the watch. */
export async function show({ root, params, signal }) {
  const input = h("input", { type: "search", value: params.get("p") ?? "", autocomplete: "off", autocapitalize: "none", spellcheck: "false", dir: "auto" });
  const toggle = h("button", { class: "main" }, "Start");
  const state = h("p", { class: "quiet" }, "Nothing is watched. An empty prefix watches all keys.");
  const said = h("p", { class: "unseen", role: "status", "aria-live": "polite" });
  const lines = h("ol", { class: "events", reversed: true });
  let running = null;
  const stop = () => {
    running?.abort();
    running = null;
    toggle.textContent = "Start";
  };
  signal.addEventListener("abort", stop);
  const start = async () => {
    const own = new AbortController();
    running = own;
    toggle.textContent = "Stop";
    const log = new Log(lines, state, said);
    try {
      const range = prefixRange(keyOf(input.value));
      await stream("watch", [{ create_request: range }], (message) => log.take(message), own.signal);
      state.textContent = "The member has ended the watch.";
    } catch (error) {
      if (!own.signal.aborted) state.replaceChildren(trouble(error));
      else if (!signal.aborted) state.textContent = `Stopped after ${count(log.total)} changes.`;
    }
    if (running === own) stop();
  };
  const form = h("form", {
    class: "search",
    onsubmit: (event) => {
      event.preventDefault();
      if (running) stop();
      else start();
    },
  }, field("Prefix", input), toggle, button("Clear", () => lines.replaceChildren()));
  root.append(form, state, said, h("section", { "aria-label": "Changes" }, lines));
}

/** The list of changes, drawn at most every 100 ms. */
class Log {
  constructor(lines, state, said) {
    Object.assign(this, { lines, state, said, total: 0, waiting: [], drawing: false, saidAt: 0 });
  }

  /** Handles a response of the watch. Keeps the last `KEPT` changes until they are drawn. Throws if the watch is canceled. */
  take(message) {
    if (message.canceled) throw new Error(message.cancel_reason || "The member has canceled the watch.");
    if (message.created) this.state.textContent = `Watching since revision ${count(message.header.revision)}.`;
    for (const event of message.events ?? []) {
      this.total += 1;
      this.waiting.push(event);
      if (this.waiting.length > KEPT) this.waiting.shift();
    }
    if (this.waiting.length > 0 && !this.drawing) {
      this.drawing = true;
      // `requestAnimationFrame` would not run while the page is hidden.
      setTimeout(() => this.draw(), 100);
    }
  }

  /** Draws the waiting changes, newest first. Announces the newest at most every `SAID_MS` milliseconds. */
  draw() {
    this.drawing = false;
    const events = this.waiting.splice(0).reverse();
    this.lines.prepend(...events.map(line));
    while (this.lines.children.length > KEPT) this.lines.lastChild.remove();
    const kept = this.total > KEPT ? `, the last ${KEPT} below` : "";
    this.state.textContent = `Watching: ${count(this.total)} ${this.total === 1 ? "change" : "changes"}${kept}.`;
    const now = Date.now();
    if (now - this.saidAt < SAID_MS) return;
    this.saidAt = now;
    const { type, kv } = events[0];
    this.said.textContent = `${count(this.total)} changes. Last: ${type === "DELETE" ? "deleted" : "put"} ${keyText(readKv(kv).key).slice(0, 80)}`;
  }
}

/** Creates the line of a change, with the time at which it is drawn. */
function line({ type, kv }) {
  const { key, value, modified, version } = readKv(kv);
  const gone = type === "DELETE";
  const text = utf8(value);
  const shown = text === null ? size(value.length) : text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  const slash = key.lastIndexOf(47) + 1;
  const what = gone ? "delete" : version === "1" ? "create" : "put";
  return h("li", {},
    h("span", { class: "quiet small" }, new Date().toLocaleTimeString(), ` · ${modified}`),
    h("span", { class: `tag ${what}` }, what),
    h("a", { href: address(key.slice(0, slash), key) }, name(keyText(key).slice(0, 300))),
    !gone && h("bdi", { class: "mono quiet one-line" }, shown));
}
