import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { silentLogger } from "#base";
import { bootId, hostNetns, readNetnsId } from "#linux";
import type { Ovs, OvsPort } from "#ovsdb";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { isolated } from "../../linux/testing/isolated.ts";
import { CallMetrics } from "../http/metrics.ts";
import { Records, type SandboxRecord } from "../sandboxes/records.ts";
import { Faults } from "./faults.ts";

const ip = (...argv: readonly string[]) => execFileSync("ip", argv, { encoding: "utf8" });
const never = new AbortController().signal;
let serial = 0;

/** A node with Pods in namespaces of their own; Open vSwitch is played. */
class Node implements Disposable {
  readonly clock = new ManualClock();
  readonly events: string[] = [];
  readonly restored: number[] = [];
  readonly verified: string[] = [];
  readonly metrics = new CallMetrics();
  readonly ports = new Map<string, OvsPort>();
  /** The clients of further databases. */
  readonly others: Ovs[] = [];
  /** Set while a call is at work. */
  call: PromiseWithResolvers<void> | undefined;
  readonly faults: Faults;
  readonly #folder = mkdtempSync(join(tmpdir(), "faults-"));
  readonly #records = new Records(this.#folder);
  readonly #namespaces: string[] = [];
  readonly #links: string[] = [];

  constructor() {
    const ovs: Pick<Ovs, "ports" | "detach" | "state"> = {
      state: { kind: "connected" },
      ports: () => this.ports,
      detach: async (which) => {
        this.ports.delete(String(which));
        return [String(which)];
      },
    };
    this.faults = new Faults({
      node: "n1",
      host: hostNetns(),
      ovs: { list: () => [ovs as Ovs, ...this.others], get: () => ovs as Ovs },
      records: () => this.#records.list(),
      restore: () => void this.restored.push(1),
      verify: async ({ containerId }) => void this.verified.push(containerId),
      events: { record: (_subject, { reason, message }) => void this.events.push(`${reason} ${message}`) },
      metrics: this.metrics,
      busy: () => this.call?.promise,
      everyMs: 20_000,
      clock: this.clock,
      log: silentLogger,
    });
  }

  /** Until `Faults.run` has looked once more, and sleeps again. */
  async lookAgain(): Promise<void> {
    await this.clock.advance(20_000);
    while (this.clock.sleeping === 0) await setImmediate();
  }

