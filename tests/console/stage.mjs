// A browser, the members, and the rules for every page: no error, no violation of the Content-Security-Policy, no request to
// another host, and nothing stored on the browser's disk.
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { createRequire } from "node:module";

// the modules are in the cache, not next to this file
const { chromium } = createRequire(process.env.MODULES + "/package.json")("playwright-core");

const PATIENCE_MS = 20_000;
const IMAGE_BYTES_MAX = 150_000;

export const ports = process.argv[2].split(" ");
export const processes = process.argv[3].split(" ").map(Number);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });

/** Encodes a text or bytes in Base64. */
export const b64 = (data) => Buffer.from(data).toString("base64");

/** Calls v3 at a member and returns the answer. */
export async function v3(path, request = {}, { token, port = ports[0] } = {}) {
  const headers = token ? { authorization: token } : {};
  const answer = await fetch(`http://127.0.0.1:${port}/v3/${path}`, { method: "POST", body: JSON.stringify(request), headers });
  const body = await answer.json();
  assert.ok(answer.ok, `${path}: ${JSON.stringify(body)}`);
  return body;
}

export const put = (key, value, more) => v3("kv/put", { key: b64(key), value: b64(value), ...more });

/** Returns the value of a key as bytes, or null if the key does not exist. */
export async function get(key) {
  const { kvs } = await v3("kv/range", { key: b64(key) });
  return kvs ? Buffer.from(kvs[0].value ?? "", "base64") : null;
}

/** Waits until the function returns without an error. */
export async function until(look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Opens a view of the console. `expected` contains texts of errors that the case itself causes. */
export async function open(view, { width = 1280, height = 800, colorScheme = "light", port = ports[0], expected = [] } = {}) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme, reducedMotion: "reduce" });
  page.setDefaultTimeout(PATIENCE_MS);
  const wrong = [];
  const origin = `http://127.0.0.1:${port}`;
  page.on("console", (message) => {
    const known = expected.some((text) => message.text().includes(text));
    if (["error", "warning"].includes(message.type()) && !known) wrong.push(message.text());
  });
  page.on("pageerror", (error) => wrong.push(error.stack));
  page.on("dialog", (dialog) => { wrong.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => { if (!request.url().startsWith(origin)) wrong.push(`a request to ${request.url()}`); });
  await page.addInitScript(() => addEventListener("securitypolicyviolation", (event) =>
    console.error(`violates ${event.violatedDirective}`)));
  await page.goto(`${origin}/console/#${view}`);
  page.end = async () => {
    const kept = await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
    await page.context().close();
    assert.deepEqual(wrong, []);
    assert.deepEqual(kept, [0, 0, ""]);
  };
  return page;
}

/** Goes to another view of the same page. */
export const go = (page, view) => page.evaluate((hash) => { location.hash = hash; }, view);

/** Takes a screenshot for the documents. */
export async function shoot(page, name) {
  await page.evaluate(() => document.fonts.ready);
  const path = `${process.env.IMAGES}/console-${name}.png`;
  await page.screenshot({ path });
  assert.ok(statSync(path).size < IMAGE_BYTES_MAX, `${path} is too large`);
}

export const heading = (page, text) => page.getByRole("heading", { name: text, exact: true });
export const button = (page, name) => page.getByRole("button", { name, exact: true });
export const keyView = (prefix, key) => `keys?${new URLSearchParams({ p: prefix, k: key })}`;

export async function run(cases) {
  for (const [name, test] of Object.entries(cases)) {
    try {
      await test();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`FAILED ${name}: ${error.stack}`);
    }
  }
}

export const close = () => browser.close();
