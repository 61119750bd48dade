// Calls the member that served this page, as the user who is logged in. The token and the password stay in memory.
// Requests for v2 keys send the password, and all other requests send the token.

import { fromBase64, fromText, toBase64 } from "./bytes.js";

const ROOT = new URL("..", import.meta.url);
const TIMEOUT_MS = 15000;

// The gRPC codes in the gateway's errors.
const DENIED = 7;
const UNAUTHENTICATED = 16;

let session = null;

/** Number of v3 writes by this page. A list from before the last write may be outdated. */
export let writes = 0;

const changes = new EventTarget();

/** A failed request: a title, the server's message, advice for the user, and a code. */
export class Refusal extends Error {
  constructor(title, message, advice, code) {
    super(message);
    Object.assign(this, { title, advice, code });
  }
}

export function user() {
  return session?.user ?? null;
}

/** Calls a function whenever the user changes: after a login as another user and after a logout. */
export function onUser(called) {
  changes.addEventListener("user", called);
}

/** Sends a request. Without a signal, it fails after `TIMEOUT_MS`. Throws a `Refusal` if the member does not answer. */
async function send(path, options, signal) {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const signals = signal ? [signal] : [limit];
  try {
    // `omit` prevents the browser from prompting for a password.
    return await fetch(new URL(path, ROOT), {
      credentials: "omit", cache: "no-store", redirect: "error", signal: AbortSignal.any(signals), ...options,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    const late = error.name === "TimeoutError";
    throw new Refusal("The member does not answer", late ? "It sent nothing for 15 seconds." : "The connection failed.",
      "The member may be stopped or starting. This page tries again. The console of another member may work.", "network");
  }
}

/** Creates the error for a failed response with this JSON body. */
function refused(body, status) {
  // If a stream fails before its first message, the body has the form of the last line of a failed stream.
  if (typeof body.error === "object") return refused(body.error, status);
  const text = body.message ?? body.error ?? `HTTP status ${status}`;
  if (body.code === UNAUTHENTICATED || status === 401 || /user name is empty/.test(text)) {
    return new Refusal("A login is required", text, "Log in as a user with the required permission.", UNAUTHENTICATED);
  }
  if (body.code === DENIED || status === 403) {
    const who = session && `The user ${session.user} lacks this permission. A user with the role root can grant it.`;
    return new Refusal("No permission", text, who ?? "Log in as a user with the required permission.", DENIED);
  }
  return new Refusal("The member refused the request", text, undefined, body.code);
}

/** Reads a response as JSON. The first 300 characters of any other text become the `message` of an object. */
async function read(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { message: text.trim().slice(0, 300) };
  }
}

const headers = () => (session ? { authorization: session.token } : {});

/** The login that replaces an expired token, or null. Calls share it, because a view makes up to 100 calls in parallel. */
let renewal = null;

/** Runs a call. If the token has expired, logs in again and repeats the call once. Throws a `Refusal` if the call fails. */
async function withToken(call) {
  const before = session;
  const response = await call();
  if (response.ok) return response;
  const error = refused(await read(response), response.status);
  // Another call may have replaced the token already.
  const expired = error.code === UNAUTHENTICATED && before && session?.user === before.user;
  if (!expired) throw error;
  if (before === session) {
    renewal ??= logIn(before.user, before.password, before).finally(() => { renewal = null; });
    await renewal;
  }
  const again = await call();
  if (!again.ok) throw refused(await read(again), again.status);
  return again;
}

/** Calls a unary v3 method. Resolves to its JSON response. */
export async function v3(path, request = {}) {
  const response = await withToken(() =>
    send(`v3/${path}`, { method: "POST", body: JSON.stringify(request), headers: headers() }));
  return read(response);
}

/** Sends `requests` to a streaming v3 method and passes each response to `each`. Resolves when the stream ends. Rejects on an
 *  error or when the signal is aborted. */
export async function stream(path, requests, each, signal) {
  const body = requests.map((request) => JSON.stringify(request)).join("");
  const response = await withToken(() => send(`v3/${path}`, { method: "POST", body, headers: headers() }, signal));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pieces = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = value.split("\n");
    // The pieces of a long line are joined only once, when the line is complete.
    pieces.push(lines[0]);
    for (const next of lines.slice(1)) {
      const line = pieces.join("");
      pieces = [next];
      if (line.trim() === "") continue;
      const message = JSON.parse(line);
      if (message.error) throw refused(message.error, 0);
      each(message.result);
    }
  }
}

