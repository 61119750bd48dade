// Users, roles and their permissions, read-only.

import { user, v3 } from "./api.js";
import { equal, fromBase64, keyText, prefixEnd } from "./bytes.js";
import { h, name, table, trouble } from "./dom.js";

export const title = "Users";
export const heading = "Users and roles";

/** Maximum number of users, and of roles, to request. Each user and each role needs a separate request. */
const ASKED_MAX = 100;

/** Shows all users and roles, or only the logged-in user if the lists are refused. */
export async function show({ root }) {
  const status = await v3("auth/status");
  root.append(h("p", { class: "lead" }, status.enabled
    ? "v3 authentication is enabled: each call requires a user."
    : "v3 authentication is disabled: anyone who can connect to this port can do everything. Enable it with: etcdctl auth enable"));
  try {
    const [users, roles] = await Promise.all([v3("auth/user/list"), v3("auth/role/list")]);
    await showAll(root, users.users ?? [], roles.roles ?? []);
  } catch (error) {
    if (user() === null) throw error;
    root.append(h("p", { class: "quiet" }, "Only a user with the role root sees all users. Your user:"));
    await showAll(root, [user()], null);
  }
}

/** Shows users and roles, up to `ASKED_MAX` each. If `roles` is null, shows the roles of the users. */
async function showAll(root, users, roles) {
  const known = await Promise.all(users.slice(0, ASKED_MAX).map(async (one) => [one, (await v3("auth/user/get", { name: one })).roles ?? []]));
  const shown = roles ?? [...new Set(known.flatMap(([, own]) => own))];
  root.append(h("h2", {}, "Users"), known.length === 0 ? h("p", { class: "quiet" }, "There are no users.")
    : table("Users", ["User", "Roles"], known.map(([one, own]) => [name(one), list(own)])), rest(users));
  const permissions = await Promise.all(shown.slice(0, ASKED_MAX).map(async (role) => [role, await permissionsOf(role)]));
  root.append(h("h2", {}, "Roles"), permissions.length === 0 ? h("p", { class: "quiet" }, "There are no roles.")
    : table("Roles", ["Role", "May", "Keys"], permissions.flatMap(([role, own]) => own.map(([may, keys]) => [name(role), may, keys]))), rest(shown));
}

function rest(all) {
  return all.length > ASKED_MAX ? h("p", { class: "quiet" }, `The first ${ASKED_MAX} of ${all.length}.`) : "";
}

function list(names) {
  return names.length === 0 ? "–" : h("span", { class: "row" }, names.map((one) => name(one)));
}

/** Returns pairs of what a role may do and the keys. If the request fails, the only pair contains the error. */
async function permissionsOf(role) {
  if (role === "root") return [["everything", "all keys"]];
  try {
    const { perm } = await v3("auth/role/get", { role });
    if (!perm) return [["nothing", "–"]];
    // JSON omits the first value of the enum.
    return perm.map((one) => [{ WRITE: "write", READWRITE: "read and write" }[one.permType] ?? "read", range(one)]);
  } catch (error) {
    return [["–", trouble(error)]];
  }
}

/** Describes the key range of a permission. */
function range({ key, range_end: end }) {
  const start = fromBase64(key);
  if (!end) return h("span", {}, "the key ", name(keyText(start)));
  const last = fromBase64(end);
  const open = last.length === 1 && last[0] === 0;
  if (open && (start.length === 0 || start.length === 1 && start[0] === 0)) return "all keys";
  if (equal(last, prefixEnd(start))) return h("span", {}, "prefix ", name(keyText(start)));
  if (open) return h("span", {}, "from ", name(keyText(start)), " on");
  return h("span", {}, "from ", name(keyText(start)), " up to ", name(keyText(last)));
}
