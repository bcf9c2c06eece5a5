import { labels, labelValue, type SpiderIPAddress, type SpiderIPAddressSpec, spiderIPAddresses } from "#api";
import { assertNever, type Signal } from "#base";
import type { KubeClient } from "#kube";
import { detached } from "#ledger";
import { type Action, limits } from "./decide.ts";

/**
 * Applies the decision to exactly the version of the object that it was made for. If anybody wrote in between, or a paused
 * leader wakes up late, the write fails with 409 `Conflict`, which this throws.
 */
export async function applyAction(
  client: KubeClient,
  live: SpiderIPAddress,
  { action, why }: { readonly action: Action; readonly why: string },
  { now, ...o }: Signal & { readonly now: Date },
): Promise<void> {
  const { name, uid, resourceVersion } = live.metadata;
  if (action === "release") {
    await client.delete(spiderIPAddresses, { name }, { ...o, preconditions: { uid, resourceVersion } });
    return;
  }
  await client.update(spiderIPAddresses, changed(live, action, why, now), o);
}

/** The claim after the action. Pure. */
function changed(live: SpiderIPAddress, action: Exclude<Action, "release">, why: string, now: Date): SpiderIPAddress {
  const { spec } = live;
  const until = new Date(now.getTime() + limits.untilMs).toISOString();
  switch (action) {
    case "quarantine":
      // Holder and node stay: the quarantine ends when that node returns or is gone.
      return { ...live, spec: { ...spec, purpose: "Quarantine", unclean: true, until, reason: why } };
    case "extend":
      return { ...live, spec: { ...spec, until } };
    case "detach":
      return { ...labelled(live, undefined), spec: { ...detached(spec), unclean: true } };
    case "promote":
      return { ...labelled(live, spec.nextNode), spec: promoted(spec) };
    case "clear-next":
      return { ...live, spec: withoutNext(spec) };
    default:
      return assertNever(action);
  }
}

function promoted(spec: SpiderIPAddressSpec): SpiderIPAddressSpec {
  const { nextNode, nextPodName, nextPodUID, nextContainerID } = spec;
  const { bootID: _boot, containerID: _container, ...rest } = withoutNext(spec);
  return {
    ...rest,
    ...(nextNode !== undefined && { node: nextNode }),
    ...(nextPodName !== undefined && { podName: nextPodName }),
    ...(nextPodUID !== undefined && { podUID: nextPodUID }),
    ...(nextContainerID !== undefined && { containerID: nextContainerID }),
  };
}

function withoutNext(spec: SpiderIPAddressSpec): SpiderIPAddressSpec {
  const { nextNode: _node, nextPodName: _name, nextPodUID: _uid, nextContainerID: _container, ...rest } = spec;
  return rest;
}

/** Agents find the claims of their node by this label. */
function labelled(live: SpiderIPAddress, node: string | undefined): SpiderIPAddress {
  const { [labels.claimNode]: _, ...rest } = live.metadata.labels ?? {};
  const own = node === undefined ? rest : { ...rest, [labels.claimNode]: labelValue(node) };
  return { ...live, metadata: { ...live.metadata, labels: own } };
}
