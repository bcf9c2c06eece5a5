import type { SpiderMultusConfig } from "#api";
import type { Families } from "./addresses.ts";
import type { Attached } from "./pods.ts";

/** What a kernel may lack. A user-mode kernel (test/uml.test.ts) has all of it. */
export type Feature = "macvlan" | "ipvlan" | "vlan" | "bond" | "openvswitch";

/** One way to connect a Pod, as an administrator describes it. */
export interface Kind {
  readonly title: string;
  /** What the node's kernel needs. */
  readonly needs: readonly Feature[];
  /** The VLAN of the Pods on the switch; undefined: their frames are not tagged. */
  readonly vlan?: number;
  /** The network for Pods of this VLAN. */
  readonly spec: (vlan: number | undefined) => SpiderMultusConfig["spec"];
  /** Of the bridge that the node's first card is a port of. */
  readonly datapath?: "system" | "netdev";
  /** The kernel makes one such interface on a node. */
  readonly onePerNode?: true;
  /** The Pods' MAC addresses are the card's. */
  readonly sharesMac?: true;
}

const vlan = 100;
const tagged = (id: number | undefined) => (id === undefined ? {} : { vlanID: id });
const bond = { master: ["eth1", "eth2"], bond: { name: "bond0", mode: 1, options: "miimon=100" } };
const card = { master: ["eth0"] };

const macvlan = (on: typeof card | typeof bond) => (id: number | undefined) =>
  ({ cniType: "macvlan", macvlan: { ...on, ...tagged(id) } }) as const;
/** The prefix is without effect: the kernel refuses another MAC address than the parent's. */
const ipvlan = (on: typeof card | typeof bond) => (id: number | undefined) =>
  ({ cniType: "ipvlan", ipvlan: { ...on, ...tagged(id) }, coordinator: { podMACPrefix: "0a:1b" } }) as const;
const vlanOn = (on: typeof card | typeof bond) => (id: number | undefined) =>
  ({ cniType: "vlan", vlan: { ...on, vlanID: id ?? 0 } }) as const;
const ovs = (id: number | undefined) =>
  ({ cniType: "ovs", ovs: { bridge: "br1", ...(id !== undefined && { vlan: id }) } }) as const;

export const attachments: readonly Attached[] = ["underlay", "overlay + underlay"];

/** Every way in which traffic is tried; the suites beside this file take them by group. */
export const kinds = {
  ovs: [
    { title: "ovs, userspace datapath", needs: [], datapath: "netdev", spec: ovs },
    { title: "ovs, userspace datapath, access VLAN", needs: [], datapath: "netdev", vlan, spec: ovs },
  ],
  ovsKernel: [
    { title: "ovs, kernel datapath", needs: ["openvswitch"], datapath: "system", spec: ovs },
    { title: "ovs, kernel datapath, access VLAN", needs: ["openvswitch"], datapath: "system", vlan, spec: ovs },
  ],
  macvlan: [{ title: "macvlan", needs: ["macvlan"], spec: macvlan(card) }],
  macvlanByIfacer: [
    { title: "macvlan on a VLAN (ifacer)", needs: ["macvlan", "vlan"], vlan, spec: macvlan(card) },
    {
      title: "macvlan on a VLAN of a bond (ifacer)",
      needs: ["macvlan", "vlan", "bond"],
      vlan,
      spec: macvlan(bond),
    },
  ],
  ipvlan: [
    { title: "ipvlan", needs: ["ipvlan"], sharesMac: true, spec: ipvlan(card) },
    { title: "ipvlan on a VLAN (ifacer)", needs: ["ipvlan", "vlan"], vlan, sharesMac: true, spec: ipvlan(card) },
    {
      title: "ipvlan on a VLAN of a bond (ifacer)",
      needs: ["ipvlan", "vlan", "bond"],
      vlan,
      sharesMac: true,
      spec: ipvlan(bond),
    },
  ],
  vlan: [
    { title: "vlan", needs: ["vlan"], vlan, onePerNode: true, sharesMac: true, spec: vlanOn(card) },
    {
      title: "vlan on a bond (ifacer)",
      needs: ["vlan", "bond"],
      vlan,
      onePerNode: true,
      sharesMac: true,
      spec: vlanOn(bond),
    },
  ],
} as const satisfies Readonly<Record<string, readonly Kind[]>>;

/** Which families the Pods have, one after the other. */
export const familiesOfPods: readonly Families[] = ["v4", "v6", "dual"];
