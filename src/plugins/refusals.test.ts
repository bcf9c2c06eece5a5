import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { after, describe, it } from "node:test";
import { type JsonObject, silentLogger, Tasks } from "#base";
import { type Attachment, type CniResult, cniCodes, emptyResult } from "#cni";
import { createNetns, hostNetns } from "#linux";
import type { Ovs } from "#ovsdb";
import { isolated } from "../linux/testing/isolated.ts";
import { createCoordinatorPlugin } from "./coordinator/plugin.ts";
import { createIfacerPlugin } from "./ifacer/plugin.ts";
import { createOvsPlugin } from "./ovs/plugin.ts";
import type { Plugin } from "./plugin.ts";
import { createIpvlanPlugin, createMacvlanPlugin, createVlanPlugin } from "./sub-interface/plugin.ts";
import { deadline, runSteps } from "./testing/run-steps.ts";
import { StubIpam } from "./testing/stub-ipam.ts";

if (isolated(import.meta.url)) {
  const host = hostNetns();
  const tasks = new Tasks(silentLogger);
  const ipam = new StubIpam(["10.10.0.5/24"]);
  const options = { host, tasks, ipamFor: () => ipam };
  /** Every plugin that acts in a Pod, with a configuration that it takes. */
  const plugins: readonly (readonly [Plugin<never>, JsonObject])[] = (
    [
      [createOvsPlugin({ ...options, ovsFor: () => ({}) as Ovs, flatFiles: [] }), { bridge: "br1" }],
      [createMacvlanPlugin(options), { master: "lo" }],
      [createIpvlanPlugin(options), { master: "lo" }],
      [createVlanPlugin(options), { master: "lo", vlanId: 5 }],
      [createCoordinatorPlugin({ host, tasks, clusterConfig: async () => ({ mode: "underlay" }) }), {}],
    ] as const
  ).map(([plugin, raw]) => [plugin as unknown as Plugin<never>, raw]);
  const attachmentOf = (netns: string): Attachment => {
    return { containerId: "c1", ifName: "eth0", netns, pod: undefined, args: new Map() };
  };
  const decode = (plugin: Plugin<never>, raw: JsonObject, prevResult?: CniResult) =>
    plugin.decode({ cniVersion: "1.0.0", name: "n", type: plugin.type, raw, ...(prevResult && { prevResult }) });
  after(() => tasks.stop());

  describe("every plugin", () => {
    for (const [plugin, raw] of plugins) {
      it(`${plugin.type} refuses a path that is no network namespace with CNI error 8, and holds no address`, async () => {
        mkdirSync("/run/netns", { recursive: true });
        writeFileSync("/run/netns/file", "");
        for (const netns of ["/run/netns/absent", "/run/netns/file"]) {
          const adding = runSteps((steps) => plugin.add(decode(plugin, raw, emptyResult), attachmentOf(netns), steps));
          await assert.rejects(adding, { cniCode: cniCodes.invalidNetns });
          assert.equal(ipam.held.size, 0);
        }
      });

      it(`${plugin.type} refuses a CHECK without the result of ADD with CNI error 7`, async () => {
        createNetns(`/run/netns/${plugin.type}`)[Symbol.dispose]();
        const checking = plugin.check(decode(plugin, raw), attachmentOf(`/run/netns/${plugin.type}`), deadline());
        await assert.rejects(checking, { cniCode: cniCodes.invalidConfig, message: "Required prevResult missing" });
      });
    }

    it("coordinator refuses to come first in a network, where nothing was made before it", async () => {
      const plugin = createCoordinatorPlugin({ host, tasks, clusterConfig: async () => ({}) });
      const config = plugin.decode({ cniVersion: "1.0.0", name: "n", type: "coordinator", raw: {} });
      const adding = runSteps((steps) => plugin.add(config, attachmentOf("/run/netns/absent"), steps));
      await assert.rejects(adding, { cniCode: cniCodes.invalidConfig, message: "Required prevResult missing" });
    });

    it("ifacer refuses a bond whose name is none", async () => {
      const plugin = createIfacerPlugin({ host, log: silentLogger });
      for (const name of ["a/b", "sixteen-letters-", "a b"]) {
        const raw = { interfaces: ["eth1", "eth2"], bond: { name, mode: 1 } };
        const config = plugin.decode({ cniVersion: "1.0.0", name: "n", type: "ifacer", raw });
        const adding = runSteps((steps) => plugin.add(config, attachmentOf(""), steps));
        await assert.rejects(adding, (error) => {
          const { cniCode, details } = error as { cniCode: number; details: JsonObject };
          assert.deepEqual([cniCode, details["field"], details["value"]], [7, "bond.name", name]);
          return true;
        });
      }
    });
  });
}
