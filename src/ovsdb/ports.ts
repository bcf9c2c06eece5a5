import { SpiderError } from "#base";
import type { Cache } from "./cache.ts";
import { mirrorsOf } from "./mirrors.ts";
import { attachOperations, bridgeOperations, detachOperation } from "./operations.ts";
import type { Plan, Refusal } from "./transactions.ts";
import type { OvsPort, PortOwner, PortSpec, PortsToDetach } from "./types.ts";

/**
 * Adds a port to a bridge, which is made with it where that is asked for. A port of ours with this name is replaced, unless
 * it is as asked for already.
 *
 * @throws SpiderError OVS_PORT_FOREIGN
 */
export function planAttach(cache: Cache, spec: PortSpec, id: number): Plan<void> {
  const present = cache.port(spec.name);
  const touches = [spec.name, ownerKey(spec.owner)];
  if (present === undefined) {
    const risky = !cache.hasBridge(spec.bridge);
    const made = risky && spec.createBridge !== undefined;
    const bridge = made ? bridgeOperations(spec.bridge, spec.createBridge.datapathType, id) : [];
    return { operations: [...bridge, ...attachOperations(spec, id)], touches, risky, value: undefined };
  }
  if (present.owner === undefined || ownerKey(present.owner) !== ownerKey(spec.owner)) throw foreign(present);
  if (matches(present, spec)) return { operations: [], touches, value: undefined };
  return { operations: [detachOperation(present), ...attachOperations(spec, id)], touches, value: undefined };
}

/**
 * Takes ports off their bridges, and with them our mirrors that then have no port. The outcome is the ports' names.
 *
 * @throws SpiderError OVS_PORT_FOREIGN
 */
export function planDetach(cache: Cache, which: PortsToDetach): Plan<readonly string[]> {
  const found = typeof which === "string" ? [cache.port(which) ?? []].flat() : portsOf(cache, which);
  for (const port of found) if (port.owner === undefined) throw foreign(port);
  const names = found.map((port) => port.name);
  const mirrors = mirrorsOf(cache, names);
  const touches = [...names, typeof which === "string" ? which : ownerKey(which), ...mirrors.touches];
  return { operations: [...found.map(detachOperation), ...mirrors.operations], touches, value: names };
}

/** What a refusal of `planAttach`'s transaction means. */
export function explainAttach(cache: Cache, spec: PortSpec, refusal: Refusal): SpiderError {
  // RFC 7047 §5.2.6: this is how `wait` says that the condition, here that the bridge exists, did not hold.
  if (refusal.error === "timed out") {
    return new SpiderError("OVS_BRIDGE_UNKNOWN", "there is no such Open vSwitch bridge on this node", {
      details: {
        bridge: spec.bridge,
        existing: [...cache.bridges().keys()].sort(),
        fix: `create it (ovs-vsctl add-br ${spec.bridge}) or name one that exists`,
      },
    });
  }
  return new SpiderError("OVSDB_REFUSED", "Open vSwitch's database refused the port", {
    details: { port: spec.name, bridge: spec.bridge, ...refusal },
  });
}

/** What a refusal of `planDetach`'s transaction means. */
export function explainDetach(which: PortsToDetach, refusal: Refusal): SpiderError {
  return new SpiderError("OVSDB_REFUSED", "Open vSwitch's database refused to remove the port", {
    details: { port: which, ...refusal },
  });
}

type Owner = Pick<PortOwner, "contNetns" | "contIface">;

function portsOf(cache: Cache, of: Owner): readonly OvsPort[] {
  return [...cache.ports().values()].filter(({ owner }) => owner !== undefined && ownerKey(owner) === ownerKey(of));
}

function ownerKey({ contNetns, contIface }: Owner): string {
  return `${contNetns}\0${contIface}`;
}

/** The port is already as it is asked for, as after a transaction whose reply was lost. */
function matches(port: OvsPort, spec: PortSpec): boolean {
  return (
    port.bridge === spec.bridge &&
    port.owner?.contPodUid === spec.owner.contPodUid &&
    port.ifaceId === spec.ifaceId &&
    port.interfaceType === (spec.interfaceType ?? "system") &&
    JSON.stringify(sortedVlan(port.vlan)) === JSON.stringify(sortedVlan(spec.vlan))
  );
}

function sortedVlan(vlan: PortSpec["vlan"]): readonly unknown[] {
  return vlan.mode === "access" ? [vlan.tag] : ["trunk", ...[...vlan.ids].sort((a, b) => a - b)];
}

function foreign(port: OvsPort): SpiderError {
  return new SpiderError("OVS_PORT_FOREIGN", "a port of this name belongs to something else and is left alone", {
    details: { port: port.name, bridge: port.bridge, owner: port.owner ?? "not created by this product" },
  });
}
