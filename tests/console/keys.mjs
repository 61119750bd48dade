// Keys: browsing, writes by comparison, history, watches, and malicious content.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { b64, button, get, go, heading, keyView, open, ports, put, shoot, until, v3 } from "./stage.mjs";

const settings = (replicas) => JSON.stringify({ replicas, image: `shop:1.${replicas}`, features: { search: true, beta: replicas > 2 }, hosts: ["a", "b"] });
const SETTINGS = "/config/app/settings";

/** Fills a folder with keys, 100 in a transaction. */
async function fill(prefix, amount) {
  for (let from = 0; from < amount; from += 100) {
    const success = Array.from({ length: Math.min(100, amount - from) }, (_, at) => ({
      request_put: { key: b64(prefix + String(from + at).padStart(6, "0")), value: b64("x".repeat(50)) },
    }));
    await v3("kv/txn", { success });
  }
}

export const cases = {
  async a_tree_is_read_by_ranges_with_a_limit() {
    await fill("/many/folder/", 5000);
    await put("/many/after", "1");
    for (const key of ["web-1", "web-2", "web-3"]) await put(`/registry/pods/shop/${key}`, JSON.stringify({ kind: "Pod" }));
    const page = await open("keys");
    const asked = [];
    page.on("request", (request) => { if (request.url().endsWith("/v3/kv/range")) asked.push(request.postDataJSON()); });
    const list = page.getByRole("region", { name: "List of keys" });
    for (const folder of ["/", "many/"]) await list.getByRole("listitem").getByRole("link", { name: folder, exact: true }).last().click();
    await list.getByText("5,001 keys below this prefix.").waitFor();
    assert.deepEqual(await list.locator(".entries a").allTextContents(), ["after", "folder/"]);
    assert.ok(asked.length <= 8, `${asked.length} ranges for a folder of 5,000 keys`);
    await list.getByRole("link", { name: "folder/", exact: true }).click();
    await list.getByText("The first 100 entries.").waitFor();
    await button(page, "More").click();
    await list.getByText("The first 200 entries.").waitFor();
    // opening a key does not reload the list
    await list.getByRole("link", { name: "000150", exact: true }).click();
    await heading(page, "/many/folder/000150").waitFor();
    assert.equal(await list.locator(".entries li").count(), 200);
    assert.equal(await list.locator("[aria-current=true]").textContent(), "000150");
    const ranges = asked.filter((one) => one.range_end);
    assert.equal(asked.length - ranges.length, 1, "the value of one key was read");
    for (const one of ranges) assert.ok(Number(one.limit) <= 100 && one.keys_only, JSON.stringify(one));
    await page.end();
  },

  async a_prefix_is_searched() {
    const page = await open("keys");
    await page.getByLabel("Prefix").fill("/registry/pods/shop/web-");
    await page.keyboard.press("Enter");
    await page.getByText("3 keys below this prefix.").waitFor();
    await page.getByRole("link", { name: "web-2", exact: true }).click();
    await heading(page, "/registry/pods/shop/web-2").waitFor();
    assert.match(await page.locator("pre").textContent(), /"kind": "Pod"/);
    await page.getByLabel("Hex").check();
    assert.match(await page.locator("pre").textContent(), /^000000 {2}7b 22 6b 69/);
    await page.end();
  },

  async a_key_is_created_edited_and_deleted() {
    const page = await open("keys?p=%2Fnew%2F");
    await button(page, "New key").click();
    await page.getByLabel("Key", { exact: true }).fill("/new/a");
    await page.getByLabel("Value").fill("one\ntwo");
    await button(page, "Create").click();
    await heading(page, "/new/a").waitFor();
    assert.equal((await get("/new/a")).toString(), "one\ntwo");
    await button(page, "Edit").click();
    await page.getByRole("textbox", { name: "Value" }).fill("three");
    await button(page, "Save").click();
    await page.locator("pre").filter({ hasText: /^three$/ }).waitFor();
    await button(page, "Delete").click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("This key does not exist.").waitFor();
    assert.equal(await get("/new/a"), null);
    // restore the deleted key
    await button(page, "History").click();
    await page.getByRole("listitem").filter({ hasText: "deleted" }).waitFor();
    await page.getByRole("listitem").filter({ hasText: "version 2" }).getByRole("button", { name: /Bring back/ }).click();
    await button(page, "Edit").waitFor();
    assert.equal((await get("/new/a")).toString(), "three");
    await page.end();
  },

  async a_lost_comparison_shows_both_values() {
    for (const replicas of [1, 2, 3]) await put(SETTINGS, settings(replicas));
    const page = await open(keyView("/config/app/", SETTINGS), { height: 1000 });
    await button(page, "Edit").click();
    await page.getByRole("textbox", { name: "Value" }).fill(settings(9));
    await put(SETTINGS, settings(4));
    await button(page, "Save").click();
    const conflict = page.getByRole("alert").filter({ hasText: "Somebody else was faster" });
    await conflict.waitFor();
    assert.equal((await get(SETTINGS)).toString(), settings(4), "the other user's value remains");
    for (const value of ["4", "9"]) await conflict.getByText(`"replicas": ${value},`).first().waitFor();
    await shoot(page, "conflict");
    await button(page, "Replace theirs with mine").click();
    await until(async () => assert.equal((await get(SETTINGS)).toString(), settings(9)));
    // a second edit, which is canceled
    await button(page, "Edit").click();
    await page.getByRole("textbox", { name: "Value" }).fill("lost");
    await put(SETTINGS, settings(5));
    await button(page, "Save").click();
    await button(page, "Keep theirs").click();
    await page.getByText('"replicas": 5').waitFor();
    assert.equal((await get(SETTINGS)).toString(), settings(5));
    await page.end();
  },

  async the_history_shows_changes_and_brings_a_value_back() {
    const page = await open(keyView("/config/app/", SETTINGS), { height: 1000 });
    await page.getByText("key below this prefix.").waitFor();
    await button(page, "History").waitFor();
    await shoot(page, "keys");
    await button(page, "History").click();
    const history = page.getByRole("region", { name: "History" });
    const versions = history.getByRole("listitem");
    await until(async () => assert.equal(await versions.count(), 6));
    const third = versions.filter({ hasText: "version 3" });
    await third.getByRole("button", { name: "Changes" }).click();
    assert.match(await history.locator(".diff .gone").first().textContent(), /"replicas": 2/);
    assert.match(await history.locator(".diff .new").first().textContent(), /"replicas": 3/);
    await shoot(page, "history");
    await third.getByRole("button", { name: /Bring back/ }).click();
    await until(async () => assert.equal((await get(SETTINGS)).toString(), settings(3)));
    await page.end();
  },

  async the_history_ends_where_it_is_compacted() {
    const { header } = await put("/config/app/motd", "one");
    await put("/config/app/motd", "two");
    await put("/config/app/motd", "three");
    await v3("kv/compaction", { revision: String(Number(header.revision) + 1) });
    const page = await open(keyView("/config/app/", "/config/app/motd"), { expected: ["status of 400"] });
    await button(page, "History").click();
    await page.getByText("Older versions are compacted.").waitFor();
    assert.equal(await page.getByRole("region", { name: "History" }).getByRole("listitem").count(), 2);
    await page.end();
  },

  async the_history_continues_after_an_error() {
    for (let version = 1; version <= 25; version += 1) await put("/slow/versions", String(version));
    const page = await open(keyView("/slow/", "/slow/versions"), { expected: ["status of 400"] });
    await button(page, "History").click();
    const history = page.getByRole("region", { name: "History" });
    await until(async () => assert.equal(await history.getByRole("listitem").count(), 20));
    await page.route("**/v3/kv/range", (route) => route.fulfill({ status: 400, json: { message: "no leader" } }));
    await button(page, "Older versions").click();
    await history.getByText("no leader").waitFor();
    await page.unrouteAll();
    // two quick clicks show each version once
    await button(page, "Older versions").evaluate((more) => { more.click(); more.click(); });
    await until(async () => assert.equal(await history.getByRole("listitem").count(), 25));
    assert.equal(await history.getByText("no leader").count(), 0);
    await page.route("**/v3/watch", (route) => route.fulfill({ status: 400, json: { message: "no leader" } }));
    await button(page, "Before it was created").click();
    await history.getByText("no leader").waitFor();
    await page.unrouteAll();
    await button(page, "Before it was created").click();
    await page.getByText("No older versions are kept.").waitFor();
    await v3("kv/deleterange", { key: b64("/slow/versions") });
    await page.end();
  },

  async the_history_waits_for_a_slow_member() {
    await put("/slow/key", "one");
    await v3("kv/deleterange", { key: b64("/slow/key") });
    const page = await open(keyView("/slow/", "/slow/key"));
    let answer;
    const held = new Promise((resolve) => { answer = resolve; });
    await page.route("**/v3/watch", async (route) => {
      await held;
      await route.continue();
    });
    await page.clock.install();
    const asked = page.waitForRequest("**/v3/watch");
    await button(page, "History").click();
    await asked;
    await page.clock.runFor(60_000);
    answer();
    await page.getByRole("listitem").filter({ hasText: "deleted" }).waitFor();
    await page.getByText("All versions that are not compacted are shown.").waitFor();
    await page.end();
  },

  async a_watch_shows_a_put_by_curl() {
    const page = await open("watch");
    await page.getByLabel("Prefix").fill("/shop/");
    await button(page, "Start").click();
    await page.getByText("Watching since revision").waitFor();
    const body = JSON.stringify({ key: b64("/shop/cart"), value: b64("3 apples") });
    execFileSync("curl", ["--silent", "--fail", "--output", "/dev/null", "--data", body, `http://127.0.0.1:${ports[1]}/v3/kv/put`]);
    await page.getByRole("listitem").filter({ hasText: "/shop/cart" }).filter({ hasText: "3 apples" }).waitFor();
    await page.getByRole("status").filter({ hasText: "Last: put /shop/cart" }).waitFor({ state: "attached" });
    await put("/elsewhere", "x");
    await v3("kv/deleterange", { key: b64("/shop/cart") });
    await page.getByRole("listitem").filter({ hasText: "delete" }).waitFor();
    assert.equal(await page.getByText("/elsewhere").count(), 0);
    for (const [key, value] of [["/shop/cart", "4 apples"], ["/shop/offers/tea", "12"], ["/shop/cart", "5 apples, tea"]]) await put(key, value);
    await page.getByText("5 apples, tea").waitFor();
    await shoot(page, "watch");
    await button(page, "Stop").click();
    await page.getByText("Stopped after 5 changes.").waitFor();
    await page.end();
  },

  async a_refused_watch_shows_the_reason() {
    const page = await open("watch", { expected: ["status of 400"] });
    const message = "etcdserver: rpc not supported for learner";
    const error = { grpc_code: 9, http_code: 400, message, http_status: "Bad Request", code: 9 };
    await page.route("**/v3/watch", (route) => route.fulfill({ status: 400, json: { error } }));
    await button(page, "Start").click();
    await page.getByRole("alert").filter({ hasText: message }).waitFor();
    await page.end();
  },

  async a_flood_of_changes_leaves_the_last_ones() {
    const page = await open("watch?p=%2Fflood%2F");
    await button(page, "Start").click();
    await page.getByText("Watching since revision").waitFor();
    await fill("/flood/", 3000);
    await page.getByText("Watching: 3,000 changes").waitFor();
    assert.equal(await page.locator(".events li").count(), 200);
    await page.end();
  },

  async a_key_is_edited_by_keyboard_alone() {
    await put("/keyboard/key", "before");
    const page = await open("keys?p=%2Fkeyboard%2F");
    await page.getByRole("link", { name: "key", exact: true }).waitFor();
    const focused = () => page.evaluate(() => document.activeElement.textContent);
    const tabTo = async (text) => {
      for (let tries = 0; tries < 40; tries += 1) {
        await page.keyboard.press("Tab");
        if (await focused() === text) {
          const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
          assert.equal(outline, "solid", `the focus on ${text} is seen`);
          return;
        }
      }
      assert.fail(`no focus on ${text}`);
    };
    await tabTo("Skip to the content");
    await page.keyboard.press("Enter");
    await tabTo("key");
    await page.keyboard.press("Enter");
    await heading(page, "/keyboard/key").waitFor();
    await tabTo("Edit");
    await page.keyboard.press("Enter");
    await page.keyboard.press("ControlOrMeta+A");
    await page.keyboard.type("after");
    await tabTo("Save");
    await page.keyboard.press("Enter");
    await until(async () => assert.equal((await get("/keyboard/key")).toString(), "after"));
    await page.end();
  },

  async hostile_content_does_no_harm() {
    const markup = "<img src=x onerror=alert(1)>";
    const values = {
      [markup]: markup, "hostile/script": "<script>alert(1)</script>", "hostile/binary": Buffer.from(Array.from({ length: 256 }, (_, at) => at)),
      "hostile/large": "A line of text. ".repeat(65_000), [`hostile/${"long".repeat(500)}`]: "1",
      "hostile/\u202egnp.exe \u05d0\u05d1\u05d2": "\u05e9\u05dc\u05d5\u05dd \u202e abc", "hostile/back\\slash": "1", "hostile/lines": "a\r\nb\r\n", "hostile/empty": "",
    };
    for (const [key, value] of Object.entries(values)) await put(key, value);
    await put(Buffer.from([0xff, 0x00, 0xfe]), "1");
    const page = await open("keys");
    for (const prefix of ["", "hostile/"]) {
      await go(page, `keys?${new URLSearchParams({ p: prefix })}`);
      await page.getByRole("listitem").filter({ hasText: prefix ? "binary" : "img" }).first().waitFor();
      const links = await page.locator(".entries a.key").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
      assert.ok(links.length > 1);
      for (const link of links) {
        await go(page, link.slice(1));
        await page.locator(".facts").waitFor();
        assert.equal(await page.locator("main img, main script").count(), 0);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${link} is too wide`);
      }
    }
    // the page escapes a direction mark, so that the mark does not reverse the text
    await go(page, "keys?p=hostile%2F");
    await page.getByText("\\u{202e}gnp.exe").first().waitFor();
    await page.end();
  },

  async a_large_value_is_shown_in_parts_and_saved_whole() {
    const page = await open(keyView("hostile/", "hostile/large"));
    const shown = async () => (await page.locator("pre").textContent()).length;
    await page.getByText("The beginning of 1016 KiB.").waitFor();
    const first = await shown();
    assert.ok(first < 50_000, `${first} characters`);
    await button(page, "Show more").click();
    await until(async () => assert.ok(await shown() > first));
    const [download] = await Promise.all([page.waitForEvent("download"), button(page, "Save as a file").click()]);
    const { size } = statSync(await download.path());
    assert.equal(size, 16 * 65_000);
    assert.equal(await button(page, "Edit").isDisabled(), true);
    await page.end();
  },

  async bytes_survive_an_edit() {
    for (const [key, typed, expect] of [
      ["hostile/binary", "00 ff 80", [0, 255, 128]],
      ["hostile/lines", null, [...Buffer.from("a\r\nb\r\n")]],
    ]) {
      const page = await open(keyView("hostile/", key));
      await button(page, "Edit").click();
      await page.getByText("Hexadecimal: this value is not plain text.").waitFor();
      if (typed) await page.getByRole("textbox", { name: "Value" }).fill(typed);
      await button(page, "Save").click();
      await page.getByText("Saved at revision").waitFor();
      assert.deepEqual([...await get(key)], expect);
      await page.end();
    }
  },

  async line_ends_of_v2_survive_an_edit() {
    const at = `http://127.0.0.1:${ports[0]}/v2/keys/app/lines`;
    const value = "a\r\nb\r\n";
    await fetch(at, { method: "PUT", body: new URLSearchParams({ value }) });
    const page = await open("keys?api=2&p=%2Fapp%2Flines");
    await button(page, "Edit").click();
    await page.getByText("Hexadecimal: this value is not plain text.").waitFor();
    await button(page, "Save").click();
    await page.getByText("Saved at index").waitFor();
    assert.equal((await (await fetch(at)).json()).node.value, value);
    await page.end();
  },

  async keys_of_v2_are_edited_by_comparison() {
    const keys = `http://127.0.0.1:${ports[0]}/v2/keys`;
    const set = (value) => fetch(`${keys}/app/title`, { method: "PUT", body: new URLSearchParams({ value }) });
    await set("one");
    const page = await open("keys?api=2", { expected: ["status of 412"] });
    await page.getByRole("link", { name: "app/", exact: true }).click();
    await page.getByRole("link", { name: "title", exact: true }).click();
    await button(page, "Edit").click();
    await page.getByRole("textbox", { name: "Value" }).fill("mine");
    await set("theirs");
    await button(page, "Save").click();
    await heading(page, "Somebody else was faster").waitFor();
    await button(page, "Replace theirs with mine").click();
    await page.getByText("Saved at index").waitFor();
    assert.equal((await (await fetch(`${keys}/app/title`)).json()).node.value, "mine");
    await page.end();
  },
};
