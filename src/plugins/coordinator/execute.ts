import { assertNever } from "#base";
import { type Batch, type Netns, type VethEnd, writeSysctl } from "#linux";
import { makePairs } from "../pairs.ts";
import { replyMark } from "./connectivity.ts";
import type { Change, Operations } from "./operations.ts";
import type { ReplyMarks } from "./reply-marks.ts";
import { vethName } from "./role.ts";
import type { Observed } from "./state.ts";

interface ExecuteOptions {
  readonly host: Netns;
  readonly pod: Netns;
  readonly marks: ReplyMarks;
}

/** Carries out a plan: makes the pair, then one batch of changes in the Pod, then one on the node. */
export async function execute(
  operations: Operations,
  observed: Pick<Observed, "pod" | "host">,
  { host, pod, marks }: ExecuteOptions,
): Promise<void> {
  const { veth, podSettings, hostSettings, replyMarks } = operations;
  const [pair] = veth === undefined ? [] : await makePairs(host, pod, [veth]);
  for (const { key, value } of podSettings) writeSysctl(pod, key, value);
  apply(pod, operations.pod, indexesOf(observed.pod.links, pair?.peer));
  if (replyMarks) marks.ensure(pod, vethName, replyMark);
  for (const { key, value } of hostSettings) writeSysctl(host, key, value);
  apply(host, operations.host, indexesOf(observed.host.links, pair));
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
