import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { bridgeResourcePrefix } from "#api";
import { silentLogger } from "#base";
import { nodes } from "#kube";
import type { BridgeInfo, Ovs, OvsState } from "#ovsdb";
import { TestApi } from "../testing/api.ts";
import { planBridgeResources, runBridgeResources } from "./bridges.ts";

const key = (name: string) => `${bridgeResourcePrefix}${name}`;

describe("planBridgeResources()", () => {
  it("adds new bridges, removes those that are gone and leaves all else alone", () => {
    const status = {
      capacity: { cpu: "4", [key("old")]: "1000", [key("br1")]: "7" },
      allocatable: { cpu: "4", [key("br1")]: "7" },
    };
    assert.deepEqual(planBridgeResources(["br1", "br2"], status), {
      capacity: { [key("br2")]: "1000", [key("old")]: null },
      allocatable: { [key("br2")]: "1000" },
    });
  });

  it("is undefined where nothing is to be done", () => {
    const published = { [key("br1")]: "1000" };
    assert.equal(planBridgeResources(["br1"], { capacity: published, allocatable: published }), undefined);
    assert.equal(planBridgeResources([], undefined), undefined);
  });

  it("passes over names that no resource can have", () => {
    assert.equal(planBridgeResources(["br/1", "", "-br", "b".repeat(64)], undefined), undefined);
  });
});

/** A database of which only bridges and state are asked. */
class FakeOvs implements Pick<Ovs, "bridges" | "changed" | "state"> {
  state: OvsState = { kind: "connected" };
  #bridges = new Map<string, BridgeInfo>();
  readonly #listeners = new Set<() => void>();

  bridges(): ReadonlyMap<string, BridgeInfo> {
    return this.#bridges;
  }

  changed(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  set(state: OvsState["kind"], ...names: readonly string[]): void {
    this.state = state === "connected" ? { kind: state } : { kind: state, error: "refused", attempts: 1 };
    this.#bridges = new Map(names.map((name) => [name, { name, datapathType: "netdev", ports: [] }]));
    for (const listener of this.#listeners) listener();
  }
}

describe("runBridgeResources()", () => {
  let api: TestApi;
  let ovs: FakeOvs;
  let isGoing: boolean;

  beforeEach(async () => {
    isGoing = false;
    api = new TestApi();
    ovs = new FakeOvs();
    ovs.set("connected", "br1");
    api.fake.apply(nodes, { metadata: { name: "n1" }, status: { capacity: { cpu: "4" } } });
    const { client, clock, signal } = api;
    const options = { client, clock, log: silentLogger, ovs: ovs as unknown as Ovs, nodes: await api.store(nodes) };
    const release = {
      get isGoing() {
        return isGoing;
      },
    };
    void runBridgeResources({ ...options, node: "n1", release }, { signal });
    await api.clock.advance(1_000);
  });
  afterEach(() => api[Symbol.dispose]());

  const published = () => Object.keys(api.fake.read(nodes, { name: "n1" })?.status?.capacity ?? {}).sort();

  it("publishes the bridges and follows them", async () => {
    assert.deepEqual(published(), ["cpu", key("br1")]);
    ovs.set("connected", "br2");
    await api.clock.advance(1_000);
    assert.deepEqual(published(), ["cpu", key("br2")]);
  });

  it("publishes nothing any more when the release goes, so that what takes them off the node has done so for good", async () => {
    isGoing = true;
    api.fake.apply(nodes, { metadata: { name: "n1" }, status: { capacity: { cpu: "8" } } });
    await api.clock.advance(5_000);
    assert.deepEqual(published(), ["cpu"]);
  });

  it("changes nothing while the database is away", async () => {
    ovs.set("disconnected", "br1", "br2");
    await api.clock.advance(1_000);
    assert.deepEqual(published(), ["cpu", key("br1")]);
  });

  it("puts back what somebody took from the node", async () => {
    api.fake.apply(nodes, { metadata: { name: "n1" }, status: { capacity: { cpu: "8" } } });
    await api.clock.advance(1_000);
    assert.deepEqual(published(), ["cpu", key("br1")]);
  });

  it("tries again when the node cannot be written", async () => {
    api.fake.fail(({ method }) => method === "PATCH", { kind: "status", status: 500, reason: "InternalError" }, 2);
    ovs.set("connected", "br1", "br2");
    await api.clock.advance(60_000);
    assert.deepEqual(published(), ["cpu", key("br1"), key("br2")]);
  });
});
