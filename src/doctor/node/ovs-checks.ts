import { formatPrefix } from "#ip";
import type { OvsPort } from "#ovsdb";
import type { Check, Fault } from "../check.ts";
import { bridgesOf, type NetworkFacts, type NodeFacts } from "./facts.ts";
import { quote } from "./file-checks.ts";

const linkLocalScope = /^fe[89ab]/i;

/** Checks of Open vSwitch and of the bridges that networks use. */
export const ovsChecks: readonly Check<NodeFacts>[] = [
  {
    id: "ovs-socket",
    severity: "error",
    finding: "Networks on Open vSwitch are defined, or Pods are on one, and its database does not answer.",
    remedy: "Start Open vSwitch.",
    find: (facts) => {
      const { ovs } = facts;
      if (ovs.error === undefined || bridgesOf(facts).size === 0) return [];
      return [
        {
          found: `Open vSwitch's database ${ovs.endpoint} does not answer: ${ovs.error}`,
          fix: ["systemctl start openvswitch-switch || systemctl start openvswitch"],
        },
      ];
    },
  },
  {
    id: "bridge-missing",
    severity: "error",
    finding: "A bridge that Pods of this node are on, or that was named for this node, is not there.",
    remedy: "Make the bridge, with the node's interface to that network as a port.",
    find: (facts) =>
      missingBridges(facts).map((bridge) => ({
        found: `there is no bridge ${bridge}; there are: ${facts.ovs.bridges.map(({ name }) => name).join(", ") || "none"}`,
        fix: [`ovs-vsctl --may-exist add-br ${quote(bridge)}`, ...joinUplink(facts, bridge)],
      })),
  },
  {
    id: "bridge-without-uplink",
    severity: "error",
    finding:
      "A bridge that networks use has no port but those of Pods, or none that is up: Pods reach only each other.",
    remedy: "Add the node's interface to that network as a port, or set it up.",
    find: (facts) =>
      closedBridges(facts).map(({ bridge, uplinks }) => {
        if (uplinks.length === 0) {
          return {
            found: `bridge ${bridge} has no uplink: no port of it leaves the node`,
            fix: joinUplink(facts, bridge),
          };
        }
        const names = uplinks.map(({ name }) => name).sort();
        return {
          found: `bridge ${bridge} has no uplink that is up: ${names.join(", ")} is down`,
          fix: names.map((name) => `ip link set dev ${quote(name)} up`),
        };
      }),
  },
  {
    id: "uplink-address",
    severity: "error",
    finding: "The uplink of a bridge has an address of the node: what arrives for it never reaches the kernel.",
    remedy: "Move the address, and the default route by it, to the bridge.",
    find: (facts) =>
      usedBridges(facts).flatMap(({ bridge, uplinks }) => uplinks.flatMap((port) => moved(facts, bridge, port))),
  },
  {
    id: "stale-port",
    severity: "warning",
    finding:
      "A port of ours whose network device is gone: its Pod ended while nobody looked. The agent removes it after two looks.",
    remedy: "Remove the port.",
    find: ({ ovs: { ports }, host: { links } }) =>
      ports
        .filter(({ owner, name }) => owner !== undefined && !links.some((link) => link.name === name))
        .map(({ bridge, name }) => ({
          found: `port ${name} of bridge ${bridge} has no network device any more`,
          fix: [`ovs-vsctl --if-exists del-port ${quote(bridge)} ${quote(name)}`],
        })),
  },
  {
    id: "mtu",
    severity: "error",
    finding: "Pods may send packets larger than the uplink passes: small ones arrive, large ones vanish.",
    remedy: "Raise the uplink's MTU (and the switch's), or lower that of the network.",
    find: (facts) =>
      usedBridges(facts).flatMap(({ bridge, uplinks }) => uplinks.flatMap((port) => tooSmall(facts, bridge, port))),
  },
  {
    id: "vlan-mismatch",
    severity: "error",
    finding: "A network's VLAN does not pass the uplink of its bridge.",
    remedy: "Let the uplink carry the VLAN.",
    find: (facts) =>
      facts.networks.flatMap((network) =>
        usedBridges(facts)
          .filter(({ bridge }) => bridge === network.bridge)
          .flatMap(({ uplinks }) => uplinks.flatMap((port) => blocked(network, port))),
      ),
  },
];

function missingBridges({ ovs, bridges, pods }: NodeFacts): readonly string[] {
  if (ovs.error !== undefined) return [];
  const wanted = new Set([...bridges, ...bridgesOf({ networks: [], pods })]);
  return [...wanted].filter((name) => !ovs.bridges.some((bridge) => bridge.name === name));
}

/** The bridges in use that exist, each with its uplinks: the ports that are neither Pods' nor the bridge's own. */
function usedBridges(facts: NodeFacts): readonly { readonly bridge: string; readonly uplinks: readonly OvsPort[] }[] {
  const { ovs } = facts;
  if (ovs.error !== undefined) return [];
  return [...bridgesOf(facts)]
    .filter((name) => ovs.bridges.some((bridge) => bridge.name === name))
    .map((bridge) => ({
      bridge,
      uplinks: ovs.ports.filter(
        (port) =>
          port.bridge === bridge &&
          port.owner === undefined &&
          port.name !== bridge &&
          port.interfaceType !== "internal",
      ),
    }));
}

