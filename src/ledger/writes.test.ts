import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderIPAddresses } from "#api";
import { never } from "#base";
import { parseIp } from "#ip";
import { KubeClient } from "#kube";
import { ManualClock } from "../base/testing/manual-clock.ts";
import { FakeApi } from "../kube/testing/fake-api.ts";
import { claimDraft } from "./claim.ts";
import { requestOf, testPool } from "./testing/nodes.ts";
import { createClaim } from "./writes.ts";

describe("createClaim() of a name that exists", () => {
  const pool = testPool("10.6.0.1");
  const clock = new ManualClock();
  const here = { node: "n1", bootId: "boot-1", since: clock.wall(), answer: "{}" };

  /** The name is held by NIC eth0 of Pod a; who asks for it, and may an earlier create of theirs have made it? */
  async function ask(pod: string, nic: string, open: boolean): Promise<string> {
    const api = new FakeApi({ clock });
    api.apply(spiderIPAddresses, claimDraft(parseIp("10.6.0.1"), pool, requestOf("a", [pool]).holder, here));
    const { holder } = requestOf(pod, [pool], { nic });
    const client = new KubeClient({ transport: api, clock });
    const draft = claimDraft(parseIp("10.6.0.1"), pool, holder, here);
    return (await createClaim(draft, holder, { client, clock, signal: never, open })).kind;
  }

  it("is the holder's own only for the same Pod and NIC, and only where an earlier create is open", async () => {
    assert.equal(await ask("a", "eth0", true), "ours");
    assert.equal(await ask("a", "net1", true), "foreign");
    assert.equal(await ask("b", "eth0", true), "foreign");
    assert.equal(await ask("a", "eth0", false), "foreign");
  });
});
