import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SpiderEndpoint, SpiderIPPool } from "#api";
import { formatIp } from "#ip";
import { type LivingPod, planTakeOver } from "./plan.ts";

const pool = (name: string, allocatedIPs?: unknown, subnet = "10.6.0.0/16"): SpiderIPPool => ({
  metadata: { name, uid: `uid-${name}`, resourceVersion: "1", generation: 3 },
  spec: { subnet },
  ...(allocatedIPs !== undefined && {
    status: { allocatedIPs: typeof allocatedIPs === "string" ? allocatedIPs : JSON.stringify(allocatedIPs) },
  }),
});

type Nic = SpiderEndpoint["status"]["current"]["ips"][number];

const endpoint = (name: string, uid: string, ips: readonly Nic[], owner = "Deployment"): SpiderEndpoint => ({
  metadata: { namespace: "default", name, uid: `se-${name}`, resourceVersion: "1" },
  status: {
    current: { uid, node: "n1", ips },
    ownerControllerType: owner,
    ownerControllerName: "app",
  },
});

const pod = (name: string, ips: readonly string[] = [], owner?: LivingPod["owner"]): [string, LivingPod] => [
  `u-${name}`,
  { namespace: "default", name, uid: `u-${name}`, node: "n1", ips, owner },
];

const plan = (
  pools: readonly SpiderIPPool[],
  pods: readonly [string, LivingPod][],
  endpoints: readonly SpiderEndpoint[] = [],
  keeps = true,
) =>
  planTakeOver({ pools, endpoints, pods: new Map(pods) }, { enableStatefulSet: keeps, enableKubevirtStaticIP: keeps });

const brief = ({ claims }: ReturnType<typeof plan>) =>
  claims.map(({ ip, pod, nic, node, owner }) => [formatIp(ip), pod.name, nic, node, owner?.text]);

