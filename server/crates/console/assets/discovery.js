// Tokens of the discovery service: the registered members and the number of missing members. Both v2 and v3 discovery
// have their registry at `/_etcd/registry` in their key space.

import { text, v2, v3 } from "./api.js";
import { fromBase64, prefixRange, fromText, utf8 } from "./bytes.js";
import { ask, button, field, h, name, notify, span, trouble } from "./dom.js";

export const title = "Discovery";

const REGISTRY = "/_etcd/registry/";
/** Maximum number of v2 tokens to show; later tokens are omitted. Each token needs a request for its size. */
const TOKENS_MAX = 50;
/** Maximum number of keys to read from the v3 registry; tokens with later keys are omitted. */
const KEYS_MAX = "1000";

/** Shows the tokens of both registries. An error in one registry does not hide the other registry. */
export async function show({ root, signal }) {
  root.append(h("p", { class: "lead" }, "The initial members of a new cluster find each other with a token. The token is needed until all members have registered."),
    h("div", { class: "row" }, button("New token", newToken, { class: "main" })));
  const parts = [["Tokens", oldTokens], ["Tokens of v3 discovery", newTokens]];
  for (const [heading, read] of parts) {
    const place = h("div", {}, h("p", { class: "quiet" }, "Reading…"));
    root.append(h("h2", {}, heading), place);
    try {
      const { tokens, more } = await read();
      if (signal.aborted) return;
      const hint = more ? "Further tokens are not shown." : tokens.length === 0 ? "There are no tokens." : null;
      place.replaceChildren(...tokens.map(card), ...(hint ? [h("p", { class: "quiet" }, hint)] : []));
    } catch (error) {
      place.replaceChildren(trouble(error));
    }
  }
}

/** Reads up to `TOKENS_MAX` tokens from the v2 registry, and whether there are more. Returns no tokens if there is no
 *  registry. */
async function oldTokens() {
  let registry;
  try {
    registry = await v2("v2/keys/_etcd/registry?recursive=true&sorted=true");
  } catch (error) {
    if (error.code === "v2:100") return { tokens: [], more: false };
    throw error;
  }
  const nodes = (registry.node.nodes ?? []).filter((node) => node.dir);
  const tokens = await Promise.all(nodes.slice(0, TOKENS_MAX).map(async (node) => {
    const token = node.key.split("/").pop();
    const size = await v2(`v2/keys/_etcd/registry/${encodeURIComponent(token)}/_config/size`).catch(() => null);
    return {
      token, size: Number(size?.node.value ?? 0), left: node.ttl,
      members: (node.nodes ?? []).filter((one) => !one.dir).map((one) => [one.key.split("/").pop(), one.value]),
    };
  }));
  return { tokens, more: nodes.length > TOKENS_MAX };
}

/** Reads the tokens from the v3 registry, whose keys are `TOKEN/_config/size` and `TOKEN/members/ID`, and whether there are
 *  more. */
async function newTokens() {
  const answer = await v3("kv/range", { ...prefixRange(fromText(REGISTRY)), limit: KEYS_MAX });
  const tokens = new Map();
  for (const kv of answer.kvs ?? []) {
    const path = (utf8(fromBase64(kv.key)) ?? "").slice(REGISTRY.length);
    const [token, what, id] = path.split("/");
    const known = tokens.get(token) ?? { token, size: 0, members: [] };
    tokens.set(token, known);
    const value = utf8(fromBase64(kv.value)) ?? "";
    if (what === "_config" && id === "size") known.size = Number(value);
    if (what === "members") known.members.push([id, value]);
  }
  const shown = [...tokens.values()];
  // The members of the last token may be among the keys that were not read.
  if (answer.more) shown.pop();
  return { tokens: shown, more: answer.more };
}

/** Draws a token with its registered members and up to 32 missing ones. `left` is its remaining time in seconds, if any. */
function card({ token, size, left, members }) {
  const missing = Math.max(0, size - members.length);
  const state = size === 0 ? "without a size" : missing > 0 ? `${missing} of ${size} missing` : `all ${size} registered`;
  const row = ([id, value]) => {
    const [first, ...more] = value.split("=");
    return h("li", {}, h("span", { class: "tag create" }, "registered"), name(more.length > 0 ? first : id),
      h("bdi", { class: "mono quiet" }, more.length > 0 ? more.join("=") : value), h("span", { class: "quiet small" }, id));
  };
  return h("section", { class: "card", "aria-label": `Token ${token}` },
    h("h3", {}, name(token)),
    h("p", { class: "row" }, h("span", { class: missing > 0 ? "tag delete" : "tag create" }, state),
      left !== undefined && h("span", { class: "quiet" }, `expires in ${span(left)}`)),
    h("ul", { class: "plain" }, members.map(row),
      Array.from({ length: Math.min(missing, 32) }, (_, at) => h("li", {}, h("span", { class: "tag none" }, "missing"), h("span", { class: "quiet" }, `member ${members.length + at + 1}`)))),
    missing > 0 && h("p", { class: "quiet" }, "A missing member has not started with this token or cannot connect to this service. Check its log."));
}

/** Asks for a size, creates a token, draws the view again and shows the token's URL as a notice. */
async function newToken() {
  const given = await ask("New token", [
    field("Members of the new cluster", h("input", { name: "size", type: "number", min: 1, max: 32, value: 3, required: true })),
  ], "Create");
  if (!given) return;
  try {
    const url = await text(`new?size=${encodeURIComponent(given.get("size"))}`, { method: "POST" });
    dispatchEvent(new Event("hashchange"));
    notify(`Start each member with --discovery ${url}`);
  } catch (error) {
    notify(`${error.title}: ${error.message}`);
  }
}
