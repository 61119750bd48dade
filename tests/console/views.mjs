// All other views, on large and small screens, in both themes.
import assert from "node:assert/strict";
import { b64, button, go, open, ports, processes, put, shoot, until, v3 } from "./stage.mjs";

const VIEWS = ["cluster", "keys", "keys?api=2", "watch", "leases", "users", "discovery", "alarms"];

/** Returns the contrast of two colors as WCAG defines it. */
function contrast(one, other) {
  const light = (color) => {
    const [r, g, b] = color.match(/\d+/g).map((part) => {
      const share = Number(part) / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}

const drawing = (page) => page.getByRole("img", { name: /Leader/ });

/** Returns the numbers of the leader and of the followers. */
async function roles() {
  const { leader } = await v3("maintenance/status");
  const ids = await Promise.all(ports.map(async (port) => (await v3("maintenance/status", {}, { port })).header.member_id));
  const at = ids.indexOf(leader);
  return { leader: at, followers: [0, 1, 2].filter((one) => one !== at) };
}

export const cases = {
  async an_address_without_a_view_shows_the_cluster() {
    // every JavaScript object has a property of this name
    const page = await open("toString");
    await drawing(page).waitFor();
    await page.end();
  },

  async the_cluster_is_drawn_and_live() {
    const { leader } = await roles();
    const page = await open("cluster", { port: ports[leader], height: 860 });
    await drawing(page).waitFor();
    const said = await drawing(page).getAttribute("aria-label");
    for (const name of ["witan-0", "witan-1", "witan-2"]) assert.ok(said.includes(name), said);
    assert.equal(said.match(/Leader/g).length, 1);
    assert.equal(said.match(/connected/g).length, 2);
    let writing = true;
    const writer = (async () => {
      for (let at = 0; writing; at += 1) await put(`/load/${at % 50}`, `${at}`);
    })();
    const rate = page.locator(".tile", { hasText: "Revisions / s" }).locator(".big");
    await until(async () => assert.ok(Number((await rate.textContent()).replace(",", "")) > 5));
    await until(async () => assert.ok((await page.locator(".curve polyline").getAttribute("points")).split(" ").length > 12));
    await shoot(page, "cluster");
    writing = false;
    await writer;
    await page.end();
  },

  async leases_count_down_and_keep_their_keys() {
    const { ID } = await v3("lease/grant", { TTL: 600 });
    await v3("lease/grant", { TTL: 30 });
    await put("/locks/leader", "shop-1", { lease: ID });
    const page = await open("leases");
    const row = page.getByRole("row").filter({ hasText: "10 min" });
    const left = async () => (await row.getByRole("cell").first().textContent()).match(/\d+/g).map(Number);
    const [minutes] = await left();
    assert.ok(minutes >= 9);
    await until(async () => { const [m, s] = await left(); assert.ok(m * 60 + (s ?? 0) < 598); });
    await row.getByRole("button").click();
    await page.getByRole("link", { name: "/locks/leader" }).waitFor();
    await shoot(page, "leases");
    await page.getByRole("link", { name: "/locks/leader" }).click();
    await page.getByText(/ left$/).waitFor();
    await button(page, "Edit").click();
    await page.getByRole("textbox", { name: "Value" }).fill("shop-2");
    await button(page, "Save").click();
    await page.getByText("Saved at revision").waitFor();
    const { kvs } = await v3("kv/range", { key: b64("/locks/leader") });
    assert.equal(kvs[0].lease, ID, "an edit keeps the lease");
    await page.end();
  },

  async leases_show_why_the_page_does_not_turn() {
    const granted = [];
    for (let lease = 0; lease < 26; lease += 1) granted.push((await v3("lease/grant", { TTL: 600 })).ID);
    const page = await open("leases", { expected: ["status of 400"] });
    await button(page, "Next").waitFor();
    await page.route("**/v3/lease/leases", (route) => route.fulfill({ status: 400, json: { message: "no leader" } }));
    await button(page, "Next").click();
    await page.getByText("no leader").waitFor();
    await page.unrouteAll();
    await button(page, "Previous").waitFor();
    assert.equal(await page.getByText("no leader").count(), 0);
    await page.end();
    for (const ID of granted) await v3("lease/revoke", { ID });
  },

  async discovery_says_who_is_missing() {
    const base = `http://127.0.0.1:${ports[0]}`;
    const token = (await (await fetch(`${base}/new?size=3`, { method: "POST" })).text()).split("/").pop();
    const register = (id, value) => fetch(`${base}/${token}/${id}?prevExist=false`, { method: "PUT", body: new URLSearchParams({ value }) });
    await register("4eb2dcba58da982f", "shop-0=http://10.0.0.11:2380");
    await register("a1b2c3d4e5f60718", "shop-1=http://10.0.0.12:2380");
    await put("/_etcd/registry/my-token/_config/size", "1");
    await put("/_etcd/registry/my-token/members/8eca", "m0=http://10.0.0.1:2380");
    const page = await open("discovery");
    const card = page.getByRole("region", { name: `Token ${token}` });
    await card.getByText("1 of 3 missing").waitFor();
    await card.getByText("shop-0").waitFor();
    await card.getByText("http://10.0.0.12:2380").waitFor();
    await page.getByRole("region", { name: "Token my-token" }).getByText("all 1 registered").waitFor();
    await shoot(page, "discovery");
    await page.end();
  },

  async discovery_says_that_there_are_more_tokens() {
    const kvs = ["a-token", "b-token"].map((token) => ({ key: b64(`/_etcd/registry/${token}/_config/size`), value: b64("3") }));
    const page = await open("cluster");
    await page.route("**/v3/kv/range", (route) => route.fulfill({ json: { kvs, more: true } }));
    await go(page, "discovery");
    await page.getByRole("region", { name: "Token a-token" }).waitFor();
    await page.getByText("Further tokens are not shown.").waitFor();
    assert.equal(await page.getByRole("region", { name: "Token b-token" }).count(), 0);
    await page.end();
  },

  async an_alarm_says_what_to_do() {
    const { leader } = await v3("maintenance/status");
    const page = await open("alarms");
    await page.getByText("No alarm.").waitFor();
    for (const alarm of ["NOSPACE", "CORRUPT"]) {
      await v3("maintenance/alarm", { action: "ACTIVATE", memberID: leader, alarm });
      await page.getByRole("region", { name: `Alarm ${alarm}` }).getByText("etcdctl alarm disarm").waitFor();
    }
    // NOSPACE can also mean that the disk or the memory of the member is full.
    await page.getByRole("region", { name: "Alarm NOSPACE" }).getByText("give it more memory").waitFor();
    await shoot(page, "alarms");
    for (const alarm of ["NOSPACE", "CORRUPT"]) await v3("maintenance/alarm", { action: "DEACTIVATE", memberID: leader, alarm });
    await page.getByText("No alarm.").waitFor();
    await page.end();
  },

  async every_view_fits_a_small_screen_in_both_themes() {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open("cluster", { width: 360, height: 740, colorScheme });
      for (const view of [...VIEWS, "keys?p=%2Fconfig%2Fapp%2F&k=%2Fconfig%2Fapp%2Fsettings"]) {
        await go(page, view);
        await page.locator(`.view.${view.split("?")[0]} h1`).waitFor();
        await until(async () => assert.ok(await page.locator(".view > *").count() > 1));
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= 360, `${view} is ${wide} wide`);
      }
      await page.getByRole("button", { name: "History" }).waitFor();
      if (colorScheme === "dark") await shoot(page, "small-key");
      await go(page, "cluster");
      await drawing(page).waitFor();
      if (colorScheme === "dark") await shoot(page, "small");
      await page.end();
    }
  },

  async text_has_contrast_in_both_themes() {
    const pairs = [["ink", "ground"], ["ink", "raised"], ["quiet", "ground"], ["quiet", "raised"], ["accent", "ground"], ["accent", "tint"],
      ["on-accent", "accent"], ["bad", "bad-tint"], ["ink", "bad-tint"], ["quiet", "bad-tint"], ["good", "good-tint"], ["quiet", "good-tint"], ["bad", "raised"]];
    for (const colorScheme of ["light", "dark"]) {
      const page = await open("alarms", { colorScheme });
      for (const [text, ground] of pairs) {
        const colors = await page.evaluate((names) => names.map((name) => {
          const probe = document.querySelector("main");
          probe.style.color = `var(--${name})`;
          return getComputedStyle(probe).color;
        }), [text, ground]);
        const found = contrast(...colors);
        assert.ok(found >= 4.5, `${text} on ${ground}, ${colorScheme}: ${found.toFixed(2)}`);
      }
      await page.end();
    }
  },

  async all_views_are_dark_where_that_is_wished() {
    const page = await open("keys?p=%2Fconfig%2Fapp%2F&k=%2Fconfig%2Fapp%2Fsettings", { colorScheme: "dark" });
    await button(page, "Edit").waitFor();
    await page.getByText("keys below this prefix.").waitFor();
    await shoot(page, "dark");
    await page.end();
  },
};

/** Cases after which not all members run. */
export const last = {
  async a_member_that_is_gone_is_seen() {
    const { followers: [here, gone] } = await roles();
    const page = await open("cluster", { port: ports[here], height: 860, expected: ["ERR_CONNECTION"] });
    await drawing(page).waitFor();
    process.kill(processes[gone], "SIGKILL");
    await page.getByRole("row").filter({ hasText: `witan-${gone}` }).getByText("not connected").waitFor();
    process.kill(processes[here], "SIGKILL");
    await page.getByRole("alert").filter({ hasText: "The member does not answer" }).waitFor();
    await page.end();
  },
};
