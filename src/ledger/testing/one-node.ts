import { afterEach, beforeEach } from "node:test";
import { Cluster, requestOf, type TestNode, testPool } from "./nodes.ts";

// A cluster of one node, made anew before each test of the file that imports it.

export const pool = testPool("10.6.0.1-10.6.0.4");
export let cluster: Cluster;
export let node: TestNode;

beforeEach(async () => {
  cluster = new Cluster();
  node = await cluster.node();
});
afterEach(() => cluster[Symbol.dispose]());

/** One ADD of a Pod on the node, from {@link pool}. */
export const claim = (pod: string, more = {}) => cluster.claim(node, requestOf(pod, [pool], more));
