import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseIp, parsePrefix } from "#ip";
import type { CoreEvent } from "#kube";
import { type Disagreement, parseDisagreement } from "./disagreement.ts";
import { eventOfFault, faultOfEvent } from "./events.ts";
import { type FaultFacts, nodeFaults, type SandboxFact } from "./node.ts";

const readAt = new Date("2026-01-01T00:00:00Z");
const at = <T>(...items: readonly T[]) => ({ items, readAt });

const sandbox = (name: string, address: string, more: Partial<SandboxFact> = {}): SandboxFact => ({
  pod: `default/${name}`,
  containerId: name,
  netnsPath: `/run/netns/${name}`,
  isThere: true,
  isAttached: true,
  addresses: [parseIp(address)],
  ports: [`ovs-${name}`],
  hostLinks: [`ovs-${name}`, `veth-${name}`],
  ...more,
});

/** Two Pods, all of whose parts are there and agree; `changes` is what is wrong. */
function facts(changes: Partial<FaultFacts> = {}): FaultFacts {
  return {
    sandboxes: at(sandbox("a", "10.6.0.1"), sandbox("b", "10.6.0.2")),
    ports: at(
      { name: "ovs-a", netnsPath: "/run/netns/a", hasNamespace: true },
      { name: "ovs-b", netnsPath: "/run/netns/b", hasNamespace: true },
    ),
    links: at("lo", "ovs-a", "veth-a", "ovs-b", "veth-b"),
    routes: at(
      { dst: parsePrefix("10.6.0.1/32"), dev: "veth-a", table: 500, toPod: true },
      { dst: parsePrefix("10.6.0.2/32"), dev: "veth-b", table: 500, toPod: true },
    ),
    inside: at(
      { containerId: "a", ip: parseIp("10.6.0.1"), nic: "eth0" },
      { containerId: "b", ip: parseIp("10.6.0.2"), nic: "eth0" },
      { containerId: "b", ip: parseIp("192.0.2.1"), nic: "eth0" },
    ),
    ...changes,
  };
}

const said = (found: readonly Disagreement[]) =>
  found.map(({ kind, object, one, other }) => `${kind} ${object}: ${one.text}, but ${other.text}`);

describe("the faults of a node", () => {
  it("do not exist if everything agrees, and exclude those about Open vSwitch while that is away", () => {
    assert.deepEqual(nodeFaults(facts()), []);
    assert.deepEqual(nodeFaults(facts({ ports: undefined })), []);
  });

  it("a port whose namespace is gone; one of another product's living Pod is none", () => {
    const ports = at(
      ...(facts().ports?.items ?? []),
      { name: "ovs-x", netnsPath: "/run/netns/x", hasNamespace: false },
      { name: "other", netnsPath: "/run/netns/y", hasNamespace: true },
    );
    assert.deepEqual(said(nodeFaults(facts({ ports }))), [
      "port-without-namespace port ovs-x: Open vSwitch has it for network namespace /run/netns/x, but there is no such namespace",
    ]);
  });

  it("a host's end without a port, while its ADD is not under way", () => {
    const ports = at({ name: "ovs-a", netnsPath: "/run/netns/a", hasNamespace: true });
    assert.deepEqual(said(nodeFaults(facts({ ports }))), [
      "veth-without-port default/b: the host has ovs-b, the end of its NIC, but Open vSwitch has no such port",
    ]);
    const sandboxes = at(sandbox("a", "10.6.0.1"), sandbox("b", "10.6.0.2", { isAttached: false }));
    assert.deepEqual(nodeFaults(facts({ ports, sandboxes })), []);
  });

  it("one address in two namespaces is told once, whoever of the two it was given to", () => {
    const inside = at(...facts().inside.items, { containerId: "b", ip: parseIp("10.6.0.1"), nic: "net1" });
    assert.deepEqual(said(nodeFaults(facts({ inside }))), [
      "one-address-twice 10.6.0.1: it was given to Pod default/a, but net1 of Pod default/b has it, too",
    ]);
    const both = at(sandbox("a", "10.6.0.1"), sandbox("b", "10.6.0.1"));
    const twice = at(
      { containerId: "a", ip: parseIp("10.6.0.1"), nic: "eth0" },
      { containerId: "b", ip: parseIp("10.6.0.1"), nic: "eth0" },
    );
    const found = nodeFaults(facts({ sandboxes: both, inside: twice })).filter(
      ({ kind }) => kind === "one-address-twice",
    );
    assert.equal(new Set(found.map(({ key }) => key)).size, 1);
  });

  it("a route to an address that no Pod has; one of a Pod whose ADD is under way is none", () => {
    const stale = { dst: parsePrefix("10.6.0.9/32"), dev: "eth0", table: 500, toPod: false };
    const net = { dst: parsePrefix("10.9.0.0/16"), dev: "eth0", table: 500, toPod: false };
    const former = { dst: parsePrefix("10.6.0.8/32"), dev: "veth-b", table: 500, toPod: true };
    const routes = at(...facts().routes.items, stale, net, former);
    assert.deepEqual(said(nodeFaults(facts({ routes }))), [
      "stale-host-route route 10.6.0.9/32: table 500 leads to it by eth0, but no Pod of this node has the address",
      "stale-host-route route 10.6.0.8/32: table 500 leads to it by veth-b, but no Pod of this node has the address",
    ]);
    const sandboxes = at(sandbox("a", "10.6.0.1"), sandbox("b", "10.6.0.2", { addresses: [], isAttached: false }));
    assert.deepEqual(nodeFaults(facts({ sandboxes })), []);
  });

  it("no route to a Pod of another product, which is not on record", () => {
    const other = { dst: parsePrefix("10.6.0.9/32"), dev: "veth-other", table: 500, toPod: true };
    assert.deepEqual(nodeFaults(facts({ routes: at(...facts().routes.items, other) })), []);
  });
});

describe("a fault", () => {
  const [fault] = nodeFaults(facts({ ports: at({ name: "ovs-a", netnsPath: "/run/netns/a", hasNamespace: true }) }));
  assert.ok(fault !== undefined);

  it("is read from its Event as it was told, with the name of the node", () => {
    const now = new Date("2026-01-01T00:05:00Z");
    const event = {
      metadata: { name: "e", uid: "u", resourceVersion: "1" },
      ...eventOfFault(fault),
      lastTimestamp: "2026-01-01T00:01:00Z",
      involvedObject: { kind: "Node", name: "n1" },
    } as unknown as CoreEvent;
    const found = faultOfEvent(event, now);
    assert.deepEqual([found?.kind, found?.object], ["veth-without-port", "n1: default/b"]);
    assert.deepEqual([found?.one, found?.other], [fault.one, fault.other]);
    assert.equal(faultOfEvent(event, new Date("2026-01-01T02:00:00Z")), undefined, "it is mended by then");
    assert.equal(faultOfEvent({ ...event, reason: "DoctorNoOvs" } as CoreEvent, now), undefined);
  });

  it("comes back from JSON as it was", () => {
    assert.deepEqual(parseDisagreement(JSON.parse(JSON.stringify(fault))), fault);
  });
});
