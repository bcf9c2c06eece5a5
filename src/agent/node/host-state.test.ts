import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { silentLogger, systemClock } from "#base";
import { bootId, createNetns, deleteNetns, hostNetns, type Netns } from "#linux";
import { isolated } from "../../linux/testing/isolated.ts";
import { startOpenVswitch } from "../../ovsdb/testing/open-vswitch.ts";
import { Records, type SandboxRecord } from "../sandboxes/records.ts";
import { HostState } from "./host-state.ts";
import { OvsClients } from "./ovs-clients.ts";

const netnsPath = "/run/netns/pod";

if (isolated(import.meta.url)) {
  describe("what Pods have on their node", { timeout: 240_000 }, () => {
    it("is put back when the port is lost from a database that is its network's own", async () => {
      await using own = startOpenVswitch();
      own.addBridge("br9");
      await using clients = new OvsClients(`unix:${netnsPath}.sock`, silentLogger);
      using pod = createNetns(netnsPath);
      const folder = mkdtempSync(join(tmpdir(), "host-state-"));
      const records = new Records(folder);
      records.write(recordOf(pod, { type: "ovs", bridge: "br9", socket_file: own.endpoint }));
      hostNetns().rtnl.createVeth({ name: "veth9", up: true, peer: { name: "eth0", netns: pod, up: true } });
      own.vsctl("add-port", "br9", "veth9");
      const restored = new Events();
      const stop = new AbortController();
      const state = new HostState({
        records,
        host: hostNetns(),
        ovs: clients,
        clock: systemClock,
        log: silentLogger,
        // The plugin comes to its database by the configuration, as at the start of an agent.
        chain: {
          restore: async () => {
            clients.get(own.endpoint);
            restored.add();
            return [];
          },
        },
        exclusive: (_containerId, act) => act(),
        synced: () => Promise.resolve(),
      });
      const running = state.run({ signal: stop.signal });
      await restored.reach(1); // The look at the start, after which nothing is missing.
      await clients.get(own.endpoint).synced({ signal: AbortSignal.timeout(120_000) });
      own.vsctl("del-port", "br9", "veth9");
      await restored.reach(2);
      stop.abort(new Error("the test is over"));
      await running.catch(() => {});
      own.vsctl("del-br", "br9");
      await hostNetns().rtnl.deleteLinksLater(["veth9"]);
      deleteNetns(netnsPath);
      rmSync(folder, { recursive: true });
    });

    it("is asked of the kernel for links of sandboxes alone", async () => {
      using pod = createNetns(netnsPath);
      const folder = mkdtempSync(join(tmpdir(), "host-state-"));
      const records = new Records(folder);
      records.write(recordOf(pod, { type: "macvlan" }));
      const real = hostNetns();
      for (const name of ["veth8", "veth9"]) real.rtnl.createVeth({ name, up: true, peer: { name, netns: pod } });
      const asked: unknown[] = [];
      const link: Netns["rtnl"]["link"] = (ref) => {
        asked.push(ref);
        return real.rtnl.link(ref);
      };
      const host = { enter: real.enter.bind(real), rtnl: { link } } as unknown as Netns;
      const restored = new Events();
      const stop = new AbortController();
      const state = new HostState({
        records,
        host,
        clock: systemClock,
        log: silentLogger,
        ovs: { each: () => () => {}, list: () => [], get: () => assert.fail("no network is one of Open vSwitch") },
        chain: {
          restore: async () => {
            restored.add();
            return [];
          },
        },
        exclusive: (_containerId, act) => act(),
        synced: () => Promise.resolve(),
      });
      const running = state.run({ signal: stop.signal });
      await restored.reach(1); // The look at the start.
      for (const name of ["veth8", "veth9"]) real.rtnl.setLink(name, { up: false });
      await restored.reach(2);
      stop.abort(new Error("the test is over"));
      await running.catch(() => {});
      assert.deepEqual(asked, ["veth9"]);
      await real.rtnl.deleteLinksLater(["veth8", "veth9"]);
      deleteNetns(netnsPath);
      rmSync(folder, { recursive: true });
    });
  });
}

/** A sandbox that was made, with `veth9` on the node. */
function recordOf({ id }: Netns, plugin: SandboxRecord["networks"][number]["plugins"][number]): SandboxRecord {
  return {
    format: 1,
    containerId: "c1",
    ifName: "eth0",
    network: "multus",
    bootId: bootId(),
    complete: true,
    netns: { path: netnsPath, device: String(id.device), inode: String(id.inode) },
    pod: null,
    networks: [
      {
        name: "default/own",
        ifName: "eth0",
        cniVersion: "1.0.0",
        networkName: "own",
        cniArgs: [],
        capabilityArgs: {},
        plugins: [plugin],
        result: { cniVersion: "1.0.0", interfaces: [{ name: "veth9" }, { name: "eth0", sandbox: netnsPath }] },
      },
    ],
  };
}

/** Counts, and tells when so many have been. */
class Events {
  #count = 0;
  #waiting: (() => void) | undefined;

  add(): void {
    this.#count += 1;
    this.#waiting?.();
  }

  async reach(count: number): Promise<void> {
    while (this.#count < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting = resolve;
      await promise;
    }
  }
}
