// The frame of the page: shows the view that the address selects, the member and the user.

import { logIn, logOut, onUser, user, v3 } from "./api.js";
import { ask, button, field, h, hex, notify, trouble } from "./dom.js";
import * as alarms from "./alarms.js";
import * as cluster from "./cluster.js";
import * as discovery from "./discovery.js";
import * as keys from "./keys.js";
import * as leases from "./leases.js";
import * as users from "./users.js";
import * as watch from "./watch.js";

const VIEWS = { cluster, keys, watch, leases, users, discovery, alarms };
const main = document.getElementById("main");
const login = document.getElementById("log-in");
let leave = new AbortController();

/** Parses the address `#view?name=value`. An unknown view becomes `cluster`. */
function place() {
  const [id, query] = location.hash.slice(1).split("?", 2);
  return { id: Object.hasOwn(VIEWS, id) ? id : "cluster", params: new URLSearchParams(query ?? "") };
}

function mark(current) {
  document.getElementById("views").replaceChildren(...Object.entries(VIEWS).map(([id, view]) =>
    h("a", { href: `#${id}`, "aria-current": id === current && "page" }, view.title)));
}

/** Ends the current view and shows the view in the address. If the address has changed (`moved`), focuses the content. */
async function draw(moved) {
  leave.abort();
  const y = scrollY;
  leave = new AbortController();
  const { signal } = leave;
  const { id, params } = place();
  mark(id);
  document.title = `${VIEWS[id].title} – Witan console`;
  const root = h("div", { class: `view ${id}` }, h("h1", {}, VIEWS[id].heading ?? VIEWS[id].title));
  main.replaceChildren(root);
  if (moved) main.focus({ preventScroll: true });
  scrollTo(0, 0);
  try {
    await VIEWS[id].show({ root, params, signal, y });
  } catch (error) {
    if (!signal.aborted) root.append(trouble(error), button("Try again", () => draw(false)));
  }
}

/** Asks for a user and a password and logs the user in. Shows the result as a notice. */
async function askLogin() {
  const given = await ask("Log in", [
    field("User", h("input", { name: "user", required: true, autocomplete: "username", autocapitalize: "none", spellcheck: "false" })),
    field("Password", h("input", { name: "password", type: "password", required: true, autocomplete: "current-password" })),
    h("p", { class: "hint" }, "The page keeps the password only in memory: reloading the page logs you out."),
  ], "Log in");
  if (!given) return;
  try {
    await logIn(given.get("user"), given.get("password"));
    notify(`You are logged in as ${user()}.`);
  } catch (error) {
    notify(`${error.title}: ${error.message}. ${error.advice ?? ""}`);
  }
}

function showUser() {
  document.getElementById("user").textContent = user() ?? "";
  login.textContent = user() ? "Log out" : "Log in";
}

/** Shows the name of the member that serves the page and the cluster ID, or only the page's host if the request fails. */
async function showMember() {
  const at = document.getElementById("member");
  at.textContent = location.host;
  try {
    const { header, members } = await v3("cluster/member/list", { linearizable: false });
    const own = members.find((member) => member.ID === header.member_id);
    at.textContent = `${own?.name ?? hex(header.member_id)} · cluster ${hex(header.cluster_id)}`;
  } catch {
    // The view itself shows an error.
  }
}

login.addEventListener("click", () => (user() ? logOut() : askLogin()));
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => draw(true));
onUser(() => {
  showUser();
  showMember();
  draw(false);
});
showMember();
draw(false);
