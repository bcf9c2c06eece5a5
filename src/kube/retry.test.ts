import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { never } from "#base";
import { ManualClock } from "../base/testing/manual-clock.ts";
import { KubeClient } from "./client.ts";
import { ApiStatusError, ApiUnreachableError, hasReason } from "./errors.ts";
import { configMaps } from "./kinds/core.ts";
import { retry } from "./retry.ts";
import { FakeApi } from "./testing/fake-api.ts";

const draft = { metadata: { namespace: "x", name: "a" } };
const any = () => true;

function setUp() {
  const clock = new ManualClock();
  const api = new FakeApi({ clock });
  const client = new KubeClient({ transport: api, clock });
  return { clock, api, client, options: { clock, signal: never, random: () => 0.5 } };
}

describe("retry()", () => {
  it("comes back when the server said, not before", async () => {
    const { clock, api, client, options } = setUp();
    api.fail(any, { kind: "status", status: 429, reason: "TooManyRequests", retryAfterS: 3 });
    const creating = retry((o) => client.create(configMaps, draft, o), options);
    await clock.advance(3_000);
    assert.equal(api.requests.length, 1);
    await clock.advance(100);
    assert.equal((await creating).metadata.name, "a");
  });

  it("obeys a Retry-After of hours for a minute", async () => {
    const error = new ApiStatusError(
      { verb: "create", resource: "pods", object: "a" },
      { status: 429, retryAfterMs: 86_400_000 },
    );
    assert.equal(error.retryAfterMs, 60_000);
  });

  it("repeats a change that was not sent, but not one whose outcome is unknown", async () => {
    const { clock, api, client, options } = setUp();
    api.fail(any, { kind: "not-sent" }, 3);
    api.fail(any, { kind: "lost-before" });
    const creating = retry((o) => client.create(configMaps, draft, o), options);
    const refused = assert.rejects(
      creating,
      (error: unknown) => error instanceof ApiUnreachableError && error.outcome === "unknown",
    );
    await clock.advance(10_000);
    await refused;
    assert.equal(api.requests.length, 4);
  });

  it("repeats reads whatever broke, and leaves refusals alone", async () => {
    const { clock, api, client, options } = setUp();
    api.fail(any, { kind: "lost-after" });
    api.fail(any, { kind: "status", status: 500, reason: "InternalError" });
    const reading = retry((o) => client.get(configMaps, draft.metadata, o), options);
    await clock.advance(10_000);
    assert.equal(await reading, undefined);
    api.fail(any, { kind: "status", status: 403, reason: "Forbidden" });
    await assert.rejects(
      retry((o) => client.get(configMaps, draft.metadata, o), options),
      (error: unknown) => hasReason(error, "Forbidden"),
    );
  });

  it("ends with the last failure when the caller gives up", async () => {
    const { clock, api, client, options } = setUp();
    api.fail(any, { kind: "status", status: 429, reason: "TooManyRequests", retryAfterS: 30 });
    const caller = new AbortController();
    const creating = retry((o) => client.create(configMaps, draft, o), { ...options, signal: caller.signal });
    await clock.advance(1_000);
    caller.abort(new Error("deadline"));
    await assert.rejects(creating, (error: unknown) => hasReason(error, "TooManyRequests"));
    assert.equal(clock.sleeping, 0);
  });
});
