import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderIPAddresses } from "#api";
import { never } from "#base";
import { parseIp } from "#ip";
import { KubeClient } from "#kube";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { isCreate, requestOf, testPool } from "../testing/nodes.ts";
import { claimDraft } from "./claim.ts";
import { createClaim } from "./writes.ts";

describe("createClaim() of a name that exists", () => {
  const pool = testPool("10.6.0.1");
  const clock = new ManualClock();
  const here = { node: "n1", bootId: "boot-1", since: clock.wall(), answer: "{}" };

  /** An API server where the name is held by NIC eth0 of Pod a. */
  function apiOfA(): FakeApi {
    const api = new FakeApi({ clock });
    api.apply(spiderIPAddresses, claimDraft(parseIp("10.6.0.1"), pool, requestOf("a", [pool]).holder, here));
    return api;
  }

  /** Who asks for the name, and may an earlier create of theirs have made it? */
  async function ask(pod: string, nic: string, open: boolean, api = apiOfA()): Promise<string> {
    const { holder } = requestOf(pod, [pool], { nic });
    const client = new KubeClient({ transport: api, clock });
    const draft = claimDraft(parseIp("10.6.0.1"), pool, holder, here);
    return (await clock.drive(createClaim(draft, holder, { client, clock, signal: never, open }))).kind;
  }

  it("is the holder's own only for the same Pod and NIC, and only if an earlier create may have taken effect", async () => {
    assert.equal(await ask("a", "eth0", true), "ours");
    assert.equal(await ask("a", "net1", true), "foreign");
    assert.equal(await ask("b", "eth0", true), "foreign");
    assert.equal(await ask("a", "eth0", false), "foreign");
  });

  it("gives the name up only when no lost create can take effect after the other claim is deleted", async () => {
    const api = apiOfA();
    api.fail(isCreate, { kind: "late-commit", ms: 5_000, isLost: true });
    clock.after(1_000, () => api.remove(spiderIPAddresses, { name: "10.6.0.1" }));
    assert.equal(await ask("b", "eth0", false, api), "ours");
    const staying = apiOfA();
    staying.fail(isCreate, { kind: "late-commit", ms: 5_000, isLost: true });
    const startMs = clock.monotonicMs();
    assert.equal(await ask("b", "eth0", false, staying), "foreign");
    assert.ok(clock.monotonicMs() - startMs >= 14_000, "so long the server may take over the lost one");
  });
});
