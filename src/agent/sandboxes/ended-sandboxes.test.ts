import assert from "node:assert/strict";
import { it } from "node:test";
import { silentLogger } from "#base";
import type { CniRequest } from "#cni";
import type { Pod } from "#kube";
import { bootId } from "#linux";
import { takeDownEndedSandboxes } from "./ended-sandboxes.ts";
import type { SandboxRecord } from "./records.ts";

const own = { path: "/proc/self/ns/net", device: "0", inode: "0" };

function record(containerId: string, more: Partial<SandboxRecord> = {}): SandboxRecord {
  const pod = { namespace: "default", name: containerId, uid: `uid-${containerId}` };
  const fixed = { format: 1, ifName: "eth0", network: "net", networks: [], complete: true, bootId: bootId() } as const;
  return { ...fixed, containerId, netns: { ...own, path: "/run/netns/none" }, pod, ...more };
}

it("takes down sandboxes that ended with their Pods, and nothing else; a failure keeps none of the others", async () => {
  const asked: CniRequest[] = [];
  const living: Pod = { metadata: { namespace: "default", name: "living", uid: "uid-living" } } as Pod;
  await takeDownEndedSandboxes(
    {
      records: {
        list: () => [
          record("fails"),
          record("gone", { plugin: "ovs" }),
          record("living"),
          record("nobody's", { pod: null }),
        ],
      },
      pods: { get: (key) => (key === "default/living" ? living : undefined) },
      perform: async (request) => {
        asked.push(request);
        if (request.containerId === "fails") throw new Error("no");
      },
      log: silentLogger,
    },
    { signal: AbortSignal.timeout(60_000) },
  );
  assert.deepEqual(
    asked.map(({ verb, containerId, executable, config, netns }) => [
      verb,
      containerId,
      executable,
      config.name,
      netns,
    ]),
    [
      ["DEL", "fails", "multus", "net", "/run/netns/none"],
      ["DEL", "gone", "ovs", "net", "/run/netns/none"],
    ],
  );
});
