import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, afterEach, describe, it } from "node:test";
import { type FailPoint, hasCode, type JsonObject } from "#base";
import { type Attachment, CniError, type CniResult, decodeResult, encodeResult } from "#cni";
import { createNetns, hostNetns, openNetns, PacketSocket } from "#linux";
import { isolated } from "../../linux/testing/isolated.ts";
import { changed } from "../../ovsdb/testing/changed.ts";
import { createOvsPlugin } from "../ovs/plugin.ts";
import { startOvsNode } from "../testing/ovs-node.ts";
import { deadline, runSteps } from "../testing/run-steps.ts";
import { bytesOverTcp, ping, tcpBytes } from "../testing/traffic.ts";
import type { MirrorKind } from "./config.ts";
import { createMirrorPlugin } from "./plugin.ts";
import { type Copy, copyOf } from "./testing/copies.ts";

const etherTypes = { 4: 0x0800, 6: 0x86dd } as const;

if (isolated(import.meta.url)) {
  const node = startOvsNode();
  const { real, ovs, tasks } = node;
  let pods = 0;

  after(() => node[Symbol.asyncDispose]());
  afterEach(() => assert.equal(real.vsctl("--bare", "--columns=name", "list", "mirror"), ""));

  /** A Pod with a port on br1, and the mirror plugin chained after it. */
  async function pod(kind: MirrorKind, mirrors: readonly JsonObject[], addresses: readonly string[] = []) {
    const containerId = `c${++pods}`;
    const netns = `/run/netns/${containerId}`;
    createNetns(netns)[Symbol.dispose]();
    const port = createOvsPlugin({
      host: hostNetns(),
      ovsFor: () => ovs,
      ipamFor: () => undefined,
      tasks,
      flatFiles: [],
    });
    const mirror = createMirrorPlugin(kind, { ovsFor: () => ovs, flatFiles: [] });
    const attachment: Attachment = { containerId, ifName: "net1", netns, pod: undefined, args: new Map() };
    const portConfig = port.decode({ cniVersion: "1.0.0", name: "n", type: "ovs", raw: { bridge: "br1" } });
    const result = await runSteps((steps) => port.add(portConfig, attachment, steps));
    const decode = (prevResult: CniResult | undefined, raw: JsonObject = {}) => {
      const config = { cniVersion: "1.0.0", name: "n", type: mirror.type, raw: { bridge: "br1", mirrors, ...raw } };
      return mirror.decode(prevResult === undefined ? config : { ...config, prevResult });
    };
    const inside = (...argv: readonly [string, ...string[]]) =>
      execFileSync("nsenter", [`--net=${netns}`, ...argv], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    for (const address of addresses) inside("ip", "addr", "add", address, "dev", "net1", "nodad");
    return {
      netns,
      result,
      decode,
      inside,
      name: result.interfaces[0]?.name ?? "",
      add: (config = decode(result), failPoint?: FailPoint) =>
        runSteps((steps) => mirror.add(config, attachment, steps), failPoint),
      check: (previous: CniResult = result) => mirror.check(decode(previous), attachment, deadline()),
      restore: () => mirror.restore?.(decode(result), attachment, deadline()),
      /** With null: without a result. */
      del: (previous: CniResult | null = result) => mirror.del(decode(previous ?? undefined), attachment, deadline()),
      delPort: () => port.del(portConfig, attachment, deadline()),
    };
  }

  const columns = (name: string) => {
    const mirror = ovs.mirrors().find((one) => one.name === name);
    return mirror && [mirror.sources, mirror.destinations, mirror.output];
  };

  describe("the ovs-mirror plugins", { timeout: 240_000 }, () => {
    it("give a mirror its producer and its consumer, and leave nothing", async () => {
      const producer = await pod("producer", [{ name: "m1", ingress: true, egress: true }]);
      const consumer = await pod("consumer", [{ name: "m1" }]);
      assert.equal(await producer.add(), producer.result);
      assert.equal(await consumer.add(), consumer.result);
      assert.deepEqual(columns("m1"), [[producer.name], [producer.name], consumer.name]);
      await Promise.all([producer.check(), consumer.check()]);

      await producer.del();
      assert.deepEqual(columns("m1"), [[], [], consumer.name]);
      await consumer.del();
      await Promise.all([producer.del(), consumer.del(null)]);
      for (const each of [producer, consumer]) await each.delPort();
    });

    for (const [sides, config] of [
      [["producer"], { ingress: true }],
      [["peer"], { egress: true }],
      [["producer", "peer"], { ingress: true, egress: true }],
    ] as const) {
      it(`copy to the consumer the ping and the TCP of the producer in either family, with ${Object.keys(config).join(" and ")}`, async () => {
        const producer = await pod("producer", [{ name: "m1", ...config }], ["10.10.0.5/24", "fd00::5/64"]);
        const peer = await pod("consumer", [{ name: "unused" }], ["10.10.0.6/24", "fd00::6/64"]);
        const consumer = await pod("consumer", [{ name: "m1" }]);
        await producer.add();
        await consumer.add();
        using inConsumer = openNetns(consumer.netns);
        for (const [family, from, address] of [
          [4, "10.10.0.5", "10.10.0.6"],
          [6, "fd00::5", "fd00::6"],
        ] as const) {
          const tap = PacketSocket.open(inConsumer, "net1", etherTypes[family]);
          const copies: Copy[] = [];
          // The request and the answer of the ping at the end, as far as they are copied, end the copy.
          const copied = async () => {
            for (let pings = 0; pings < sides.length; ) {
              const copy = copyOf((await tap.receive(deadline())).payload);
              if (copy === undefined) continue;
              copies.push(copy);
              if (copy.what === "ping") pings += 1;
            }
          };
          const [sent] = await Promise.all([
            bytesOverTcp(peer.netns, producer.netns, address).then((bytes) => {
              ping(producer.netns, address);
              return bytes;
            }),
            copied(),
          ]);
          await tap.close();
          assert.equal(sent, tcpBytes);
          const addresses = { producer: from, peer: address };
          assert.deepEqual(
            [...new Set(copies.map(({ source }) => source))].sort(),
            sides.map((side) => addresses[side]).sort(),
          );
          for (const side of sides) {
            const tcp = copies.filter(({ what, source }) => what === "tcp" && source === addresses[side]);
            assert.ok(tcp.some(({ isFirst }) => isFirst) && tcp.some(({ isLast }) => isLast), `${side}, IPv${family}`);
            // A segment that was sent again counts once.
            const carrying = tcp.filter(({ bytes }) => bytes > 0);
            const segments = new Map(carrying.map(({ sequence, bytes }) => [sequence, bytes]));
            const total = [...segments.values()].reduce((sum, each) => sum + each, 0);
            assert.equal(total, side === "peer" ? tcpBytes : 0);
          }
        }
        await producer.del();
        await consumer.del();
        for (const each of [producer, consumer, peer]) await each.delPort();
      });
    }

    it("know ingress from egress, several mirrors of one port and several producers of one mirror", async () => {
      const both = await pod("producer", [
        { name: "in", ingress: true },
        { name: "out", egress: true },
      ]);
      const other = await pod("producer", [{ name: "in", ingress: true }]);
      await Promise.all([both.add(), other.add()]);
      assert.deepEqual(columns("in")?.[0]?.toString().split(",").sort(), [both.name, other.name].sort());
      assert.deepEqual(columns("out"), [[], [both.name], undefined]);
      await both.add(); // what it has already
      await both.del();
      assert.deepEqual(columns("in"), [[other.name], [], undefined]);
      await other.del();
      await Promise.all([both.delPort(), other.delPort()]);
    });

    it("refuse a second consumer, and leave nothing of a failed ADD", async () => {
      const [first, second] = [
        await pod("consumer", [{ name: "m1" }]),
        await pod("consumer", [{ name: "m2" }, { name: "m1" }]),
      ];
      await first.add();
      await assert.rejects(second.add(), (error) => {
        assert.ok(hasCode(error, "OVS_MIRROR_TAKEN"));
        assert.equal(error.details["consumer"], first.name);
        return true;
      });
      assert.deepEqual([columns("m1"), columns("m2")], [[[], [], first.name], undefined]);
      const fail: FailPoint = (point) => {
        if (point === "port:after") throw new Error("failed");
      };
      await first.del();
      await assert.rejects(second.add(undefined, fail), { message: "failed" });
      await Promise.all([first.delPort(), second.delPort()]);
    });

    it("accept their port's result as it travelled in the oldest version, and delete twice and without a result", async () => {
      for (const kind of ["producer", "consumer"] as const) {
        const one = await pod(kind, [{ name: "m1", ...(kind === "producer" && { ingress: true }) }]);
        const travelled = decodeResult(encodeResult(one.result, "0.3.0"), "0.3.0");
        assert.deepEqual(await one.add(one.decode(travelled)), travelled);
        await one.check(travelled);
        for (const previous of [travelled, travelled, null]) await one.del(previous);
        assert.equal(columns("m1"), undefined);
        await one.delPort();
      }
    });

    it("leave nothing when they fail before or after their stage", async () => {
      for (const kind of ["producer", "consumer"] as const) {
        const one = await pod(kind, [{ name: "m1", ...(kind === "producer" && { ingress: true }) }]);
        for (const point of ["port:before", "port:after"] as const) {
          const fail: FailPoint = (reached) => {
            if (reached === point) throw new Error(`failed at ${point}`);
          };
          await assert.rejects(one.add(undefined, fail), { message: `failed at ${point}` });
          assert.equal(columns("m1"), undefined);
        }
        await one.delPort();
      }
    });

    it("never touch a mirror of somebody else", async () => {
      const args = ["--", "--id=@m", "create", "mirror", "name=theirs", "--", "set", "bridge", "br1", "mirrors=@m"];
      real.vsctl(...args);
      const one = await pod("producer", [{ name: "theirs", ingress: true }]);
      await assert.rejects(one.add(), { code: "OVS_MIRROR_FOREIGN" });
      await one.del();
      assert.equal(real.vsctl("--bare", "--columns=name", "list", "mirror"), "theirs");
      real.vsctl("clear", "bridge", "br1", "mirrors");
      await one.delPort();
    });

    it("see what is missing, put it back, and clean up after Pods that vanished", async () => {
      const one = await pod("producer", [{ name: "m1", ingress: true }]);
      await one.add();
      real.vsctl("clear", "bridge", "br1", "mirrors");
      await changed(ovs, () => ovs.mirrors().length === 0);
      await assert.rejects(one.check(), (error) => error instanceof CniError && error.details["what"] === "mirror");
      assert.deepEqual(await one.restore(), [`port ${one.name} in mirror m1`]);
      assert.deepEqual(await one.restore(), []);
      await one.check();
      real.vsctl("del-port", one.name); // its row goes, and the mirror is without a port
      await changed(ovs, () => columns("m1")?.[0]?.length === 0);
      const next = await pod("producer", [{ name: "m2", egress: true }]);
      await next.add();
      assert.equal(columns("m1"), undefined);
      await one.del();
      await next.del();
      await one.delPort();
      await next.delPort();
    });

    it("leave no mirror where an agent ended before it had noted what it made, and only the port is deleted", async () => {
      const one = await pod("producer", [
        { name: "m1", ingress: true },
        { name: "shared", egress: true },
      ]);
      const other = await pod("consumer", [{ name: "shared" }]);
      await one.add();
      await other.add();
      await one.delPort();
      await changed(ovs, () => columns("m1") === undefined);
      assert.deepEqual(columns("shared"), [[], [], other.name]);
      await other.delPort();
      await changed(ovs, () => columns("shared") === undefined);
    });

    it("refuse configurations that cannot work, with the field and what is allowed", async () => {
      const one = await pod("producer", [{ name: "m1", ingress: true }]);
      for (const [mirrors, field] of [
        [undefined, "mirrors"],
        [[], "mirrors"],
        [[{ ingress: true }], "mirrors[0].name"],
        [[{ name: "m" }], "mirrors[0]"],
        [[{ name: "m", ingress: false, egress: false }], "mirrors[0]"],
        [[{ name: "m", ingress: 1 }], "mirrors[0].ingress"],
        [
          [
            { name: "m", egress: true },
            { name: "m", ingress: true },
          ],
          "mirrors",
        ],
      ] as const) {
        assert.throws(
          () => one.decode(one.result, { mirrors }),
          (error) => error instanceof CniError && error.cniCode === 7 && error.details["field"] === field,
        );
      }
      await assert.rejects(one.add(one.decode(undefined)), { cniCode: 7, message: "Required prevResult missing" });
      const nobody = { interfaces: [], ips: [], routes: [] };
      await assert.rejects(one.add(one.decode(nobody)), /no port of the Pod/);
      await assert.rejects(one.add(one.decode(one.result, { bridge: "br9" })), (error) => {
        assert.match(CniError.from(error).text, /found port veth\w+ of bridge br1\. What to do: put the ovs plugin/);
        return true;
      });
      await one.delPort();
    });
  });
}
