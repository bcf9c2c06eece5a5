import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hasCode } from "#base";
import { Cluster, isCreate, isList, requestOf, type TestNode, testPool } from "../testing/nodes.ts";

/** All Pods ask at once, in turn on each node. Returns the codes of the failures. */
async function race(
  cluster: Cluster,
  nodes: readonly TestNode[],
  pods: number,
  ips: string,
): Promise<readonly unknown[]> {
  const pool = testPool(ips);
  const adds = Array.from({ length: pods }, (_, at) => {
    const node = nodes[at % nodes.length] ?? assert.fail("no node");
    return cluster.claim(node, requestOf(`p${at}`, [pool]));
  });
  const settled = await Promise.allSettled(adds);
  return settled.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
}

describe("two nodes that draw from one pool at once", () => {
  for (const size of [1, 10, 100]) {
    it(`give ${size} addresses to ${size} Pods, one each`, async () => {
      using cluster = new Cluster();
      const nodes = [await cluster.node("n1"), await cluster.node("n2")];
      assert.deepEqual(await race(cluster, nodes, size, `10.6.0.1-10.6.0.${size}`), []);
      assert.equal(new Set(Object.values(cluster.held)).size, size);
    });

    it(`give ${size} addresses to ${size} of ${size + 3} Pods and refuse the others`, async () => {
      using cluster = new Cluster();
      const nodes = [await cluster.node("n1"), await cluster.node("n2")];
      const failures = await race(cluster, nodes, size + 3, `10.6.0.1-10.6.0.${size}`);
      assert.equal(failures.length, 3);
      assert.ok(failures.every((error) => hasCode(error, "POOL_EXHAUSTED")));
      assert.equal(new Set(Object.values(cluster.held)).size, size);
    });
  }

  it("need few requests beyond one create a Pod", async () => {
    using cluster = new Cluster();
    const nodes = [await cluster.node("n1"), await cluster.node("n2")];
    await race(cluster, nodes, 100, "10.6.0.1-10.6.0.100");
    assert.ok(cluster.api.requests.filter(isCreate).length <= 250);
    assert.ok(cluster.api.requests.filter(isList).length <= 4);
  });
});