describe("planTakeOver()", () => {
  it("claims addresses of living Pods by their pool's records, with NIC and routes from the endpoint", () => {
    const found = plan(
      [pool("p", { "10.6.0.2": { pod: "default/a", podUid: "u-a" } })],
      [pod("a", ["10.6.0.2"])],
      [
        endpoint("a", "u-a", [
          {
            interface: "net1",
            ipv4: "10.6.0.2/16",
            ipv4Pool: "p",
            ipv4Gateway: "10.6.0.1",
            cleanGateway: true,
            routes: [
              { dst: "10.8.0.0/16", gw: "10.6.0.9" },
              { dst: "fd08::/64", gw: "fd06::9" },
            ],
          },
        ]),
      ],
    );
    assert.deepEqual(brief(found), [["10.6.0.2", "a", "net1", "n1", undefined]]);
    assert.deepEqual(found.claims[0]?.answer, {
      prefix: 16,
      gw: "10.6.0.1",
      clean: true,
      routes: [{ dst: "10.8.0.0/16", gw: "10.6.0.9" }],
    });
    assert.deepEqual(found.claims[0]?.pool, { name: "p", uid: "uid-p", generation: 3 });
    assert.deepEqual([found.problems, found.ended], [[], []]);
  });

  it("claims addresses that only one source has: for eth0 if the Pod's status has it, else each for its own NIC", () => {
    const records = {
      "10.6.0.2": { pod: "default/a", podUid: "u-a" },
      "10.6.0.3": { pod: "default/a", podUid: "u-a" },
      "10.6.0.4": { pod: "default/a", podUid: "u-a" },
    };
    const found = plan(
      [pool("p", records), pool("six", undefined, "fd06::/64")],
      [pod("a", ["10.6.0.2"])],
      [endpoint("a", "u-a", [{ interface: "eth0", ipv6: "fd06::2/64", ipv6Pool: "six" }])],
    );
    assert.deepEqual(
      brief(found).map(([ip, , nic]) => [ip, nic]),
      [
        ["10.6.0.2", "eth0"],
        ["10.6.0.3", "unknown1"],
        ["10.6.0.4", "unknown2"],
        ["fd06::2", "eth0"],
      ],
    );
  });

  it("leaves addresses of Pods that are gone free, even if another Pod has the name", () => {
    const found = plan([pool("p", { "10.6.0.2": { pod: "default/a", podUid: "former" } })], [pod("a")]);
    assert.deepEqual([brief(found), found.ended], [[], [{ pool: "p", ip: "10.6.0.2" }]]);
  });

  it("keeps a StatefulSet's addresses, both for running and for missing Pods", () => {
    const nic = (ip: string): readonly Nic[] => [{ interface: "eth0", ipv4: `${ip}/16`, ipv4Pool: "p" }];
    const endpoints = [
      endpoint("app-0", "u-app-0", nic("10.6.0.2"), "StatefulSet"),
      endpoint("app-1", "former", nic("10.6.0.3"), "StatefulSet"),
    ];
    const owner = { text: "apps/v1/StatefulSet/default/app", uid: "u" };
    const pods = [pod("app-0", ["10.6.0.2"], owner)];
    assert.deepEqual(brief(plan([pool("p")], pods, endpoints)), [
      ["10.6.0.2", "app-0", "eth0", "n1", owner.text],
      ["10.6.0.3", "app-1", "eth0", undefined, owner.text],
    ]);
    assert.deepEqual(brief(plan([pool("p")], pods, endpoints, false)).length, 1);
  });

  it("keeps the address of a virtual machine that is switched off, for its next Pod of any name", () => {
    const nic: readonly Nic[] = [{ interface: "eth0", ipv4: "10.6.0.2/16", ipv4Pool: "p" }];
    const record = { "10.6.0.2": { pod: "default/app", podUid: "former" } };
    const endpoints = [endpoint("app", "former", nic, "VirtualMachineInstance")];
    assert.deepEqual(brief(plan([pool("p", record)], [], endpoints)), [
      ["10.6.0.2", "app", "eth0", undefined, "kubevirt.io/v1/VirtualMachineInstance/default/app"],
    ]);
    assert.deepEqual(brief(plan([pool("p", record)], [], endpoints, false)), []);
  });

  it("lets the Pods' own statuses decide if two Pods are said to have one address, and reports both", () => {
    const found = plan(
      [pool("p", { "10.6.0.2": { pod: "default/a", podUid: "u-a" } })],
      [pod("a"), pod("b", ["10.6.0.2"])],
      [endpoint("b", "u-b", [{ interface: "eth0", ipv4: "10.6.0.2/16", ipv4Pool: "p" }])],
    );
    assert.deepEqual(
      brief(found).map(([ip, name]) => [ip, name]),
      [["10.6.0.2", "b"]],
    );
    assert.match(found.problems[0]?.why ?? "", /Pod default\/a is said to have it, too/);
  });

  it("names each bad entry, and takes over all others", () => {
    const records = {
      "10.6.0.300": { pod: "default/a", podUid: "u-a" },
      "10.6.0.2": { pod: "default/a", podUid: "u-a" },
      "10.6.0.3": { pod: "default/a" },
      "10.6.0.4": "a",
    };
    const found = plan(
      [pool("p", records), pool("broken", '{"10.6.0.9":'), pool("list", [1])],
      [pod("a", ["10.6.0.2"])],
      [
        endpoint("a", "u-a", [
          { interface: "eth0", ipv4: "10.6.0.2", ipv4Pool: "p" },
          { interface: "net1", ipv4: "10.6.0.7/16", ipv4Pool: "gone" },
        ]),
      ],
    );
    assert.deepEqual(brief(found), [["10.6.0.2", "a", "eth0", "n1", undefined]]);
    assert.deepEqual(
      found.problems.map(({ pool, entry }) => [pool, entry]),
      [
        ["p", "10.6.0.300"],
        ["p", "10.6.0.3"],
        ["p", "10.6.0.4"],
        ["broken", "status.allocatedIPs"],
        ["list", "status.allocatedIPs"],
        ["p", "10.6.0.2 of SpiderEndpoint default/a"],
        ["gone", "10.6.0.7/16 of SpiderEndpoint default/a"],
      ],
    );
  });
});
