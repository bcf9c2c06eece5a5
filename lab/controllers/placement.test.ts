import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Node, Pod } from "./kinds.ts";
import { place } from "./placement.ts";

const bridge = "ovs-cni.network.kubevirt.io/br1";

function node(
  name: string,
  change: { readonly ready?: boolean; readonly cordoned?: boolean; readonly bridge?: string } = {},
): Node {
  const { ready = true, cordoned = false } = change;
  return {
    metadata: {
      name,
      uid: name,
      resourceVersion: "1",
      creationTimestamp: "",
      labels: { "kubernetes.io/hostname": name },
    },
    spec: { unschedulable: cordoned },
    status: {
      allocatable: {
        cpu: "2",
        memory: "4Gi",
        pods: "3",
        ...(change.bridge !== undefined && { [bridge]: change.bridge }),
      },
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
    },
  };
}

function pod(name: string, spec: Partial<Pod["spec"]> = {}, app = "test-app"): Pod {
  return {
    metadata: { name, namespace: "default", uid: name, resourceVersion: "1", creationTimestamp: "", labels: { app } },
    spec: { containers: [{ name: "http" }], ...spec },
  };
}

const apart = {
  affinity: {
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { labelSelector: { matchLabels: { app: "test-app" } }, topologyKey: "kubernetes.io/hostname" },
      ],
    },
  },
};

test("Pods with anti-affinity by host go to different nodes, and one more has no place", () => {
  const nodes = [node("node1"), node("node2")];
  const first = { ...pod("a", { ...apart, nodeName: "node1" }) };
  assert.deepEqual(place(pod("b", apart), nodes, [first]), { kind: "node", name: "node2" });
  const second = pod("b", { ...apart, nodeName: "node2" });
  assert.deepEqual(place(pod("c", apart), nodes, [first, second]), {
    kind: "none",
    why: "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.",
  });
  assert.deepEqual(place(pod("c"), nodes, [first, second]), {
    kind: "none",
    why: "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules.",
  });
  const ended: Pod = { ...second, status: { phase: "Succeeded" } };
  assert.equal(place(pod("c", apart), nodes, [first, ended]).kind, "node");
});

test("a Pod that asks for a bridge lands only on a node that has a free port of it", () => {
  const wants = { containers: [{ name: "http", resources: { limits: { [bridge]: "1" } } }] };
  const nodes = [node("node1"), node("node2", { bridge: "1" })];
  assert.deepEqual(place(pod("a", wants), nodes, []), { kind: "node", name: "node2" });
  assert.deepEqual(place(pod("b", wants), nodes, [pod("a", { ...wants, nodeName: "node2" })]), {
    kind: "none",
    why: `0/2 nodes are available: 2 Insufficient ${bridge}.`,
  });
});

test("nodes that are cordoned, not ready, full or not selected are passed over, each with its reason", () => {
  const full = ["1", "2", "3"].map((name) => pod(name, { nodeName: "full" }));
  const nodes = [node("cordoned", { cordoned: true }), node("lost", { ready: false }), node("full"), node("fine")];
  assert.deepEqual(place(pod("a"), nodes, full), { kind: "node", name: "fine" });
  const elsewhere = place(pod("a", { nodeSelector: { "kubernetes.io/hostname": "full" } }), nodes, full);
  assert.match(
    elsewhere.kind === "none" ? elsewhere.why : "",
    /1 Too many pods, 1 node\(s\) didn't match Pod's node affinity/,
  );
});

test("no node ever gets more than it has, whatever the Pods ask for", () => {
  const request = fc.record({ count: fc.integer({ min: 0, max: 2 }) });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 12 }), (requests) => {
      const nodes = [node("node1", { bridge: "2" }), node("node2")];
      const placed: Pod[] = [];
      for (const [index, { count }] of requests.entries()) {
        const resources = { requests: { [bridge]: String(count) } };
        const wanted = pod(`p${index}`, { containers: [{ name: "http", resources }] });
        const placement = place(wanted, nodes, placed);
        if (placement.kind === "node") placed.push({ ...wanted, spec: { ...wanted.spec, nodeName: placement.name } });
      }
      for (const { metadata, status } of nodes) {
        const mine = placed.filter(({ spec }) => spec.nodeName === metadata.name);
        assert.ok(mine.length <= 3);
        const used = mine.map(({ spec }) => Number(spec.containers[0]?.resources?.requests?.[bridge]));
        assert.ok(used.reduce((a, b) => a + b, 0) <= Number(status?.allocatable?.[bridge] ?? 0));
      }
    }),
  );
});
