// The calls of an etcd client through grpc-js: cases.mjs ADDRESS [CA FILE] prints one line per case. The tests with etcd's own
// client check the calls in detail.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

// the modules are in the cache, not next to this file
const require = createRequire(process.env.MODULES + "/package.json");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, authority] = process.argv.slice(2);
const definition = loader.loadSync(["kv", "watch", "lease"].map((name) => `etcdserverpb/${name}.proto`), {
  includeDirs: [process.env.PROTOS],
  keepCase: true,
  longs: String,
  defaults: true,
  oneofs: true,
});
const { etcdserverpb: etcd } = grpc.loadPackageDefinition(definition);
const credentials = authority
  ? grpc.credentials.createSsl(readFileSync(authority))
  : grpc.credentials.createInsecure();
const stub = (service) => new etcd[service](address, credentials);
const [kv, watch, lease] = ["KV", "Watch", "Lease"].map(stub);
const prefix = authority ? "tls/" : "clear/";
const bytes = (text) => Buffer.from(prefix + text);

// A deadline for each call, so that no call hangs.
const soon = () => ({ deadline: Date.now() + 20_000 });
const call = (client, method, request, how = soon()) =>
  new Promise((done, fail) =>
    client[method](request, how, (error, answer) => (error ? fail(error) : done(answer))));
// Opens a stream whose errors are ignored unless a case waits for them.
const begun = (stream) => stream.on("error", () => {});
const next = (stream) =>
  new Promise((done, fail) => {
    const off = () => stream.off("data", taken).off("error", failed).off("end", ended);
    const taken = (data) => { off(); done(data); };
    const failed = (error) => { off(); fail(error); };
    const ended = () => { off(); fail(new Error("the stream ended")); };
    stream.on("data", taken).on("error", failed).on("end", ended);
  });

const cases = {
  async put_and_range() {
    for (const size of [0, 1, 100_000, 1_000_000]) {
      const value = Buffer.alloc(size, 7);
      await call(kv, "Put", { key: bytes("a"), value });
      const got = await call(kv, "Range", { key: bytes("a") });
      assert.deepEqual(got.kvs[0].value, value);
    }
  },
  async many_calls_at_once() {
    const puts = Array.from({ length: 500 }, (_, n) =>
      call(kv, "Put", { key: bytes(`many/${n}`), value: bytes(`${n}`) }));
    await Promise.all(puts);
    const got = await call(kv, "Range", { key: bytes("many/"), range_end: bytes("many0") });
    assert.equal(got.count, "500");
  },
  async a_large_answer() {
    const value = Buffer.alloc(500_000, 1);
    for (const n of [1, 2, 3, 4, 5, 6]) await call(kv, "Put", { key: bytes(`large/${n}`), value });
    const got = await call(kv, "Range", { key: bytes("large/"), range_end: bytes("large0") });
    assert.equal(got.kvs.reduce((sum, { value }) => sum + value.length, 0), 3_000_000);
  },
  async txn() {
    await call(kv, "Put", { key: bytes("t"), value: Buffer.from("1") });
    const compare = [{ result: "EQUAL", target: "VALUE", key: bytes("t"), value: Buffer.from("1") }];
    const success = [{ request_put: { key: bytes("t"), value: Buffer.from("2") } }];
    const failure = [{ request_range: { key: bytes("t") } }];
    assert.equal((await call(kv, "Txn", { compare, success, failure })).succeeded, true);
    const second = await call(kv, "Txn", { compare, success, failure });
    assert.equal(second.succeeded, false);
    assert.equal(second.responses[0].response_range.kvs[0].value.toString(), "2");
  },
  async watch_sees_what_is_put() {
    const stream = begun(watch.Watch(soon()));
    const created = next(stream);
    stream.write({ create_request: { key: bytes("w/"), range_end: bytes("w0") } });
    assert.equal((await created).created, true);
    for (const n of [1, 2, 3]) {
      const event = next(stream);
      await call(kv, "Put", { key: bytes(`w/${n}`), value: Buffer.from("x") });
      assert.deepEqual((await event).events.map(({ kv }) => kv.key), [bytes(`w/${n}`)]);
    }
    const canceled = next(stream);
    stream.write({ cancel_request: { watch_id: 0 } });
    assert.equal((await canceled).canceled, true);
    stream.end();
    await new Promise((done) => stream.on("end", done).on("error", done).resume());
  },
  async a_lease_is_kept_alive() {
    const { ID } = await call(lease, "LeaseGrant", { TTL: 60 });
    const stream = begun(lease.LeaseKeepAlive(soon()));
    for (let n = 0; n < 3; n += 1) {
      const kept = next(stream);
      stream.write({ ID });
      assert.equal((await kept).TTL, "60");
    }
    stream.end();
    await new Promise((done) => stream.on("end", done).on("error", done).resume());
    await call(lease, "LeaseRevoke", { ID });
  },
  async a_deadline_ends_a_call() {
    const stream = begun(watch.Watch({ deadline: Date.now() + 300 }));
    stream.write({ create_request: { key: bytes("never") } });
    await next(stream);
    await assert.rejects(next(stream), { code: grpc.status.DEADLINE_EXCEEDED });
    await assert.rejects(call(kv, "Range", { key: bytes("a") }, { deadline: 1 }),
      { code: grpc.status.DEADLINE_EXCEEDED });
  },
  async a_cancel_ends_a_call() {
    const stream = begun(watch.Watch(soon()));
    stream.write({ create_request: { key: bytes("never") } });
    await next(stream);
    const ended = assert.rejects(next(stream), { code: grpc.status.CANCELLED });
    stream.cancel();
    await ended;
    await call(kv, "Range", { key: bytes("a") });
  },
  async refusals_have_code_and_text() {
    await assert.rejects(call(kv, "Range", {}),
      { code: grpc.status.INVALID_ARGUMENT, details: "etcdserver: key is not provided" });
    await assert.rejects(call(kv, "Put", { key: bytes("big"), value: Buffer.alloc(3 << 20) }),
      ({ code }) => code === grpc.status.RESOURCE_EXHAUSTED || code === grpc.status.INVALID_ARGUMENT);
    await call(kv, "Range", { key: bytes("a") });
  },
};

for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`ok grpc-js ${prefix}${name}`);
  } catch (error) {
    console.log(`FAILED grpc-js ${prefix}${name}: ${error.stack}`);
  }
}
for (const client of [kv, watch, lease]) client.close();
