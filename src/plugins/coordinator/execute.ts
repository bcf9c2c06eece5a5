import { assertNever } from "#base";
import { formatIp, formatPrefix, networkOf } from "#ip";
import { type Batch, LinuxError, type Netns, type VethEnd, writeSysctl } from "#linux";
import { invalid } from "../decode.ts";
import { makePairs } from "../pairs.ts";
import type { Settings } from "./config.ts";
import { replyMark } from "./connectivity.ts";
import type { Change, Operations } from "./operations.ts";
import type { ReplyMarks } from "./reply-marks.ts";
import { vethName } from "./role.ts";
import type { Observed } from "./state.ts";

interface ExecuteOptions {
  readonly host: Netns;
  readonly pod: Netns;
  readonly marks: ReplyMarks;
  readonly settings: Pick<Settings, "policyRoutes">;
}

/**
 * Carries out a plan: makes the pair, then one batch of changes in the Pod, then one on the node.
 *
 * @throws LinuxError for what the kernel refuses; CniError 7 if that is a configured route
 */
export async function execute(
  operations: Operations,
  observed: Pick<Observed, "pod" | "host" | "ifName">,
  { host, pod, marks, settings }: ExecuteOptions,
): Promise<void> {
  const { veth, podSettings, hostSettings, replyMarks } = operations;
  const [pair] = veth === undefined ? [] : await makePairs(host, pod, [veth]);
  for (const { key, value } of podSettings) writeSysctl(pod, key, value);
  try {
    apply(pod, operations.pod, indexesOf(observed.pod.links, pair?.peer));
  } catch (error) {
    throw refusedRoute(error, observed, settings) ?? error;
  }
  if (replyMarks) marks.ensure(pod, vethName, replyMark);
  for (const { key, value } of hostSettings) writeSysctl(host, key, value);
  apply(host, operations.host, indexesOf(observed.host.links, pair));
}

/** The error for the `policyRoutes` entry that the kernel refused: its own words name neither the key nor what the NIC reaches. */
function refusedRoute(
  error: unknown,
  { pod, ifName }: Pick<Observed, "pod" | "ifName">,
  { policyRoutes }: Pick<Settings, "policyRoutes">,
) {
  if (!(error instanceof LinuxError)) return undefined;
  const refused = ({ dst, gw }: Settings["policyRoutes"][number]) =>
    error.attempted.startsWith(`add route ${formatPrefix(dst)} via ${formatIp(gw)} `);
  const route = policyRoutes.find(refused);
  if (route === undefined) return undefined;
  // Not the addresses: those are others at the next try, and the sentence is to be the same.
  const own = pod.addresses.filter(({ dev }) => dev === ifName);
  const networks = own.map(({ address }) => formatPrefix(networkOf(address)));
  const reached = `for ${formatPrefix(route.dst)}, another host in a network of ${ifName} (${networks.join(", ")})`;
  const allowed = `${reached}; what not all networks reach belongs in the coordinator of those that do, not in the SpiderCoordinator`;
  return invalid(`policyRoutes[${policyRoutes.indexOf(route)}].gw`, formatIp(route.gw), allowed, error);
}

function indexesOf(links: readonly Pick<VethEnd, "name" | "index">[], made: VethEnd | undefined) {
  return new Map([...links, ...(made === undefined ? [] : [made])].map(({ name, index }) => [name, index]));
}

/**
 * Makes the changes in one netlink batch. Objects that exist already count as made, and absent ones as removed.
 *
 * @param indexes known indexes of links, by name
 */
export function apply(netns: Netns, changes: readonly Change[], indexes?: ReadonlyMap<string, number>): void {
  netns.rtnl.batch((batch) => {
    for (const change of changes) collect(batch, change);
  }, indexes);
}

const exists = { tolerate: ["EEXIST"] };
const gone = { tolerate: ["ENOENT", "ESRCH", "ENODEV"] };

function collect(batch: Batch, change: Change): void {
  switch (change.kind) {
    case "link":
      batch.setLink(change.name, change.change);
      break;
    case "address":
      batch.addAddress(change.dev, change.address, exists);
      break;
    case "neighbour":
      batch.setNeighbour(change.dev, change.ip, change.mac);
      break;
    case "dropNeighbour":
      batch.deleteNeighbour(change.dev, change.ip, gone);
      break;
    case "route":
      batch.addRoute(change.route, change.replace === true ? { replace: true } : exists);
      break;
    case "dropRoute":
      batch.deleteRoute(change.route, gone);
      break;
    case "rule":
      batch.addRule(change.rule, exists);
      break;
    case "dropRule":
      batch.deleteRule(change.rule, gone);
      break;
    default:
      assertNever(change);
  }
}
