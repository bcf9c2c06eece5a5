import { after } from "node:test";
import { parsePrefix } from "#ip";
import { hostNetns } from "#linux";
import {
  createCoordinatorPlugin,
  createMirrorPlugin,
  createOvsPlugin,
  createPassthruPlugin,
  type Plugin,
} from "#plugins";
import { isolated } from "../../src/linux/testing/isolated.ts";
import { startOvsNode } from "../../src/plugins/testing/ovs-node.ts";
import { hostState } from "./host-state.ts";
import { ipamFor, verbsSuite } from "./suite.ts";

const port = { type: "ovs", bridge: "br1", vlan: 10, ipam: { type: "spiderpool" } };
const trunk = { type: "ovs", bridge: "br1", trunk: [{ id: 10 }, { minID: 20, maxID: 22 }] };
const producer = { type: "ovs-mirror-producer", bridge: "br1", mirrors: [{ name: "m1", ingress: true }] };
const consumer = { type: "ovs-mirror-consumer", bridge: "br1", mirrors: [{ name: "m2" }] };

if (isolated(import.meta.url)) {
  const ovsNode = startOvsNode();
  const { real, ovs, tasks } = ovsNode;
  const host = hostNetns();
  host.rtnl.createVeth({ name: "node0", up: true, peer: { name: "far0", netns: host, up: true } });
  host.rtnl.addAddress("node0", parsePrefix("172.18.0.3/24"));
  after(() => ovsNode[Symbol.asyncDispose]());

  const plugins = [
    createOvsPlugin({
      host,
      ovsFor: () => ovs,
      ipamFor,
      tasks,
      flatFiles: [],
    }),
    createCoordinatorPlugin({
      host,
      tasks,
      clusterConfig: async () => ({ mode: "underlay", serviceCIDR: ["10.233.0.0/18"] }) as const,
    }),
    createMirrorPlugin("producer", { ovsFor: () => ovs, flatFiles: [] }),
    createMirrorPlugin("consumer", { ovsFor: () => ovs, flatFiles: [] }),
    createPassthruPlugin(),
  ] as unknown as readonly Plugin<never>[];

  verbsSuite(
    "the verbs of CNI on Open vSwitch",
    [
      {
        title: "ovs, both mirror plugins and coordinator",
        plugins: [port, producer, consumer, { type: "coordinator" }],
      },
      {
        title: "passthru and ovs with a trunk and without addresses",
        plugins: [{ type: "passthru" }, trunk],
        versionsOnly: true,
      },
    ],
    {
      plugins,
      state: () => {
        return [...hostState(host), real.vsctl("list-ports", "br1", "--", "--columns=name", "list", "mirror")];
      },
    },
  );
}
