import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hasCode, never, silentLogger, systemClock } from "#base";
import { ManualClock } from "../base/testing/manual-clock.ts";
import { until } from "../base/testing/until.ts";
import { createOvs } from "./client.ts";
import { parseEndpoint } from "./endpoint.ts";
import { limits } from "./limits.ts";
import { changed } from "./testing/changed.ts";
import { type FakeServer, type Received, startFakeServer } from "./testing/fake-server.ts";
import type { Ovs, PortSpec } from "./types.ts";

const forever = { signal: never };
const owner = { contPodUid: "", contNetns: "/run/netns/a", contIface: "net1" };
const bridge = { Bridge: { b1: { insert: { name: "br1", ports: ["set", []], datapath_type: "" } } } };

function spec(name: string): PortSpec {
  return {
    bridge: "br1",
    name,
    vlan: { mode: "access", tag: 1 },
    owner: { ...owner, contNetns: `/run/netns/${name}` },
  };
}

/** The update that tells of a port on br1, as the server sends it before the transaction's reply. */
function portRows(name: string, more: object = {}): object {
  return {
    Bridge: { b1: { insert: { name: "br1", ports: ["uuid", `p-${name}`], datapath_type: "" } } },
    Port: {
      [`p-${name}`]: {
        insert: {
          name,
          interfaces: ["uuid", `i-${name}`],
          tag: 1,
          vlan_mode: "access",
          trunks: ["set", []],
          external_ids: [
            "map",
            [
              ["owner", "ovs-cni.network.kubevirt.io"],
              ["contNetns", `/run/netns/${name}`],
              ["contIface", "net1"],
            ],
          ],
        },
      },
    },
    Interface: { [`i-${name}`]: { insert: { name, type: "", ofport: ["set", []], error: ["set", []], ...more } } },
  };
}

const update = (rows: object) => ({ id: null, method: "update2", params: ["ports", rows] });
const committed = ({ id, params = [] }: Received) => ({ id, error: null, result: params.slice(1).map(() => ({})) });

/** How often a transaction asks for a port of this name. */
function inserted({ params = [] }: Received): readonly string[] {
  const operations = params.slice(1) as {
    readonly op: string;
    readonly table: string;
    readonly row?: { name: string };
  }[];
  return operations.flatMap(({ op, table, row }) => (op === "insert" && table === "Port" && row ? [row.name] : []));
}

async function withFake(act: (o: { server: FakeServer; ovs: Ovs }) => Promise<void>): Promise<void> {
  await using server = await startFakeServer();
  await using ovs = createOvs({ endpoint: server.endpoint, clock: systemClock, log: silentLogger });
  await act({ server, ovs });
}