  /** A Pod with an address inside, the host's end, its port, and the node's route to it. */
  pod(name: string, address: string): void {
    serial += 1;
    const [path, link] = [`f${process.pid}x${serial}`, `ovs${name}`];
    this.#namespaces.push(path);
    this.#links.push(link);
    ip("netns", "add", path);
    ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", path);
    ip("-n", path, "addr", "add", `${address}/16`, "dev", "eth0");
    ip("-n", path, "link", "set", "eth0", "up");
    ip("link", "set", link, "up");
    ip("route", "add", address, "dev", link, "table", "500");
    const netns = `/run/netns/${path}`;
    const { device, inode } = readNetnsId(netns) ?? { device: 0n, inode: 0n };
    this.#records.write({
      format: 1,
      containerId: name,
      ifName: "eth0",
      network: "net",
      bootId: bootId(),
      complete: true,
      netns: { path: netns, device: String(device), inode: String(inode) },
      pod: { namespace: "default", name, uid: name },
      networks: [
        {
          name: "net",
          networkName: "net",
          ifName: "eth0",
          cniVersion: "1.0.0",
          cniArgs: [],
          capabilityArgs: {},
          plugins: [{ type: "ovs" }],
          result: {
            cniVersion: "1.0.0",
            interfaces: [{ name: link }, { name: "eth0", sandbox: netns }],
            ips: [{ address: `${address}/16`, interface: 1 }],
          },
        },
      ],
    } satisfies SandboxRecord);
    this.port(link, netns);
  }

  port(name: string, contNetns: string): void {
    const owner = { contPodUid: "u", contNetns, contIface: "eth0" };
    this.ports.set(name, { name, owner } as OvsPort);
  }

  /** The namespace of the Pod's record. */
  namespace(pod: string): string {
    const record = this.#records.list().find(({ containerId }) => containerId === pod);
    return record?.netns.path.split("/").at(-1) ?? "";
  }

  /** The Pod goes on without a record. */
  forget(name: string): void {
    for (const record of this.#records.list()) if (record.containerId === name) this.#records.remove(record);
  }

  async kinds(): Promise<readonly string[]> {
    return (await this.faults.look()).map(({ kind }) => kind);
  }

  async counted(kind: string): Promise<string | undefined> {
    return new RegExp(`spiderpool_faults_total{kind="${kind}"[^}]*} (\\d+)`).exec(await this.metrics.text())?.[1];
  }

  [Symbol.dispose](): void {
    // A namespace takes its links along only some time after it has gone.
    const commands = [
      ...this.#links.map((name) => ["link", "del", name]),
      ...this.#namespaces.map((name) => ["netns", "del", name]),
    ];
    for (const command of commands) {
      try {
        ip(...command);
      } catch {
        // The test deleted it.
      }
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

if (isolated(import.meta.url)) {
  describe("the faults that an agent looks for", () => {
    const node = () => {
      const made = new Node();
      for (const command of ["rule add pref 1000 lookup 500", "link set lo up"]) {
        try {
          ip(...command.split(" "));
        } catch {
          // There since the test before.
        }
      }
      made.pod("a", "10.6.0.1");
      made.pod("b", "10.6.0.2");
      return made;
    };

    it("are none on a node that is well", async () => {
      using n = node();
      assert.deepEqual(await n.faults.look(), []);
      assert.deepEqual(await n.faults.reconcile({ signal: never }), []);
    });

    it("a port without namespace is removed at the second look, told of and counted", async () => {
      using n = node();
      n.port("left", "/run/netns/gone");
      assert.deepEqual(await n.kinds(), ["port-without-namespace"]);
      await n.faults.reconcile({ signal: never });
      assert.deepEqual([n.ports.has("left"), n.events], [true, []], "one look is no proof");
      await n.faults.reconcile({ signal: never });
      assert.deepEqual([n.ports.has("left"), n.ports.size, await n.counted("port-without-namespace")], [false, 2, "1"]);
      assert.match(
        n.events.join(),
        /^FaultPortWithoutNamespace port left: Open vSwitch has it for .* but there is no such/,
      );
      assert.deepEqual(await n.kinds(), []);
    });

    it("of ports are mended while a database does not answer that some network names, and no sandbox has ports in", async () => {
      using n = node();
      n.others.push({ state: { kind: "disconnected", error: "no such file" } } as Ovs);
      n.port("left", "/run/netns/gone");
      for (let look = 0; look < 2; look++) await n.faults.reconcile({ signal: never });
      assert.equal(n.ports.has("left"), false);
    });

    it("are looked for when no call is at work, or after ten seconds", async () => {
      using n = node();
      n.port("left", "/run/netns/gone");
      n.call = Promise.withResolvers();
      let looks = 0;
      const look = () => n.faults.reconcile({ signal: never }).then(() => void looks++);
      const first = look();
      await n.clock.advance(9_000);
      assert.equal(looks, 0);
      n.call.resolve();
      n.call = undefined;
      await first;
      n.call = Promise.withResolvers();
      const second = look();
      await n.clock.advance(10_000);
      await second;
      assert.deepEqual([looks, n.ports.has("left")], [2, false]);
    });

    it("a host's end without port has its sandbox restored", async () => {
      using n = node();
      n.ports.delete("ovsa");
      for (let look = 0; look < 3; look++) await n.faults.reconcile({ signal: never });
      assert.deepEqual([n.restored.length, n.events.length, await n.counted("veth-without-port")], [2, 1, "1"]);
    });

    it("an address in two namespaces has both asked for in the ledger", async () => {
      using n = node();
      ip("-n", n.namespace("b"), "addr", "add", "10.6.0.1/16", "dev", "eth0");
      for (let look = 0; look < 2; look++) await n.faults.reconcile({ signal: never });
      assert.deepEqual([n.verified.toSorted(), await n.counted("one-address-twice")], [["a", "b"], "1"]);
    });

    it("are mended and counted within a minute of their beginning, even if they begin just after a look", async () => {
      using n = node();
      const stop = new AbortController();
      const running = n.faults.run(stop);
      await n.lookAgain();
      n.port("left", "/run/netns/gone");
      n.ports.delete("ovsa");
      ip("-n", n.namespace("b"), "addr", "add", "10.6.0.1/16", "dev", "eth0");
      ip("route", "add", "10.6.0.9", "dev", "lo", "table", "500");
      const beganMs = n.clock.monotonicMs();
      while (n.events.length < 4 && n.clock.monotonicMs() - beganMs < 60_000) await n.lookAgain();
      stop.abort(new Error("the end"));
      await assert.rejects(running, /the end/);
      const kinds = ["port-without-namespace", "veth-without-port", "one-address-twice", "stale-host-route"];
      assert.deepEqual(await Promise.all(kinds.map((kind) => n.counted(kind))), ["1", "1", "1", "1"]);
      assert.deepEqual([n.ports.has("left"), n.restored.length, n.verified.toSorted()], [false, 1, ["a", "b"]]);
      assert.doesNotMatch(ip("route", "show", "table", "500"), /10\.6\.0\.9/);
    });

    it("a stale route to an address is removed, every other route stays, as that to a former system's Pod", async () => {
      using n = node();
      n.pod("former", "10.6.0.3");
      n.forget("former");
      ip("route", "add", "10.6.0.9", "dev", "lo", "table", "500");
      ip("route", "add", "10.8.0.0/16", "dev", "lo", "table", "500");
      ip("route", "add", "10.6.0.9", "dev", "lo", "table", "777");
      for (let look = 0; look < 2; look++) await n.faults.reconcile({ signal: never });
      const left = ip("route", "show", "table", "500").match(/^\S+/gm)?.sort();
      assert.deepEqual(left, ["10.6.0.1", "10.6.0.2", "10.6.0.3", "10.8.0.0/16"]);
      assert.match(ip("route", "show", "table", "777"), /10\.6\.0\.9/);
      ip("route", "flush", "table", "500");
    });
  });
}
