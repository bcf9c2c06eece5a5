import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { finalizer, type SpiderIPAddress, spiderIPAddresses, spiderIPPools, spiderPoolUsages } from "#api";
import { never } from "#base";
import { type ApiRequest, leases, pods, statefulSets, type Transport } from "#kube";
import type { Commit } from "../../kube/testing/fake-storage.ts";
import { TestCluster } from "../testing/cluster.ts";

const ip = "172.18.30.131";
const isWrite = ({ method, path }: ApiRequest) =>
  method !== "GET" && !path.includes("/leases/") && !path.includes("/events");

/** A replica that can be paused: its next write of `what` waits, as in a paused process, and is sent later. */
class Paused {
  readonly transport: Transport;
  readonly reached: Promise<void>;
  readonly #go = Promise.withResolvers<void>();
  /** What the server said to the late write. */
  status: number | undefined;

  constructor(cluster: TestCluster, what: (request: ApiRequest) => boolean) {
    const reached = Promise.withResolvers<void>();
    this.reached = reached.promise;
    let isPaused = false;
    this.transport = {
      server: cluster.api.server,
      send: async (request, o) => {
        if (isPaused || !isWrite(request) || !what(request)) {
          if (isPaused) await this.#go.promise;
          return cluster.api.send(request, o);
        }
        isPaused = true;
        reached.resolve();
        await this.#go.promise;
        isPaused = false;
        // Whoever waited for the answer has given up long ago; the request is on its way all the same.
        const response = await cluster.api.send(request, { signal: never });
        this.status = response.status;
        return response;
      },
    };
  }

  goOn(): void {
    this.#go.resolve();
  }
}

interface Case {
  readonly name: string;
  /** What the world is like before the leader acts. */
  readonly before: (cluster: TestCluster, claim: SpiderIPAddress) => void;
  readonly what: (request: ApiRequest) => boolean;
  /** What happens while the leader is paused, before the other one leads. */
  readonly between: (cluster: TestCluster, claim: SpiderIPAddress) => void;
  /** What must be true at the end. */
  readonly after: (cluster: TestCluster) => void;
}

const fenced = (cluster: TestCluster) => {
  cluster.node("n1", { ready: "Unknown", agent: "False", outOfService: true });
  cluster.api.remove(pods, { namespace: "default", name: `pod-${ip}` });
};
const silent = (cluster: TestCluster) => {
  cluster.node("n1", { ready: "Unknown", agent: "False" });
  cluster.api.remove(pods, { namespace: "default", name: `pod-${ip}` });
};
const reattach = (cluster: TestCluster, claim: SpiderIPAddress) =>
  cluster.api.apply(spiderIPAddresses, { ...claim, spec: { ...claim.spec, containerID: "after" } });
const heldByAgent = (cluster: TestCluster) => assert.equal(cluster.read(ip)?.spec.containerID, "after");
const ofClaims = (method: string) => (request: ApiRequest) =>
  request.method === method && request.path.includes("/spideripaddresses/");