describe("createOvs", { timeout: 240_000 }, () => {
  it("answers echo with the same parameters", () =>
    withFake(async ({ server }) => {
      await server.answerMonitor(bridge);
      server.send({ id: "echo", method: "echo", params: ["x", 1] });
      assert.deepEqual(await server.next(), { id: "echo", result: ["x", 1], error: null });
    }));

  it("applies updates that arrive before the first snapshot after it", () =>
    withFake(async ({ server, ovs }) => {
      const { id } = await server.next();
      server.send(update(portRows("va", { ofport: 4 })));
      server.send({ id, result: bridge, error: null });
      assert.equal((await ovs.ready("va", forever)).ofport, 4);
    }));

  it("shares one transaction among what waits for the one under way", () =>
    withFake(async ({ server, ovs }) => {
      await server.answerMonitor(bridge);
      await ovs.synced(forever);
      const attaching = ["a", "b", "c"].map((name) => ovs.attach(spec(name), forever));
      const first = await server.next();
      assert.deepEqual(inserted(first), ["a"]);
      server.send(committed(first));
      const second = await server.next();
      assert.deepEqual(inserted(second), ["b", "c"]);
      server.send(committed(second));
      await Promise.all(attaching);
    }));

  it("tries the members of a refused transaction singly", () =>
    withFake(async ({ server, ovs }) => {
      await server.answerMonitor(bridge);
      await ovs.synced(forever);
      const attaching = Promise.allSettled(["a", "b", "c"].map((name) => ovs.attach(spec(name), forever)));
      server.send(committed(await server.next()));
      const { id } = await server.next();
      server.send({ id, error: null, result: [{}, { error: "constraint violation", details: "no" }, null] });
      const b = await server.next();
      assert.deepEqual(inserted(b), ["b"]);
      server.send({
        id: b.id,
        error: null,
        result: [{}, {}, {}, {}, { error: "constraint violation", details: "no" }],
      });
      const c = await server.next();
      assert.deepEqual(inserted(c), ["c"]);
      server.send(committed(c));
      assert.deepEqual(
        (await attaching).map(({ status }) => status),
        ["fulfilled", "rejected", "fulfilled"],
      );
    }));

  it("refuses a reply with fewer results than operations", () =>
    withFake(async ({ server, ovs }) => {
      await server.answerMonitor(bridge);
      const attaching = ovs.attach(spec("a"), forever);
      const { id } = await server.next();
      server.send({ id, error: null, result: [{}] });
      await assert.rejects(attaching, { code: "OVSDB_REFUSED" });
    }));

  it("finds out after a cut whether its transaction had been committed", async (t) => {
    for (const [name, snapshot, repeated] of [
      ["committed", portRows("a"), false],
      ["lost", bridge, true],
    ] as const) {
      await t.test(name, () =>
        withFake(async ({ server, ovs }) => {
          await server.answerMonitor(bridge);
          const attaching = ovs.attach(spec("a"), forever);
          assert.deepEqual(inserted(await server.next()), ["a"]);
          server.cut();
          await server.answerMonitor(snapshot);
          if (repeated) server.send(committed(await server.next()));
          await attaching;
        }),
      );
    }
  });

  it("starts over after bytes that are no JSON object", () =>
    withFake(async ({ server, ovs }) => {
      await server.answerMonitor(bridge);
      await ovs.synced(forever);
      server.send("HTTP/1.1 400 Bad Request\r\n");
      await server.answerMonitor(portRows("va", { ofport: 1 }));
      await ovs.ready("va", forever);
    }));

  it("forgets a call whose signal aborts before it was sent", () =>
    withFake(async ({ server, ovs }) => {
      await server.answerMonitor(bridge);
      await ovs.synced(forever);
      const gone = new AbortController();
      const first = ovs.attach(spec("a"), forever);
      const aborted = ovs.attach(spec("b"), { signal: gone.signal });
      gone.abort(new Error("deadline"));
      await assert.rejects(aborted, /deadline/);
      server.send(committed(await server.next()));
      await first;
      const third = ovs.attach(spec("c"), forever);
      const sent = await server.next();
      assert.deepEqual(inserted(sent), ["c"]);
      server.send(committed(sent));
      await third;
    }));

  it("says how long it waited for whom where a server takes a change and does not answer", async () => {
    await using server = await startFakeServer();
    const { endpoint } = server;
    await using ovs = createOvs({ endpoint, clock: systemClock, log: silentLogger, patienceMs: 100 });
    await server.answerMonitor(bridge);
    await ovs.synced(forever);
    await assert.rejects(ovs.attach(spec("a"), forever), (error) => {
      return (
        hasCode(error, "OVSDB_SILENT") && error.details["endpoint"] === endpoint && error.details["waited"] === "100 ms"
      );
    });
  });

  it("waits its turn for longer than it would wait for a silent server", async () => {
    const clock = new ManualClock();
    await using server = await startFakeServer();
    await using ovs = createOvs({ endpoint: server.endpoint, clock, log: silentLogger, patienceMs: 100 });
    await server.answerMonitor(bridge);
    await ovs.synced(forever);
    const first = ovs.attach(spec("a"), forever);
    const second = ovs.attach(spec("b"), forever);
    const sent = await server.next();
    await clock.advance(90);
    const told = changed(ovs, () => ovs.ports().has("other"));
    server.send(update(portRows("other")));
    await told;
    await clock.advance(90);
    server.send(committed(sent));
    await first;
    const next = await server.next();
    await clock.advance(90);
    server.send(committed(next));
    await second;
    const third = ovs.attach(spec("c"), forever);
    const refused = assert.rejects(third, { code: "OVSDB_SILENT" });
    await server.next();
    await clock.advance(100);
    await refused;
  });

  it("says that the server closed the connection, until it is there again", () =>
    withFake(async ({ server, ovs }) => {
      await server.answerMonitor(bridge);
      await ovs.synced(forever);
      server.cut();
      const seen = await until(
        "the end of the connection",
        () => ovs.state,
        ({ kind }) => kind === "disconnected",
      );
      assert.match(JSON.stringify(seen), /the database server closed the connection/);
      await server.answerMonitor(bridge);
      await ovs.synced(forever);
      assert.equal(ovs.state.kind, "connected");
    }));

  it("refuses at once what more than it keeps would wait, and forgets none of the others", () =>
    withFake(async ({ server, ovs }) => {
      await server.answerMonitor(bridge);
      await ovs.synced(forever);
      const stop = new AbortController();
      const waiting = Array.from({ length: limits.queueMax + 1 }, (_, at) => ovs.attach(spec(`a${at}`), stop));
      await assert.rejects(ovs.attach(spec("more"), forever), { code: "OVSDB_OVERLOADED" });
      stop.abort(new Error("enough"));
      const ends = await Promise.allSettled(waiting);
      assert.ok(ends.every(({ status }) => status === "rejected"));
    }));

  it("fails what waits when it is closed", async () => {
    await using server = await startFakeServer();
    const ovs = createOvs({ endpoint: server.endpoint, clock: systemClock, log: silentLogger });
    const attaching = assert.rejects(ovs.attach(spec("a"), forever), { code: "OVSDB_STOPPED" });
    await ovs[Symbol.asyncDispose]();
    await attaching;
    await assert.rejects(ovs.attach(spec("a"), forever), { code: "OVSDB_STOPPED" });
  });
});

describe("parseEndpoint", () => {
  it("takes unix:, a bare path and tcp:, and refuses all else", () => {
    assert.deepEqual(parseEndpoint("unix:/run/db.sock"), { path: "/run/db.sock" });
    assert.deepEqual(parseEndpoint("/run/db.sock"), { path: "/run/db.sock" });
    assert.deepEqual(parseEndpoint("tcp:10.0.0.1:6640"), { host: "10.0.0.1", port: 6640 });
    assert.deepEqual(parseEndpoint("tcp:[::1]:6640"), { host: "::1", port: 6640 });
    for (const bad of ["", "ssl:1.2.3.4:6640", "unix:relative", "tcp:host", "tcp:host:0", "tcp:host:65536"]) {
      assert.throws(() => parseEndpoint(bad), { code: "OVSDB_ENDPOINT" });
    }
  });
});
