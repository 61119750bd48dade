// The alarms, with advice for each kind.

import { v3 } from "./api.js";
import { h, hex, name, size, trouble } from "./dom.js";
import { repeat } from "./poll.js";

export const title = "Alarms";

const ASK_MS = 5000;

const ADVICE = {
  NOSPACE: {
    means: "The quota of the store is used up, or the disk or the memory of the member is full. Writes that add data are refused; reads and deletions continue.",
    steps: [
      ["If the size is below the quota, free space on the disk of the member, or give it more memory. The alarm is then cleared automatically. Otherwise:"],
      ["Find out what fills the store: open Keys, and look at the number of keys below each folder. Delete keys that are not needed."],
      ["Compact old revisions, which also use space:", "etcdctl compact REVISION"],
      ["Or raise the quota: restart the members one by one with a larger", "--quota-backend-bytes"],
      ["Then permit writes again:", "etcdctl alarm disarm"],
    ],
  },
  CORRUPT: {
    means: "The state of this member differs from the state of the other members. Its responses may be wrong.",
    steps: [
      ["Wait: the member replaces its state with the state of the leader and then clears the alarm."],
      ["If the alarm remains, compare the hashes of the members to find the member that differs:", "etcdctl endpoint hashkv --cluster"],
      ["Remove that member, and add it again with an empty data directory:", "etcdctl member remove ID"],
      ["Check the disk and the memory of the member. Then clear the alarm:", "etcdctl alarm disarm"],
    ],
  },
};

/** Shows the alarms. Requests them every `ASK_MS` milliseconds and redraws them only after a change. */
export async function show({ root, signal }) {
  const place = h("div", { role: "status" });
  root.append(place);
  let shown = "";
  await repeat(signal, ASK_MS, async () => {
    const [{ alarms }, { members }, status] = await Promise.all([
      v3("maintenance/alarm", { action: "GET" }), v3("cluster/member/list", { linearizable: false }), v3("maintenance/status"),
    ]);
    const now = JSON.stringify([alarms, members]);
    if (signal.aborted || now === shown) return;
    shown = now;
    place.replaceChildren(...((alarms ?? []).length > 0 ? alarms.map((alarm) => card(alarm, members, status)) : calm(status)));
  }, (error) => {
    shown = "";
    place.replaceChildren(trouble(error));
  });
}

function calm(status) {
  const quota = Number(status.dbSizeQuota ?? 0);
  return [h("div", { class: "card good" }, h("p", {}, h("strong", {}, "No alarm.")),
    h("p", { class: "quiet" }, `The store uses ${size(status.dbSize)}${quota > 0 ? ` of its quota of ${size(quota)}` : ""}. `,
      "NOSPACE is raised when the quota is used up or the disk or the memory is full. CORRUPT is raised when the members' states differ."))];
}

/** The advice for a CORRUPT alarm of the whole cluster: no majority shows which state is correct. */
const UNDECIDED = {
  means: "The members' states differ, and no majority of the members agrees. Their responses may be wrong.",
  steps: [
    ["Compare the hashes of the members, and find out which state is correct:", "etcdctl endpoint hashkv --cluster"],
    ["Remove the members with a different state one by one, and add them again with empty data directories:", "etcdctl member remove ID"],
    ["Then clear the alarm:", "etcdctl alarm disarm"],
  ],
};

/** Draws an alarm with its advice. An alarm of an unknown kind has only general advice. */
function card({ memberID = "0", alarm }, members, status) {
  const nobody = memberID === "0" && alarm === "CORRUPT";
  const advice = nobody ? UNDECIDED : ADVICE[alarm] ?? { means: "This page has no advice for this alarm.", steps: [["Read the log of the member."]] };
  const member = members.find((one) => one.ID === memberID);
  const quota = Number(status.dbSizeQuota ?? 0);
  return h("section", { class: "card bad", "aria-label": `Alarm ${alarm}` },
    h("h2", {}, alarm, " ", h("span", { class: "quiet" }, "raised by "), name(member?.name ?? (nobody ? "the cluster" : hex(memberID)))),
    h("p", {}, advice.means),
    alarm === "NOSPACE" && quota > 0 && h("p", { class: "row" }, `${size(status.dbSize)} of ${size(quota)}`,
      h("meter", { min: 0, max: 1, high: 0.8, low: 0.7, optimum: 0, value: Number(status.dbSize) / quota, "aria-label": "Share of the quota" })),
    h("h3", {}, "What to do"),
    h("ol", { class: "steps" }, advice.steps.map(([words, command]) => h("li", {}, words, " ", command && h("code", {}, command)))));
}
