// The cluster as this member sees it: the leader, the connections, sizes and rates, updated every second.
// The page does not query other members.

import { text, v2, v3 } from "./api.js";
import { count, facts, h, hex, name, s, size, table, trouble } from "./dom.js";
import { draw, reached } from "./drawing.js";
import { repeat } from "./poll.js";
import { parse, value } from "./metrics.js";

export const title = "Cluster";

const SECOND_MS = 1000;
/** Number of status requests per request for the metrics, which are large. */
const METRICS_EVERY = 5;
/** Number of samples in the curve, which covers one minute. */
const POINTS = 61;

/** Shows the view and updates it every second. An error is shown above the last data. */
export async function show({ root, signal }) {
  const parts = {
    trouble: h("div", {}), drawing: h("div", { class: "drawing" }), rates: h("div", { class: "tiles" }),
    members: h("div", {}), own: h("div", {}),
  };
  root.append(parts.trouble, parts.rates, parts.drawing, h("h2", {}, "Members"), parts.members,
    h("h2", {}, "This member"), parts.own);
  const seen = { samples: [], metrics: null, rates: {}, at: 0 };
  await repeat(signal, SECOND_MS, async () => {
    await look(seen);
    if (signal.aborted) return;
    parts.trouble.replaceChildren();
    render(parts, seen);
  }, (error) => parts.trouble.replaceChildren(trouble(error)));
}

/** Requests all data to be drawn and stores it in `seen`. Fails if the status or the member list is not available. */
async function look(seen) {
  const asked = [v3("maintenance/status"), v3("cluster/member/list", { linearizable: false })];
  [seen.status, seen.list] = await Promise.all(asked);
  const own = seen.status.header.member_id;
  seen.leads = seen.status.leader === own;
  if (seen.at % METRICS_EVERY === 0) {
    // The metrics and the statistics are optional: v2 may be disabled, and the metrics may be on another port.
    const [page, followers] = await Promise.all([
      text("metrics").catch(() => ""),
      seen.leads ? v2("v2/stats/leader").catch(() => null) : null,
    ]);
    readMetrics(seen, parse(page));
    seen.followers = followers?.followers ?? {};
  }
  seen.at += 1;
  sample(seen);
}

function sample(seen) {
  seen.samples.push({
    time: performance.now(), revision: Number(seen.status.header.revision ?? 0), applied: Number(seen.status.raftAppliedIndex ?? 0),
  });
  if (seen.samples.length > POINTS) seen.samples.shift();
}

/** Stores the metrics and the rates since the previous metrics in `seen`. */
function readMetrics(seen, page) {
  const now = { time: performance.now(), page };
  const before = seen.metrics;
  seen.before = before?.page ?? new Map();
  seen.metrics = now;
  if (!before || page.size === 0) return;
  const seconds = (now.time - before.time) / 1000;
  for (const metric of ["etcd_mvcc_range_total", "etcd_debugging_mvcc_events_total"]) {
    seen.rates[metric] = Math.max(0, (value(page, metric) - value(before.page, metric)) / seconds);
  }
}

/** Returns the rate per second of the counter `what` over the last `seconds` seconds, or null with fewer than two samples
 *  in this time. */
function rate(samples, what, seconds = 5) {
  const last = samples.at(-1);
  const first = samples.find((one) => last.time - one.time <= seconds * 1000 + 500);
  if (!first || first === last) return null;
  return Math.max(0, (last[what] - first[what]) * 1000 / (last.time - first.time));
}

const perSecond = (number) => (number === null || number === undefined ? "–" : number >= 10 ? count(Math.round(number)) : number.toFixed(1));

/** Returns what this member knows about a member, such as its role and connection. `trip` is in milliseconds. Unknown facts
 *  are null. */
function describe(seen, member) {
  const id = hex(member.ID);
  const own = seen.status.header.member_id;
  const page = seen.metrics?.page ?? new Map();
  const self = member.ID === own;
  const follower = seen.followers?.[id];
  const connected = value(page, "etcd_network_active_peers", { Remote: id });
  // Returns the increase since the previous metrics, or the total if there are none.
  const since = (part) => [page, seen.before ?? new Map()].map((one) =>
    value(one, `etcd_network_peer_round_trip_time_seconds_${part}`, { To: id }) ?? 0).reduce((now, before) => now - before);
  const [trips, sum] = [since("count"), since("sum")];
  return {
    id, self, name: member.name || "has not started",
    role: member.ID === seen.status.leader ? "Leader" : member.isLearner ? "Learner" : "Follower",
    started: Boolean(member.name), urls: member.clientURLs ?? [],
    connected: self ? true : connected === undefined ? null : connected === 1,
    trip: follower ? follower.latency.current : trips > 0 ? sum / trips * 1000 : null,
    failed: follower?.counts.fail ?? null,
    behind: self ? Number(seen.status.raftIndex ?? 0) - Number(seen.status.raftAppliedIndex ?? 0) : null,
    size: self ? seen.status.dbSize : null,
  };
}

