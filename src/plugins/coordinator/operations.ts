import { assertNever } from "#base";
import { formatIp, formatPrefix, type Ip, type Prefix } from "#ip";
import { type LinkChange, type LinkRef, mainTable, type RouteSpec, type RuleSpec } from "#linux";
import type { PairSpec } from "../pairs.ts";

/** One thing to be done in a namespace. */
export type Change =
  | { readonly kind: "link"; readonly name: string; readonly change: LinkChange }
  | { readonly kind: "address"; readonly dev: string; readonly address: Prefix }
  | { readonly kind: "neighbour"; readonly dev: string; readonly ip: Ip; readonly mac: string }
  | { readonly kind: "dropNeighbour"; readonly dev: LinkRef; readonly ip: Ip }
  /** `replace` takes the place of a route to the same destination, whose address now belongs to this Pod. */
  | { readonly kind: "route"; readonly route: RouteSpec; readonly replace?: boolean }
  | { readonly kind: "dropRoute"; readonly route: RouteSpec }
  | { readonly kind: "rule"; readonly rule: RuleSpec }
  | { readonly kind: "dropRule"; readonly rule: RuleSpec };

/** A setting below /proc/sys, as `writeSysctl` takes it. */
export interface Setting {
  readonly key: string;
  readonly value: number;
}

/** What is to be done, in the order in which it is done. */
export interface Operations {
  /** Made first; both ends are up from then on. */
  readonly veth: PairSpec | undefined;
  readonly podSettings: readonly Setting[];
  readonly pod: readonly Change[];
  /** The reply marks are missing. */
  readonly replyMarks: boolean;
  readonly hostSettings: readonly Setting[];
  /** Brings up the node's end first: routes need it. */
  readonly host: readonly Change[];
  /** Addresses that have moved to another MAC address. */
  readonly announce: readonly Ip[];
}

/** A line per operation, as the ip command would write them; empty where everything is in place. */
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
