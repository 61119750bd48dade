// Users: a logged-in user has exactly their permissions, and the page reports missing permissions.
import assert from "node:assert/strict";
import { b64, button, go, heading, keyView, open, put, shoot, v3 } from "./stage.mjs";

const REFUSED = ["status of 400", "status of 401", "status of 403"];

async function logIn(page, name, password) {
  await button(page, "Log in").first().click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("User").fill(name);
  await dialog.getByLabel("Password").fill(password);
  await dialog.getByRole("button", { name: "Log in" }).click();
}

/** Creates root and a reader of a prefix, and runs `work` with root's token while authentication is enabled. */
async function withUsers(work) {
  for (const [name, password] of [["root", "r"], ["reader", "secret"]]) await v3("auth/user/add", { name, password });
  for (const name of ["root", "readers"]) await v3("auth/role/add", { name });
  await v3("auth/role/grant", { name: "readers", perm: { permType: "READ", key: b64("/public/"), range_end: b64("/public0") } });
  await v3("auth/role/grant", { name: "readers", perm: { permType: "READWRITE", key: b64("/notes") } });
  await v3("auth/user/grant", { user: "root", role: "root" });
  await v3("auth/user/grant", { user: "reader", role: "readers" });
  await put("/public/motd", "welcome");
  await put("/private/key", "hidden");
  await v3("auth/enable");
  const { token } = await v3("auth/authenticate", { name: "root", password: "r" });
  try {
    await work(token);
  } finally {
    await v3("auth/disable", {}, { token });
  }
}

export const cases = {
  async a_user_sees_and_does_what_the_user_may() {
    await withUsers(async (root) => {
      const page = await open("keys", { expected: REFUSED });
      await page.getByRole("alert").filter({ hasText: "A login is required" }).waitFor();
      await logIn(page, "reader", "wrong");
      await page.getByText("You are not logged in").waitFor();
      await logIn(page, "reader", "secret");
      await page.getByText("You are logged in as reader.").waitFor();
      const refusal = page.getByRole("alert").filter({ hasText: "No permission" });
      await refusal.getByText("The user reader lacks this permission").waitFor();
      await shoot(page, "refused");
      await go(page, "keys?p=%2Fpublic%2F");
      await page.getByRole("link", { name: "motd" }).click();
      await page.getByText("welcome").waitFor();
      await button(page, "Edit").click();
      await page.getByRole("textbox", { name: "Value" }).fill("changed");
      await button(page, "Save").click();
      await refusal.waitFor();
      await go(page, keyView("/private/", "/private/key"));
      await refusal.first().waitFor();
      assert.equal(await page.getByText("hidden").count(), 0);
      await go(page, "users");
      await page.getByText("Only a user with the role root sees all users.").waitFor();
      await page.getByRole("cell", { name: "prefix /public/" }).waitFor();
      const { kvs } = await v3("kv/range", { key: b64("/public/motd") }, { token: root });
      assert.equal(Buffer.from(kvs[0].value, "base64").toString(), "welcome");
      await page.end();
    });
  },

  async root_sees_users_and_roles_until_the_page_is_reloaded() {
    const { token } = await (async () => {
      await v3("auth/enable");
      return v3("auth/authenticate", { name: "root", password: "r" });
    })();
    const page = await open("users", { expected: REFUSED });
    await page.getByRole("alert").waitFor();
    await logIn(page, "root", "r");
    await page.getByRole("row").filter({ hasText: "reader" }).first().waitFor();
    await page.getByRole("cell", { name: "read and write" }).waitFor();
    await shoot(page, "users");
    await go(page, "keys?api=2");
    await page.getByRole("link", { name: "app/" }).waitFor();
    await page.reload();
    await heading(page, "Keys").waitFor();
    await button(page, "Log in").waitFor();
    await page.end();
    await v3("auth/disable", {}, { token });
  },

  async calls_with_an_expired_token_share_one_login() {
    await v3("auth/enable");
    const { token } = await v3("auth/authenticate", { name: "root", password: "r" });
    const page = await open("users", { expected: REFUSED });
    await page.getByRole("alert").waitFor();
    await logIn(page, "root", "r");
    await page.getByRole("cell", { name: "read and write" }).waitFor();
    let [expired, logins] = [null, 0];
    await page.route("**/v3/**", async (route) => {
      const request = route.request();
      if (request.url().endsWith("/authenticate")) logins += 1;
      const { authorization } = await request.allHeaders();
      expired ??= authorization;
      if (authorization === undefined || authorization !== expired) await route.continue();
      else await route.fulfill({ status: 401, json: { code: 16, message: "etcdserver: invalid auth token" } });
    });
    // The view makes two calls at the same time.
    await go(page, "cluster");
    await page.getByRole("region", { name: "Members" }).waitFor();
    assert.equal(logins, 1);
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await page.end();
    await v3("auth/disable", {}, { token });
  },
};