/** Draws the data in `seen`. Members are sorted by name. */
function render(parts, seen) {
  const members = seen.list.members.map((member) => describe(seen, member));
  members.sort((a, b) => a.name.localeCompare(b.name));
  draw(parts.drawing, members);
  parts.rates.replaceChildren(...tiles(seen));
  const drawn = table("Members", ["Member", "Role", "Seen from here", "Round trip", "Id", "Console"], members.map((member) => [
    name(member.name), member.role + (member.self ? ", this member" : ""), reached(member),
    member.trip === null ? "–" : `${member.trip.toFixed(2)} ms`, name(member.id), consoles(member),
  ]));
  keepFocus(parts.members, () => parts.members.replaceChildren(drawn));
  parts.own.replaceChildren(ownFacts(seen));
}

/** Calls `drawn` and restores the focus to the link at the same position. */
function keepFocus(part, drawn) {
  const links = () => [...part.querySelectorAll("a, [tabindex]")];
  const at = links().indexOf(document.activeElement);
  drawn();
  if (at >= 0) links()[at]?.focus({ preventScroll: true });
}

/** Returns links to a member's console, one for each HTTP client URL, or words if there is nothing to link. */
function consoles(member) {
  if (member.self) return "this page";
  const links = member.urls.filter((url) => /^https?:/.test(url)).map((url) =>
    h("a", { href: `${url}/console/`, rel: "noreferrer" }, url.replace(/^https?:\/\//, "")));
  return links.length > 0 ? h("span", {}, links) : "–";
}

/** Returns the tiles with rates and sizes. An unknown number is shown as a dash. */
function tiles(seen) {
  const quota = Number(seen.status.dbSizeQuota ?? 0);
  const page = seen.metrics?.page ?? new Map();
  const share = quota > 0 ? Number(seen.status.dbSize ?? 0) / quota : 0;
  const tile = (label, shown, more) => h("div", { class: "tile" }, h("div", { class: "quiet" }, label), h("div", { class: "big" }, shown), more);
  const keys = value(page, "etcd_debugging_mvcc_keys_total");
  return [
    tile("Revisions / s", perSecond(rate(seen.samples, "revision")), curve(seen.samples)),
    tile("Log entries / s", perSecond(rate(seen.samples, "applied"))),
    tile("v3 reads / s, here", perSecond(seen.rates.etcd_mvcc_range_total)),
    tile("v3 keys", keys === undefined ? "–" : count(keys)),
    tile("Watchers, here", count(value(page, "etcd_debugging_mvcc_watcher_total") ?? 0)),
    tile(quota > 0 ? `Size, of ${size(quota)}` : "Size", size(seen.status.dbSize),
      quota > 0 && h("meter", { min: 0, max: 1, high: 0.8, low: 0.7, optimum: 0, value: share, "aria-label": "Share of the quota" })),
  ];
}

/** Draws the revisions per second over the last minute. */
function curve(samples) {
  const rates = samples.slice(1).map((one, at) =>
    Math.max(0, one.revision - samples[at].revision) * 1000 / (one.time - samples[at].time));
  const top = Math.max(1, ...rates);
  const points = rates.map((rate, at) => `${120 - (rates.length - 1 - at) * 2},${29 - rate / top * 27}`);
  return s("svg", { viewBox: "0 0 120 30", class: "curve", "aria-hidden": "true", preserveAspectRatio: "none" },
    s("polyline", { points: points.join(" ") }));
}

function ownFacts({ status }) {
  return facts([
    ["Version", status.version],
    ["Storage version", status.storageVersion ?? "–"],
    ["Revision", count(status.header.revision)],
    ["Term", count(status.raftTerm)],
    ["Committed entry", count(status.raftIndex)],
    ["Applied entry", count(status.raftAppliedIndex)],
    status.errors?.length && ["Errors", name(status.errors.join("; "))],
  ]);
}
