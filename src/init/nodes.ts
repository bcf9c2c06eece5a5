import { annotations, bridgeResourcePrefix, isLost, uninstallAnnotation } from "#api";
import type { Signal } from "#base";
import { daemonSets, type Node, nodes, type ObjectRef } from "#kube";
import type { Deps } from "./deps.ts";
import { unlessGone, untilItWorks } from "./retry.ts";

const looksMax = 20;
const apartMs = 500;

/**
 * Removes from Nodes what agents and controller wrote there, except the mark of a lost ledger, which the next installation needs.
 * Agents still run; an annotation of their DaemonSet tells them that the release is being removed, so that they stop advertising
 * bridges. Repeats until it has found nothing twice in a row, or gives up soon if somebody else advertises bridges of these
 * names.
 */
export async function leaveNodes(agents: ObjectRef, deps: Deps, o: Signal): Promise<void> {
  await mark(agents, "true", deps, o);
  for (let clean = 0, look = 0; clean < 2 && look < looksMax; look += 1) {
    const found = await untilItWorks(deps, (call) => Array.fromAsync(deps.client.listAll(nodes, call)), o);
    const left = found.flatMap((node) => {
      const body = withoutOurs(node);
      return body === undefined ? [] : [{ name: node.metadata.name, body }];
    });
    for (const { name, body } of left) {
      const patch = (call: Signal) =>
        deps.client.patch(nodes, { name }, { kind: "merge", body }, { ...call, subresource: "status" });
      await unlessGone(patch, deps, o);
      deps.say(`Node ${name}: what agents wrote there is gone`);
    }
    clean = left.length === 0 ? clean + 1 : 0;
    await deps.clock.sleep(apartMs, o);
  }
}

/** Tells the agents, by an annotation of their DaemonSet, that the release is being removed, or (undefined) that it stays. */
export async function mark(agents: ObjectRef, value: "true" | undefined, deps: Deps, o: Signal): Promise<void> {
  const body = { metadata: { annotations: { [uninstallAnnotation]: value ?? null } } };
  await unlessGone((call) => deps.client.patch(daemonSets, agents, { kind: "merge", body }, call), deps, o);
}

/** A merge patch that removes what is ours from the Node; undefined if there is nothing. */
function withoutOurs({ metadata, status }: Node): Record<string, unknown> | undefined {
  const closed = metadata.annotations?.[annotations.ledgerClosed];
  const ours = [annotations.doubts, ...(isLost(closed) ? [] : [annotations.ledgerClosed])];
  const noted = ours.filter((key) => metadata.annotations?.[key] !== undefined);
  const offered = (of: Readonly<Record<string, unknown>> = {}) =>
    Object.keys(of).filter((key) => key.startsWith(bridgeResourcePrefix));
  const [capacity, allocatable] = [offered(status?.capacity), offered(status?.allocatable)];
  if (noted.length + capacity.length + allocatable.length === 0) return undefined;
  const gone = (keys: readonly string[]) => Object.fromEntries(keys.map((key) => [key, null]));
  return {
    metadata: { annotations: gone(noted) },
    status: { capacity: gone(capacity), allocatable: gone(allocatable) },
  };
}
