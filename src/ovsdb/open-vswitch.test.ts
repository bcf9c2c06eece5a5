import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { hasCode, never, silentLogger, systemClock } from "#base";
import { isolated } from "../linux/testing/isolated.ts";
import { createOvs } from "./client.ts";
import { changed } from "./testing/changed.ts";
import { type OpenVswitch, startOpenVswitch } from "./testing/open-vswitch.ts";
import type { Ovs, PortSpec, Vlan } from "./types.ts";

const soon = () => ({ signal: AbortSignal.timeout(120_000) });
const allVlans: Vlan = { mode: "trunk", ids: [] };
const connect = (ovs: OpenVswitch) => createOvs({ endpoint: ovs.endpoint, clock: systemClock, log: silentLogger });
const vethPair = (name: string) =>
  void execFileSync("ip", ["link", "add", name, "type", "veth", "peer", "name", `${name}p`]);

function spec(name: string, more: Partial<PortSpec> = {}): PortSpec {
  const owner = { contPodUid: "u1", contNetns: `/run/netns/${name}`, contIface: "net1" };
  return { bridge: "br1", name, vlan: allVlans, owner, ...more };
}

/** The details of the failure, which must have this code. */
async function failure(call: Promise<unknown>, code: string): Promise<Readonly<Record<string, unknown>>> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(hasCode(error, code), `expected ${code}, got ${error}`);
  return error.details;
}

/** An Open vSwitch with the bridge br1, and a client of it. */
async function withOvs(act: (o: { real: OpenVswitch; ovs: Ovs }) => Promise<void>): Promise<void> {
  await using real = startOpenVswitch();
  real.addBridge("br1");
  await using ovs = connect(real);
  await act({ real, ovs });
}

