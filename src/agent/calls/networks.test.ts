import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { never } from "#base";
import type { CniRequest } from "#cni";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { Chain } from "../sandboxes/chain.ts";
import { ForeignPlugins } from "../sandboxes/foreign.ts";
import { testPod } from "../testing/api.ts";
import { awaitNetworks } from "./networks.ts";

const raw = { cniVersion: "1.0.0", name: "multus-cni-network", type: "multus", clusterNetwork: "main" };
const request = {
  executable: "multus",
  ifName: "eth0",
  containerId: "c",
  netns: "/run/netns/x",
  args: new Map(),
  config: { cniVersion: "1.0.0", name: raw.name, type: "multus", raw },
} as unknown as CniRequest;

describe("the networks of a Pod's ADD", () => {
  /** Asks for them when the Pod is so old; `madeMs` later the network is there. */
  async function ask(ageMs: number, madeMs: number) {
    const clock = new ManualClock();
    const created = new Date(clock.wall().getTime() - ageMs).toISOString();
    const pod = testPod("a", { metadata: { creationTimestamp: created } });
    const config = JSON.stringify({ cniVersion: "1.0.0", name: "main", plugins: [{ type: "ovs" }] });
    const nad = { metadata: { namespace: "kube-system", name: "main", annotations: {} }, spec: { config } };
    const source = {
      nad: () => (clock.monotonicMs() >= madeMs ? nad : undefined),
      directory: () => undefined,
      file: () => undefined,
    };
    const nadsChanged = (listener: () => void) => clock.after(madeMs, listener);
    const options = { chain: new Chain([], new ForeignPlugins()), source, nadsChanged, clock };
    const found = clock.drive(awaitNetworks(request, pod, options, { signal: never })).then(
      (delegates) => delegates.map(({ displayName }) => displayName).join(),
      ({ code }: { readonly code: string }) => code,
    );
    return [await found, clock.monotonicMs()] as const;
  }

  it("are waited for where the Pod may have come together with them", async () => {
    const [found, atMs] = await ask(0, 1_000);
    assert.deepEqual([found, atMs], ["kube-system/main", 1_000]);
    assert.equal((await ask(-9_000, 1_000))[0], "kube-system/main", "the API server's clock may be ahead");
  });

  it("are not waited for beyond two seconds, nor for a Pod that is older", async () => {
    const [found, atMs] = await ask(0, 60_000);
    assert.deepEqual([found, atMs], ["NETWORK_NOT_FOUND", 2_000]);
    assert.equal((await ask(10_000, 1_000))[0], "NETWORK_NOT_FOUND");
  });
});
