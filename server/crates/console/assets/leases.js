// The leases with their remaining time.

import { v3 } from "./api.js";
import { fromBase64, keyText } from "./bytes.js";
import { button, count, h, hex, name, span, table, trouble } from "./dom.js";
import { address } from "./keys.js";
import { repeat } from "./poll.js";

export const title = "Leases";

/** Number of leases on a page. Each lease needs a request. */
const PAGE = 25;
const ASK_MS = 5000;

/** Requests the remaining and the granted seconds of a lease, and its keys if `keys` is true. The remaining time of an ended
 *  lease is -1. */
export async function timeToLive(id, keys = false) {
  const answer = await v3("lease/timetolive", { ID: id, keys });
  return {
    left: Number(answer.TTL ?? 0), granted: Number(answer.grantedTTL ?? 0), keys: answer.keys ?? [], at: performance.now(),
  };
}

/** Shows a page of leases. Requests it every `ASK_MS` milliseconds and counts the remaining time down in between. */
export async function show({ root, signal }) {
  const state = h("p", { class: "quiet" }, "Reading…");
  const place = h("div", {});
  const open = h("div", {});
  const pages = h("div", { class: "row" });
  root.append(h("p", { class: "lead" }, "The keys of a lease exist while a client renews the lease. When no time is left, the keys are deleted."),
    state, place, pages, open);
  const seen = { first: 0, ids: [], rows: [] };
  const failed = (error) => state.replaceChildren(trouble(error));
  const read = async () => {
    const { leases } = await v3("lease/leases");
    seen.ids = (leases ?? []).map((lease) => lease.ID);
    if (seen.first >= seen.ids.length) seen.first = 0;
    const shown = seen.ids.slice(seen.first, seen.first + PAGE);
    const known = await Promise.all(shown.map((id) => timeToLive(id)));
    if (signal.aborted) return;
    seen.rows = shown.map((id, at) => row(id, known[at], open));
    const rest = seen.ids.length > PAGE ? `, ${seen.first + 1} to ${seen.first + shown.length} below` : "";
    state.textContent = seen.ids.length === 0 ? "There are no leases." : `${count(seen.ids.length)} ${seen.ids.length === 1 ? "lease" : "leases"}${rest}.`;
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.lease : undefined;
    place.replaceChildren(shown.length > 0 ? table("Leases", ["Lease", "Time left", "", "Granted", "Keys"], seen.rows.map((one) => one.cells)) : "");
    if (focused) place.querySelector(`[data-lease="${focused}"]`)?.focus({ preventScroll: true });
    turn(pages, seen, () => read().catch(failed));
  };
  const tick = setInterval(() => seen.rows.forEach((one) => one.tick()), 1000);
  signal.addEventListener("abort", () => clearInterval(tick));
  await repeat(signal, ASK_MS, read, failed);
}

/** Draws the buttons that turn the page, unless nothing has changed. */
function turn(pages, seen, read) {
  // A button that is clicked twice before the page turns has the same effect as one click.
  const step = (first) => () => {
    seen.first = first;
    read();
  };
  const wanted = `${seen.first} ${seen.ids.length}`;
  if (pages.dataset.shown === wanted) return;
  pages.dataset.shown = wanted;
  pages.replaceChildren(
    seen.first > 0 ? button("Previous", step(seen.first - PAGE)) : "",
    seen.first + PAGE < seen.ids.length ? button("Next", step(seen.first + PAGE)) : "");
}

/** Creates the cells of a lease, and `tick`, which updates its remaining time. */
function row(id, known, open) {
  const text = h("span", {});
  const meter = h("meter", { min: 0, max: 1, low: 0.2, optimum: 1, "aria-label": "Share of the time that is left" });
  const tick = () => {
    const left = known.left - (performance.now() - known.at) / 1000;
    text.textContent = left > 0 ? span(left) : "ends";
    meter.value = Math.max(0, left / (known.granted || 1));
  };
  tick();
  const keys = button("Show keys", () => showKeys(open, id), { "data-lease": hex(id), "aria-label": `Show keys of ${hex(id)}` });
  return { tick, cells: [name(hex(id)), text, meter, span(known.granted), keys] };
}

/** Shows up to 200 keys of a lease in `open` and focuses them, or shows the error. */
async function showKeys(open, id) {
  try {
    const { keys } = await timeToLive(id, true);
    const shown = keys.slice(0, 200).map(fromBase64);
    const rest = keys.length - shown.length;
    open.replaceChildren(h("section", { class: "card", tabindex: "-1", "aria-label": "Keys of the lease" },
      h("h2", {}, "Keys of ", name(hex(id))),
      keys.length === 0 ? h("p", { class: "quiet" }, "The lease has no keys.") : h("ul", {}, shown.map((key) =>
        h("li", {}, h("a", { href: address(key.slice(0, key.lastIndexOf(47) + 1), key) }, name(keyText(key)))))),
      rest > 0 && h("p", { class: "quiet" }, `${count(rest)} more.`)));
    open.firstChild.focus();
  } catch (error) {
    open.replaceChildren(trouble(error));
  }
}