if (isolated(import.meta.url)) {
  describe("createOvs with a real Open vSwitch", { timeout: 240_000 }, () => {
    it("attaches a port with every column and takes it off again", () =>
      withOvs(async ({ real, ovs }) => {
        vethPair("va");
        const wanted = spec("va", { vlan: { mode: "access", tag: 10 }, ofportRequest: 77, ifaceId: "lsp-1" });
        await ovs.attach(wanted, soon());
        const port = await ovs.ready("va", soon());
        assert.deepEqual(port, { ...port, bridge: "br1", ofport: 77, vlan: wanted.vlan, owner: wanted.owner });
        const portColumns = real.vsctl("get", "port", "va", "tag", "vlan_mode", "external_ids");
        assert.equal(
          portColumns,
          '10\naccess\n{contIface=net1, contNetns="/run/netns/va", contPodUid=u1, owner=ovs-cni.network.kubevirt.io}',
        );
        assert.equal(real.vsctl("get", "interface", "va", "external_ids", "ofport"), "{iface-id=lsp-1}\n77");
        assert.deepEqual(ovs.bridges().get("br1"), { name: "br1", datapathType: "netdev", ports: ["br1", "va"] });

        assert.deepEqual(await ovs.detach("va", soon()), ["va"]);
        assert.deepEqual(await ovs.detach("va", soon()), []);
        assert.equal(real.vsctl("--bare", "--columns=name", "find", "interface", "name=va"), "");
        assert.equal(ovs.ports().has("va"), false);
      }));

    it("reads trunks of no, one and two VLANs, of which one arrives as a bare atom", () =>
      withOvs(async ({ ovs }) => {
        for (const [at, ids] of [[], [7], [7, 9]].entries()) {
          await ovs.attach(spec(`t${at}`, { vlan: { mode: "trunk", ids } }), soon());
          assert.deepEqual(ovs.ports().get(`t${at}`)?.vlan, { mode: "trunk", ids });
        }
      }));

    it("becomes ready when the device appears after the transaction", () =>
      withOvs(async ({ ovs }) => {
        await ovs.attach(spec("late"), soon());
        await changed(ovs, () => ovs.ports().get("late")?.error !== undefined);
        vethPair("late");
        const port = await ovs.ready("late", soon());
        assert.ok(port.ofport !== undefined && port.ofport > 0);
      }));

    it("says in vswitchd's words why a port is not ready", () =>
      withOvs(async ({ ovs }) => {
        await ovs.attach(spec("nodev"), soon());
        await changed(ovs, () => ovs.ports().get("nodev")?.error !== undefined);
        await assert.rejects(ovs.ready("nodev", { signal: AbortSignal.abort(new Error("deadline")) }), {
          code: "OVS_PORT_NOT_READY",
          details: {
            port: "nodev",
            bridge: "br1",
            vswitchd: "could not open network device nodev (No such device)",
            fix: "see whether ovs-vswitchd runs and its log: systemctl status ovs-vswitchd",
          },
        });
      }));

    it("names the bridges that exist when the one asked for does not, and leaves no row", () =>
      withOvs(async ({ real, ovs }) => {
        const details = await failure(ovs.attach(spec("vx", { bridge: "nope" }), soon()), "OVS_BRIDGE_UNKNOWN");
        assert.partialDeepStrictEqual(details, { bridge: "nope", existing: ["br1"] });
        assert.equal(real.vsctl("--bare", "--columns=name", "list", "port"), "br1");
      }));

    it("coalesces a burst, in which a refused port does not harm the others", () =>
      withOvs(async ({ real, ovs }) => {
        await ovs.synced(soon());
        const good = Array.from({ length: 100 }, (_, at) => spec(`g${at}`));
        const bad = spec("bad", { vlan: { mode: "access", tag: 5000 } });
        const unknown = spec("unknown", { bridge: "nope" });
        const outcomes = await Promise.allSettled(
          [...good.slice(0, 50), bad, unknown, ...good.slice(50)].map((one) => ovs.attach(one, soon())),
        );
        const failed = outcomes.flatMap((one) => (one.status === "rejected" ? [one.reason.code] : []));
        assert.deepEqual(failed, ["OVSDB_REFUSED", "OVS_BRIDGE_UNKNOWN"]);
        const names = real.vsctl("list-ports", "br1").split("\n").sort();
        assert.deepEqual(names, good.map((one) => one.name).sort());
        await Promise.all(good.map((one) => ovs.detach(one.owner, soon())));
        assert.equal(real.vsctl("list-ports", "br1"), "");
      }));

    it("replaces a port of its own and finds ports on whatever bridge", () =>
      withOvs(async ({ real, ovs }) => {
        real.addBridge("br2");
        await ovs.attach(spec("va"), soon());
        await ovs.attach(spec("va", { bridge: "br2", vlan: { mode: "access", tag: 3 } }), soon());
        assert.equal(real.vsctl("port-to-br", "va"), "br2");
        assert.equal(real.vsctl("get", "port", "va", "tag"), "3");
        assert.deepEqual(await ovs.detach(spec("va").owner, soon()), ["va"]);
        assert.equal(real.vsctl("list-ports", "br2"), "");
      }));

    it("never touches a port of somebody else", () =>
      withOvs(async ({ real, ovs }) => {
        vethPair("uplink");
        real.vsctl("add-port", "br1", "uplink");
        await assert.rejects(ovs.attach(spec("uplink"), soon()), { code: "OVS_PORT_FOREIGN" });
        await assert.rejects(ovs.detach("uplink", soon()), { code: "OVS_PORT_FOREIGN" });
        await ovs.attach(spec("va"), soon());
        const other = spec("va", { owner: { contPodUid: "u2", contNetns: "/run/netns/other", contIface: "net1" } });
        await assert.rejects(ovs.attach(other, soon()), { code: "OVS_PORT_FOREIGN" });
        assert.deepEqual(real.vsctl("list-ports", "br1").split("\n").sort(), ["uplink", "va"]);
      }));

    it("waits for a database that comes back, and sees what changed meanwhile", () =>
      withOvs(async ({ real, ovs }) => {
        await ovs.attach(spec("va"), soon());
        await real.stopDatabase();
        await changed(ovs, () => ovs.state.kind === "disconnected");
        const attaching = ovs.attach(spec("vb"), soon());
        real.startDatabase();
        real.vsctl("--no-wait", "del-port", "br1", "va");
        await attaching;
        await changed(ovs, () => !ovs.ports().has("va"));
        assert.deepEqual([...ovs.ports().keys()].sort(), ["br1", "vb"]);
      }));

    it("follows bridges that come and go", () =>
      withOvs(async ({ real, ovs }) => {
        real.addBridge("br2");
        await changed(ovs, () => ovs.bridges().has("br2"));
        real.vsctl("del-br", "br2");
        await changed(ovs, () => !ovs.bridges().has("br2"));
      }));

    it("knows after many changes, of which it is told only what changed, what a new client is told at once", () =>
      withOvs(async ({ real, ovs }) => {
        await ovs.synced(soon());
        real.addBridge("br2");
        for (const name of ["wa", "wb", "wc"]) vethPair(name);
        await ovs.attach(spec("wa", { vlan: { mode: "trunk", ids: [7, 9] }, ifaceId: "lsp-1" }), soon());
        for (const name of ["wb", "wc"]) await ovs.attach(spec(name), soon());
        await ovs.mirror({ bridge: "br1", mirror: "m", port: "wb", sides: ["output"] }, soon());
        real.vsctl("set", "port", "wa", "trunks=[9,11,12]", "tag=3", "external_ids:contIface=net2");
        real.vsctl("clear", "interface", "wa", "external_ids");
        real.vsctl("set", "port", "wb", "tag=5", "external_ids:note=x", "--", "clear", "port", "wb", "tag");
        real.vsctl("del-port", "br1", "wc", "--", "add-port", "br2", "wc");
        real.addBridge("last");
        await changed(ovs, () => ovs.bridges().has("last"));
        await using fresh = connect(real);
        await fresh.synced(soon());
        const seen = (client: Ovs) => [
          [...client.ports().values()].sort((a, b) => a.name.localeCompare(b.name)),
          [...client.bridges().values()].sort((a, b) => a.name.localeCompare(b.name)),
          client.mirrors(),
        ];
        assert.deepEqual(seen(ovs), seen(fresh));
        assert.deepEqual(fresh.ports().get("wa")?.vlan, { mode: "trunk", ids: [9, 11, 12] });
        assert.equal(fresh.mirrors().length, 1);
      }));

    it("fails with the socket, what was tried and what to do when there is no database", async () => {
      await using ovs = createOvs({
        endpoint: "unix:/run/absent/db.sock",
        clock: systemClock,
        log: silentLogger,
        patienceMs: 20,
      });
      for (const call of [ovs.attach(spec("va"), { signal: never }), ovs.detach("va", { signal: never })]) {
        const details = await failure(call, "OVSDB_UNREACHABLE");
        assert.deepEqual(Object.keys(details), ["endpoint", "tried", "fix"]);
        assert.match(JSON.stringify(details), /absent.*connect.*ENOENT.*systemctl status openvswitch-switch/);
      }
    });
  });
}
