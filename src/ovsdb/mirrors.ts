import { SpiderError } from "#base";
import type { Cache } from "./cache.ts";
import type { Operation } from "./operations.ts";
import type { Plan, Refusal } from "./transactions.ts";
import { type MirrorRole, type OvsMirror, type OvsPort, portOwnerTag } from "./types.ts";
import { encodeMap, encodeNamedUuid, encodeSet, encodeUuid } from "./values.ts";

const columns = { source: "select_src_port", destination: "select_dst_port" } as const;

/**
 * Gives a port its part in a mirror, and makes the mirror with it if there is none: our mirrors always have a port. Mirrors of
 * the bridge that lost their ports, because Pods vanished, are removed in the same transaction.
 *
 * @throws SpiderError OVS_PORT_UNKNOWN, OVS_MIRROR_FOREIGN, OVS_MIRROR_TAKEN
 */
export function planMirror(cache: Cache, role: MirrorRole, id: number): Plan<void> {
  const port = cache.port(role.port);
  if (port === undefined || port.bridge !== role.bridge) throw unknownPort(role, port);
  const mirror = mirrorOf(cache, role);
  if (mirror?.owned === false) throw foreignMirror(mirror);
  if (role.sides.includes("output") && mirror?.output !== undefined && mirror.output !== port.name) {
    throw takenMirror(role, mirror.output);
  }
  const operations = mirror === undefined ? create(role, port, id) : join(mirror, role, port);
  const others = emptyMirrors(cache, role.bridge).filter(({ uuid }) => uuid !== mirror?.uuid);
  return { operations: [...operations, ...others.map(remove)], touches: [key(role)], value: undefined };
}

/** Takes a port out of a mirror. Removes all our mirrors on the bridge that then have no port. */
export function planUnmirror(cache: Cache, role: MirrorRole): Plan<void> {
  const mirror = mirrorOf(cache, role);
  const port = cache.port(role.port);
  const others = emptyMirrors(cache, role.bridge).filter(({ uuid }) => uuid !== mirror?.uuid);
  const own = mirror === undefined || !mirror.owned ? [] : leave(mirror, role, port);
  return { operations: [...own, ...others.map(remove)], touches: [key(role)], value: undefined };
}

/** Removes, with the ports, our mirrors that have no other port, even if an agent was killed before it recorded them. */
export function mirrorsOf(cache: Cache, ports: readonly string[]): Pick<Plan<void>, "operations" | "touches"> {
  const isLeaving = ({ owned, sources, destinations, output }: OvsMirror) =>
    owned && [...sources, ...destinations, output].every((name) => name === undefined || ports.includes(name));
  const leaving = ports.length === 0 ? [] : cache.mirrors().filter(isLeaving);
  return { operations: leaving.map(remove), touches: leaving.map(key) };
}

/** What a refusal of `planMirror`'s transaction means. */
export function explainMirror(role: MirrorRole, refusal: Refusal): SpiderError {
  // Its one `wait` is for an output that is free.
  if (refusal.error === "timed out") return takenMirror(role, "another one");
  return new SpiderError("OVSDB_REFUSED", "Open vSwitch's database refused the mirror", {
    details: { mirror: role.mirror, bridge: role.bridge, port: role.port, ...refusal },
  });
}

/** The port has this part in the mirror. */
export function hasRole(mirror: OvsMirror, { port, sides }: Pick<MirrorRole, "port" | "sides">): boolean {
  return sides.every((side) => portsOf(mirror, side).includes(port));
}

function portsOf({ sources, destinations, output }: OvsMirror, side: MirrorRole["sides"][number]): readonly string[] {
  if (side === "output") return output === undefined ? [] : [output];
  return side === "source" ? sources : destinations;
}

function mirrorOf(cache: Cache, { bridge, mirror }: MirrorRole): OvsMirror | undefined {
  return cache.mirrors().find((one) => one.bridge === bridge && one.name === mirror);
}

function emptyMirrors(cache: Cache, bridge: string): readonly OvsMirror[] {
  return cache.mirrors().filter((one) => one.bridge === bridge && one.owned && isEmpty(one));
}

function isEmpty({ sources, destinations, output }: OvsMirror): boolean {
  return sources.length + destinations.length === 0 && output === undefined;
}

