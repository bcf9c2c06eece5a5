import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderEndpoints } from "#api";
import { statefulSets } from "#kube";
import type { TestCluster } from "../testing/cluster.ts";
import { claimed, detached, ip, sticky } from "./testing/claimed.ts";

const answer = '{"prefix":16,"gw":"172.18.0.1"}';
const webSet = ({ api }: TestCluster, replicas = 1) =>
  api.apply(statefulSets, { metadata: { namespace: "default", name: "web" }, spec: { replicas } });
const endpoints = ({ api }: TestCluster) =>
  api.all(spiderEndpoints).map(({ metadata, status }) => ({
    name: metadata.name,
    owners: metadata.ownerReferences?.map(({ name }) => name),
    ...status,
  }));

describe("SpiderEndpoints whose definition was deleted and made anew", () => {
  it("come back for a StatefulSet's Pod that runs, and for one that is not there: by it the next Pod finds its address", async () => {
    for (const isRunning of [true, false]) {
      const before = (made: TestCluster) =>
        isRunning ? { ...sticky(), podUID: made.pod("web-0").metadata.uid, answer } : { ...detached, answer };
      const { cluster, claim } = await claimed({ before });
      await using _cluster = cluster;
      webSet(cluster);
      await cluster.pass(90_000);
      assert.deepEqual(endpoints(cluster), [
        {
          name: "web-0",
          owners: [],
          current: {
            uid: claim.spec.podUID,
            node: isRunning ? "n1" : "",
            ips: [
              {
                interface: "eth0",
                vlan: 0,
                ipv4: `${ip}/16`,
                ipv4Pool: "p",
                ipv4Gateway: "172.18.0.1",
                cleanGateway: false,
              },
            ],
          },
          ownerControllerType: "StatefulSet",
          ownerControllerName: "web",
        },
      ]);
    }
  });

  it("come back for an ordinary Pod once its agent had time to write it, and end with the Pod", async () => {
    const { cluster } = await claimed({
      before: ({ clock }) => ({ answer, since: clock.wall().toISOString() }),
    });
    await using _cluster = cluster;
    await cluster.pass(90_000);
    assert.deepEqual(endpoints(cluster), []);
    await cluster.pass(150_000);
    assert.deepEqual(
      endpoints(cluster).map(({ name, owners }) => [name, owners]),
      [[`pod-${ip}`, [`pod-${ip}`]]],
    );
  });

  it("do not come for Pods that are gone, and one that is there stays as it is", async () => {
    const { cluster } = await claimed({ pod: "none", claim: { answer } });
    await using _cluster = cluster;
    const [pool] = [cluster.pool("p")];
    cluster.claim("172.18.30.132", pool, "n1", { ...detached, answer });
    webSet(cluster);
    const there = {
      metadata: { namespace: "default", name: "web-0" },
      status: { current: { uid: "u", node: "n", ips: [] }, ownerControllerType: "x", ownerControllerName: "y" },
    };
    cluster.api.apply(spiderEndpoints, there);
    await cluster.pass(300_000);
    assert.deepEqual(
      endpoints(cluster).map(({ name, ownerControllerType }) => [name, ownerControllerType]),
      [["web-0", "x"]],
    );
  });
});
