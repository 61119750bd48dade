// Draws the members, with the leader above the other members, and the connections of the leader.

import { count, s, size } from "./dom.js";

const WIDTH = 208;
const HEIGHT = 88;
/** Distance between two members on a narrow page. */
const GAP = 28;
const GAP_WIDE = 72;
const RISE = 74;

/** Draws the members in rows that fit the width of `place`. */
export function draw(place, members) {
  const space = Math.max(300, place.clientWidth);
  const gap = space > 700 ? GAP_WIDE : GAP;
  const across = Math.max(1, Math.floor((space + gap) / (WIDTH + gap)));
  const leader = members.find((member) => member.role === "Leader");
  const others = members.filter((member) => member !== leader);
  const columns = Math.max(1, Math.min(across, others.length));
  const total = Math.max(300, Math.min(space, columns * (WIDTH + gap) + gap));
  const spots = new Map();
  if (leader) spots.set(leader, { x: (total - WIDTH) / 2, y: 4 });
  others.forEach((member, at) => {
    const row = Math.floor(at / columns);
    const inRow = Math.min(columns, others.length - row * columns);
    const left = (total - inRow * WIDTH - (inRow - 1) * gap) / 2;
    const top = leader ? HEIGHT + RISE : 4;
    spots.set(member, { x: left + (at % columns) * (WIDTH + gap), y: top + row * (HEIGHT + GAP) });
  });
  const rows = Math.ceil(others.length / columns);
  const height = (leader ? HEIGHT + RISE : 4) + rows * (HEIGHT + GAP) - GAP + 4;
  const svg = s("svg", { width: total, height, viewBox: `0 0 ${total} ${height}`, role: "img", "aria-label": summary(members) },
    lines(spots, leader, others, columns), members.map((member) => card(member, spots.get(member))));
  place.replaceChildren(svg);
}

function summary(members) {
  return members.map((member) => `${member.name}: ${member.role}, ${reached(member)}`).join("; ");
}

/** Draws lines from the leader to all other members. The state of a line is known only if this member is one of its ends. */
function lines(spots, leader, others, columns) {
  if (!leader) return [];
  const from = spots.get(leader);
  return others.flatMap((member, at) => {
    const known = leader.self ? member : member.self ? leader : null;
    const kind = known === null || known.connected === null ? "unknown" : known.connected ? "up" : "down";
    const to = spots.get(member);
    const [x1, y1] = [from.x + WIDTH / 2, from.y + HEIGHT];
    const [x2, y2] = [to.x + WIDTH / 2, to.y];
    const middle = (y1 + HEIGHT + RISE) / 2;
    const line = s("path", { class: `link ${kind}`, d: `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}` });
    const text = kind === "down" ? "not connected" : known?.trip ? `${known.trip.toFixed(2)} ms` : "";
    // In a single column, only the line to the first member is fully visible.
    const shown = text !== "" && (columns > 1 || at === 0) && at < columns;
    const side = x2 < x1 ? "end" : "start";
    return [line, shown && s("text", { x: x2 + (side === "end" ? -10 : 10), y: y2 - 12, class: "small", "text-anchor": side }, text)];
  }).filter(Boolean);
}

/** Describes a member's progress or connection, as seen by this member. */
export function reached(member) {
  if (!member.started) return "has not started";
  if (member.self) return member.behind > 0 ? `${count(member.behind)} entries to apply` : "up to date";
  if (member.connected === null) return "unknown";
  const failed = member.failed ? `, ${count(member.failed)} messages lost` : "";
  return (member.connected ? "connected" : "not connected") + failed;
}

function cut(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** Draws a member at a position. Cuts long names and facts. */
function card(member, { x, y }) {
  const state = member.connected === false || !member.started ? "away" : "";
  const kind = `card ${member.role.toLowerCase()} ${state} ${member.self ? "self" : ""}`;
  const facts = member.self ? `${size(member.size)} · ${reached(member)}` : reached(member);
  return s("g", { class: kind, transform: `translate(${x} ${y})` },
    s("title", {}, `${member.name} (${member.id})`),
    s("rect", { width: WIDTH, height: HEIGHT, rx: 12 }),
    s("text", { x: 16, y: 30, class: "name" }, cut(member.name, 20)),
    s("text", { x: 16, y: 51 }, member.role + (member.self ? " · this member" : "")),
    s("text", { x: 16, y: 71, class: "small" }, cut(facts, 30)));
}