const cases: readonly Case[] = [
  {
    name: "a release: an agent has taken the claim again",
    before: fenced,
    what: ofClaims("DELETE"),
    between: (cluster, claim) => {
      cluster.node("n1");
      reattach(cluster, claim);
    },
    after: heldByAgent,
  },
  {
    name: "a release: another Pod has the address by now, in an object of the same name",
    before: fenced,
    what: ofClaims("DELETE"),
    between: (cluster, { spec }) => {
      cluster.node("n1");
      cluster.api.remove(spiderIPAddresses, { name: ip });
      const uid = cluster.pod("next").metadata.uid;
      cluster.api.apply(spiderIPAddresses, { metadata: { name: ip }, spec: { ...spec, podName: "next", podUID: uid } });
    },
    after: (cluster) => assert.equal(cluster.read(ip)?.spec.podName, "next"),
  },
  {
    name: "a quarantine: an agent has taken the claim again",
    before: silent,
    what: ofClaims("PUT"),
    between: (cluster, claim) => {
      cluster.node("n1");
      reattach(cluster, claim);
    },
    after: (cluster) => {
      heldByAgent(cluster);
      assert.equal(cluster.read(ip)?.spec.purpose, "Pod");
    },
  },
  {
    name: "the detaching of a sticky claim: its next Pod has it",
    before: (cluster, claim) => {
      const spec = { ...claim.spec, purpose: "Sticky" as const, owner: "apps/v1/StatefulSet/default/web" };
      cluster.api.apply(spiderIPAddresses, { ...claim, spec });
      cluster.api.apply(statefulSets, { metadata: { namespace: "default", name: "web" }, spec: { replicas: 1 } });
      silent(cluster);
    },
    what: ofClaims("PUT"),
    between: (cluster) => {
      cluster.node("n2");
      const claim = cluster.read(ip) ?? assert.fail();
      const uid = cluster.pod(`pod-${ip}`, { spec: { nodeName: "n2" } }).metadata.uid;
      const spec = { ...claim.spec, node: "n2", podUID: uid, containerID: "after" };
      cluster.api.apply(spiderIPAddresses, { ...claim, spec });
    },
    after: (cluster) => {
      heldByAgent(cluster);
      assert.equal(cluster.read(ip)?.spec.node, "n2");
    },
  },
  {
    name: "a pool's status: the next leader has written a newer one",
    before: () => {},
    what: ({ path }) => path.includes("/spiderippools/p/status"),
    between: (cluster) => cluster.release(ip),
    after: (cluster) => {
      const { status } = cluster.api.read(spiderIPPools, { name: "p" }) ?? {};
      assert.deepEqual([status?.allocatedIPCount, status?.allocatedIPs], [0, undefined]);
    },
  },
  {
    name: "the usage: the next leader has published a newer one",
    before: (cluster) => {
      // The views are quiet; this is what the leader is about to publish.
      cluster.claim("172.18.30.139", cluster.api.read(spiderIPPools, { name: "p" }) ?? assert.fail());
    },
    what: ({ method, path }) => method === "PUT" && path.includes("/spiderpoolusages/p"),
    between: (cluster) => cluster.release("172.18.30.139"),
    after: (cluster) => {
      const { spec } = cluster.api.read(spiderPoolUsages, { name: "p" }) ?? {};
      assert.deepEqual([spec?.used, spec?.epoch], [[ip], 1]);
    },
  },
  {
    name: "the finalizer of a deleted pool: somebody else holds it now",
    before: (cluster) => {
      cluster.release(ip);
      const pool = cluster.api.read(spiderIPPools, { name: "p" }) ?? assert.fail();
      cluster.api.apply(spiderIPPools, { ...pool, metadata: { ...pool.metadata, finalizers: [finalizer] } });
      void cluster.client.delete(spiderIPPools, { name: "p" }, { signal: never });
    },
    what: ({ method, path }) => method === "PUT" && path.endsWith("4s") && path.includes("/spiderippools/p?"),
    between: (cluster) => {
      const pool = cluster.api.read(spiderIPPools, { name: "p" }) ?? assert.fail();
      const finalizers = [finalizer, "example.org/other"];
      cluster.api.apply(spiderIPPools, { ...pool, metadata: { ...pool.metadata, finalizers } });
    },
    after: (cluster) => {
      const { finalizers = [] } = cluster.api.read(spiderIPPools, { name: "p" })?.metadata ?? {};
      assert.ok(finalizers.includes("example.org/other"), "the late write would have dropped it");
    },
  },
];

/** Claims only ever change by transitions of the ledger's table, whoever wrote them. */
function assertLegal(history: readonly Commit[]): void {
  for (const { collection, before, after } of history) {
    if (!collection.endsWith("/spideripaddresses") || before === undefined || after === undefined) continue;
    const [from, to] = [before, after].map((object) => (object as unknown as SpiderIPAddress).spec.purpose);
    assert.ok(from === to || to === "Quarantine" || (from === "Pod" && to === "Sticky"), `${from} → ${to}`);
  }
}

describe("a leader that is paused between its reading and its write", () => {
  for (const { name, before, what, between, after } of cases) {
    it(`never writes over ${name}`, async () => {
      await using cluster = new TestCluster();
      const pool = cluster.pool("p");
      cluster.node("n1");
      cluster.node("n2");
      const podUID = cluster.pod(`pod-${ip}`).metadata.uid;
      const claim = cluster.claim(ip, pool, "n1", { podUID });
      let isArmed = name.includes("status");
      const paused = new Paused(cluster, (request) => isArmed && what(request));
      await cluster.start({ podName: "a" }, { transport: paused.transport });
      if (!isArmed) await cluster.pass(3_000);
      isArmed = true;
      before(cluster, claim);
      let reached = false;
      void paused.reached.then(() => {
        reached = true;
      });
      for (let step = 0; step < 50 && !reached; step++) await cluster.pass(5_000);
      assert.ok(reached, "the leader was about to write");
      between(cluster, claim);
      await cluster.start({ podName: "b" });
      await cluster.pass(60_000);
      const lease = cluster.api.read(leases, { namespace: "kube-system", name: "spiderpool-controller-leases" });
      assert.match(lease?.spec?.holderIdentity ?? "", /^b_/);
      paused.goOn();
      await cluster.pass(5_000);
      assert.ok(paused.status === 409 || paused.status === 404, `the late write got ${paused.status}`);
      after(cluster);
      assertLegal(cluster.api.history);
    });
  }
});