/** Sends a v2 request, with the password for keys. Resolves to its JSON response. */
export async function v2(path, options = {}) {
  const own = path.startsWith("v2/keys");
  const basic = () => (session ? { authorization: `Basic ${toBase64(fromText(`${session.user}:${session.password}`))}` } : {});
  const form = options.form && new URLSearchParams(options.form);
  const response = await send(path, { method: options.method ?? "GET", body: form, headers: own ? basic() : headers() });
  const body = await read(response);
  if (response.ok) return body;
  if (body.errorCode === undefined) throw refused(body, response.status);
  const text = [body.message, body.cause].filter(Boolean).join(": ");
  const titles = { 100: "There is no such key", 101: "The key has changed", 105: "The key already exists" };
  if (body.errorCode === 110) throw refused({ code: session ? DENIED : UNAUTHENTICATED, message: text });
  throw new Refusal(titles[body.errorCode] ?? "The member refused the request", text, undefined, `v2:${body.errorCode}`);
}

/** Requests a page. Resolves to its text. Throws a `Refusal` if the request fails. */
export async function text(path, options = {}) {
  const response = await withToken(() => send(path, { headers: headers(), ...options }));
  return response.text();
}

/** Logs a user in. Rejects for a wrong password, without a change of the session. With `expired`, replaces only that session,
 *  because the user may have logged out in the meantime. */
export async function logIn(name, password, expired) {
  const response = await send("v3/auth/authenticate", { method: "POST", body: JSON.stringify({ name, password }) });
  const body = await read(response);
  if (!response.ok) throw new Refusal("You are not logged in", body.message, "Check the name and the password.", body.code);
  if (expired && expired !== session) return;
  const known = session?.user === name;
  session = { user: name, password, token: body.token };
  if (!known) changes.dispatchEvent(new Event("user"));
}

export function logOut() {
  session = null;
  changes.dispatchEvent(new Event("user"));
}

/** Decodes a key-value pair. Revisions stay strings, because a number cannot hold 64 bits. */
export function readKv(kv) {
  return {
    key: fromBase64(kv.key),
    value: fromBase64(kv.value),
    created: kv.create_revision ?? "0",
    modified: kv.mod_revision ?? "0",
    version: kv.version ?? "0",
    lease: kv.lease ?? "0",
  };
}

/** Reads a key at a revision, by default the current one. Resolves to null if the key does not exist. */
export async function getKey(key, revision) {
  const answer = await v3("kv/range", { key: toBase64(key), ...(revision && { revision: String(revision) }) });
  return answer.kvs ? readKv(answer.kvs[0]) : null;
}

/** Writes a key, or deletes it if `value` is null, provided that its mod revision is still `revision` ("0" for a missing key).
 *  Keeps the lease of an existing key. Resolves to `{ done: true, revision }`, or to `{ done: false, now }` with the current
 *  key-value pair or null. */
export async function swap(key, revision, value) {
  const at = toBase64(key);
  const put = { key: at, value: value && toBase64(value), ...(revision !== "0" && { ignore_lease: true }) };
  const answer = await v3("kv/txn", {
    compare: [{ key: at, target: "MOD", result: "EQUAL", mod_revision: revision }],
    success: [value ? { request_put: put } : { request_delete_range: { key: at } }],
    failure: [{ request_range: { key: at } }],
  });
  if (answer.succeeded) {
    writes += 1;
    return { done: true, revision: answer.header.revision };
  }
  const kvs = answer.responses[0].response_range?.kvs;
  return { done: false, now: kvs ? readKv(kvs[0]) : null };
}
