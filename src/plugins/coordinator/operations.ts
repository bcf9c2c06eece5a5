import { assertNever } from "#base";
import { formatIp, formatPrefix, type Ip, type Prefix } from "#ip";
import { type LinkChange, type LinkRef, mainTable, type RouteSpec, type RuleSpec } from "#linux";
import type { PairSpec } from "../pairs.ts";

/** One change in a namespace. */
export type Change =
  | { readonly kind: "link"; readonly name: string; readonly change: LinkChange }
  | { readonly kind: "address"; readonly dev: string; readonly address: Prefix }
  | { readonly kind: "neighbour"; readonly dev: string; readonly ip: Ip; readonly mac: string }
  | { readonly kind: "dropNeighbour"; readonly dev: LinkRef; readonly ip: Ip }
  /** `replace`: also replaces another route to the destination, because the address belongs to this Pod now. */
  | { readonly kind: "route"; readonly route: RouteSpec; readonly replace?: boolean }
  | { readonly kind: "dropRoute"; readonly route: RouteSpec }
  | { readonly kind: "rule"; readonly rule: RuleSpec }
  | { readonly kind: "dropRule"; readonly rule: RuleSpec };

/** A setting below /proc/sys, as `writeSysctl` takes it. */
export interface Setting {
  readonly key: string;
  readonly value: number;
}

/** A plan: its parts are carried out in this order. */
export interface Operations {
  /** The pair to make, if it is missing; both ends come up. */
  readonly veth: PairSpec | undefined;
  readonly podSettings: readonly Setting[];
  readonly pod: readonly Change[];
  /** Whether the nf_tables rules that mark connections are missing in the Pod. */
  readonly replyMarks: boolean;
  readonly hostSettings: readonly Setting[];
  /** Changes on the node. The first brings up the node's end, because routes need it. */
  readonly host: readonly Change[];
  /** Addresses whose MAC address changes: they are announced. */
  readonly announce: readonly Ip[];
}

/** The plan as text, a line for each operation, in the words of ip(8). Empty if nothing is to be done. */
export function formatOperations(operations: Operations): readonly string[] {
  const { veth, podSettings, pod, replyMarks, hostSettings, host } = operations;
  return [
    ...(veth === undefined ? [] : [`veth ${veth.pod.name} peer ${veth.name} mtu ${veth.mtuBytes}`]),
    ...podSettings.map(({ key, value }) => `pod: sysctl ${key}=${value}`),
    ...pod.map((change) => `pod: ${formatChange(change)}`),
    ...(replyMarks ? ["pod: reply marks"] : []),
    ...hostSettings.map(({ key, value }) => `node: sysctl ${key}=${value}`),
    ...host.map((change) => `node: ${formatChange(change)}`),
  ];
}

function formatChange(change: Change): string {
  switch (change.kind) {
    case "link":
      return `link ${change.name} ${JSON.stringify(change.change)}`;
    case "address":
      return `address ${formatPrefix(change.address)} dev ${change.dev}`;
    case "neighbour":
      return `neighbour ${formatIp(change.ip)} at ${change.mac} dev ${change.dev}`;
    case "dropNeighbour":
      return `no neighbour ${formatIp(change.ip)} dev ${change.dev}`;
    case "route":
      return `route ${formatRoute(change.route)}`;
    case "dropRoute":
      return `no route ${formatRoute(change.route)}`;
    case "rule":
      return `rule ${formatRule(change.rule)}`;
    case "dropRule":
      return `no rule ${formatRule(change.rule)}`;
    default:
      return assertNever(change);
  }
}

function formatRoute({ dst, gw, dev, src, table = mainTable }: RouteSpec): string {
  return [
    formatPrefix(dst),
    ...(gw === undefined ? [] : [`via ${formatIp(gw)}`]),
    ...(dev === undefined ? [] : [`dev ${dev}`]),
    ...(src === undefined ? [] : [`src ${formatIp(src)}`]),
    `table ${table}`,
  ].join(" ");
}

function formatRule({ family, from, fwmark, table, pref }: RuleSpec): string {
  return [
    `IPv${family}`,
    `from ${from === undefined ? "all" : formatPrefix(from)}`,
    ...(fwmark === undefined ? [] : [`fwmark ${fwmark}`]),
    `lookup ${table}`,
    ...(pref === undefined ? [] : [`pref ${pref}`]),
  ].join(" ");
}