function create({ bridge, mirror, sides }: MirrorRole, { uuid }: OvsPort, id: number): readonly Operation[] {
  const port = encodeUuid(uuid);
  return [
    {
      op: "insert",
      table: "Mirror",
      "uuid-name": `newMirror${id}`,
      row: {
        name: mirror,
        external_ids: encodeMap({ owner: portOwnerTag }),
        ...(sides.includes("source") && { [columns.source]: encodeSet([port]) }),
        ...(sides.includes("destination") && { [columns.destination]: encodeSet([port]) }),
        ...(sides.includes("output") && { output_port: port }),
      },
    },
    {
      op: "mutate",
      table: "Bridge",
      where: [["name", "==", bridge]],
      mutations: [["mirrors", "insert", encodeSet([encodeNamedUuid(`newMirror${id}`)])]],
    },
  ];
}

function join(mirror: OvsMirror, { sides }: MirrorRole, port: OvsPort): readonly Operation[] {
  const where = [["_uuid", "==", encodeUuid(mirror.uuid)]];
  const ofMirror = { table: "Mirror", where };
  return sides
    .filter((side) => !portsOf(mirror, side).includes(port.name))
    .flatMap((side): readonly Operation[] => {
      if (side !== "output") {
        return [
          { op: "mutate", ...ofMirror, mutations: [[columns[side], "insert", encodeSet([encodeUuid(port.uuid)])]] },
        ];
      }
      const free = { columns: ["output_port"], until: "==", rows: [{ output_port: encodeSet([]) }], timeout: 0 };
      return [
        { op: "wait", ...ofMirror, ...free },
        { op: "update", ...ofMirror, row: { output_port: encodeUuid(port.uuid) } },
      ];
    });
}

function leave(mirror: OvsMirror, { port: name, sides }: MirrorRole, port: OvsPort | undefined): readonly Operation[] {
  const without = (side: "source" | "destination") =>
    portsOf(mirror, side).filter((one) => one !== name || !sides.includes(side));
  const output = sides.includes("output") && mirror.output === name ? undefined : mirror.output;
  if (isEmpty({ ...mirror, sources: without("source"), destinations: without("destination"), output }))
    return [remove(mirror)];
  const ofMirror = { table: "Mirror", where: [["_uuid", "==", encodeUuid(mirror.uuid)]] };
  return sides
    .filter((side) => portsOf(mirror, side).includes(name))
    .flatMap((side): readonly Operation[] => {
      if (side === "output") return [{ op: "update", ...ofMirror, row: { output_port: encodeSet([]) } }];
      if (port === undefined) return []; // It left with its row.
      return [
        { op: "mutate", ...ofMirror, mutations: [[columns[side], "delete", encodeSet([encodeUuid(port.uuid)])]] },
      ];
    });
}

/** A mirror is no root row: without the bridge's reference it is collected at commit. */
function remove({ bridge, uuid }: OvsMirror): Operation {
  return {
    op: "mutate",
    table: "Bridge",
    where: [["name", "==", bridge]],
    mutations: [["mirrors", "delete", encodeSet([encodeUuid(uuid)])]],
  };
}

/** All mirrors of a bridge: a change of one may remove others. */
function key({ bridge }: Pick<MirrorRole, "bridge">): string {
  return `mirrors of ${bridge}`;
}

function unknownPort({ bridge, port: name }: MirrorRole, port: OvsPort | undefined): SpiderError {
  return new SpiderError("OVS_PORT_UNKNOWN", "the bridge has no such port to be mirrored", {
    details: { port: name, bridge, found: port === undefined ? "no port" : `on bridge ${port.bridge}` },
  });
}

function foreignMirror({ name, bridge }: OvsMirror): SpiderError {
  return new SpiderError("OVS_MIRROR_FOREIGN", "a mirror of this name belongs to somebody else and is left alone", {
    details: {
      mirror: name,
      bridge,
      fix: "name another mirror, or delete that one (ovs-vsctl clear bridge … mirrors)",
    },
  });
}

function takenMirror({ mirror, bridge, port }: MirrorRole, output: string): SpiderError {
  return new SpiderError("OVS_MIRROR_TAKEN", "the mirror has another consumer, and it can have only one", {
    details: {
      mirror,
      bridge,
      wanted: port,
      consumer: output,
      fix: "delete the Pod that consumes it, or name another mirror",
    },
  });
}