/** Bridges without an uplink that works. An uplink that the kernel has no interface for (a bond, a tunnel) counts as working. */
function closedBridges(facts: NodeFacts): ReturnType<typeof usedBridges> {
  const isDown = ({ name }: OvsPort) => facts.host.links.some((link) => link.name === name && !link.up);
  return usedBridges(facts).filter(({ uplinks }) => uplinks.every(isDown));
}

/** Whether a Pod's NIC is on a bridge that does not exist or that has no working uplink. */
export function isShutIn(
  facts: NodeFacts,
  { pod, ifName }: { readonly pod: string; readonly ifName: string },
): boolean {
  const nic = facts.pods.find((one) => one.pod === pod)?.nics.find((one) => one.ifName === ifName);
  const closed = [...missingBridges(facts), ...closedBridges(facts).map(({ bridge }) => bridge)];
  return nic?.bridge !== undefined && closed.includes(nic.bridge);
}

function joinUplink(facts: NodeFacts, bridge: string): readonly string[] {
  const free = freeInterface(facts);
  return [`ovs-vsctl --may-exist add-port ${quote(bridge)} ${free}`, `ip link set dev ${free} up`];
}

/** The only interface that could become the uplink. If there are several or none, a word for the user to replace. */
function freeInterface({ host: { links, addresses, defaultRoutes }, ovs: { ports } }: NodeFacts): string {
  const [first, ...others] = links.filter(
    ({ name, kind, mac, master }) =>
      (kind === undefined || kind === "bond") &&
      mac !== undefined &&
      mac !== "00:00:00:00:00:00" &&
      master === undefined &&
      !ports.some((port) => port.name === name) &&
      !addresses.some(({ dev, address }) => dev === name && !linkLocalScope.test(formatPrefix(address))) &&
      !defaultRoutes.some(({ dev }) => dev === name),
  );
  return first !== undefined && others.length === 0 ? quote(first.name) : "INTERFACE";
}

function moved({ host: { addresses, defaultRoutes } }: NodeFacts, bridge: string, { name }: OvsPort): readonly Fault[] {
  const own = addresses
    .filter(({ dev }) => dev === name)
    .map(({ address }) => formatPrefix(address))
    .filter((text) => !linkLocalScope.test(text));
  if (own.length === 0) return [];
  const routes = defaultRoutes.filter(({ dev }) => dev === name);
  return [
    {
      found: `uplink ${name} of bridge ${bridge} has ${own.join(", ")}: no packet for it reaches the kernel`,
      fix: [
        ...own.flatMap((text) => [
          `ip addr del ${text} dev ${quote(name)}`,
          `ip addr add ${text} dev ${quote(bridge)}`,
        ]),
        `ip link set dev ${quote(bridge)} up`,
        ...routes.map(
          ({ gateway, family }) => `ip -${family} route replace default via ${gateway} dev ${quote(bridge)}`,
        ),
      ],
    },
  ];
}

function tooSmall({ host: { links }, ovs: { ports } }: NodeFacts, bridge: string, uplink: OvsPort): readonly Fault[] {
  const mtuOf = (name: string) => links.find((link) => link.name === name)?.mtuBytes;
  const own = mtuOf(uplink.name);
  if (own === undefined) return [];
  const ours = ports.filter((port) => port.bridge === bridge && port.owner !== undefined);
  const greater = ours.filter(({ name }) => (mtuOf(name) ?? 0) > own).sort((a, b) => a.name.localeCompare(b.name));
  const [example] = greater;
  if (example === undefined) return [];
  const needed = Math.max(...greater.map(({ name }) => mtuOf(name) ?? 0));
  return [
    {
      found: `uplink ${uplink.name} of bridge ${bridge} has an MTU of ${own}, ${greater.length === 1 ? "a Pod's port" : `${greater.length} Pods' ports up to`} ${needed} (${example.name})`,
      fix: [`ip link set dev ${quote(uplink.name)} mtu ${needed}`],
    },
  ];
}

/**
 * A fault if VLANs of the network cannot pass the uplink. A trunk passes the VLANs in its list; 0, for untagged frames, must be
 * in the list, too. An access port passes only its own VLAN.
 */
function blocked({ name, vlans }: NetworkFacts, { vlan, name: port }: OvsPort): readonly Fault[] {
  if (vlans === undefined) return [];
  if (vlan.mode === "access") {
    const wrong = vlans.filter((id) => id !== vlan.tag);
    if (wrong.length === 0) return [];
    return [
      {
        found: `network ${name} uses VLAN ${wrong.join(", ")}, its uplink ${port} is an access port of VLAN ${vlan.tag}`,
        fix: [`ovs-vsctl clear port ${quote(port)} tag vlan_mode`],
      },
    ];
  }
  const wrong = vlans.filter((id) => vlan.ids.length > 0 && !vlan.ids.includes(id));
  if (wrong.length === 0) return [];
  return [
    {
      found: `network ${name} uses VLAN ${wrong.join(", ")}, its uplink ${port} passes only ${vlan.ids.join(", ")}`,
      fix: [`ovs-vsctl add port ${quote(port)} trunks ${wrong.join(" ")}`],
    },
  ];
}
