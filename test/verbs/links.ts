import { after } from "node:test";
import { silentLogger, Tasks } from "#base";
import { parsePrefix } from "#ip";
import { createNetns, hostNetns } from "#linux";
import {
  createCoordinatorPlugin,
  createIfacerPlugin,
  createIpvlanPlugin,
  createMacvlanPlugin,
  createVlanPlugin,
  type Plugin,
} from "#plugins";
import { hostState } from "./host-state.ts";
import { ipamFor, type VerbsCase, verbsSuite } from "./suite.ts";

/** Tries networks on a node that has the cards eth1, which is up, eth2 and eth3. To be called in an isolated test file. */
export function tryLinks(title: string, cases: readonly VerbsCase[]): void {
  const host = hostNetns();
  const tasks = new Tasks(silentLogger);
  using far = createNetns("/run/netns/far");
  for (const name of ["eth1", "eth2", "eth3"]) {
    host.rtnl.createVeth({ name, up: name === "eth1", peer: { name, netns: far, up: true } });
  }
  host.rtnl.addAddress("eth1", parsePrefix("172.18.0.3/24"));
  after(() => tasks.stop());

  const options = { host, tasks, ipamFor };
  const clusterConfig = async () => ({ mode: "underlay", serviceCIDR: ["10.233.0.0/18"] }) as const;
  const plugins = [
    createMacvlanPlugin(options),
    createIpvlanPlugin(options),
    createVlanPlugin(options),
    createIfacerPlugin({ host, log: silentLogger }),
    createCoordinatorPlugin({ host, tasks, clusterConfig }),
  ] as unknown as readonly Plugin<never>[];
  verbsSuite(title, cases, { plugins, state: () => hostState(host) });
}
