import { hasCode, type Steps } from "#base";
import { type Attachment, CniError, cniCodes } from "#cni";
import { type Netns, openNetns } from "#linux";

/** The container's namespace, to be disposed by the caller. Throws CniError 8 if it cannot be opened. */
export function openPod(netns: string): Netns {
  try {
    return openNetns(netns);
  } catch (cause) {
    throw new CniError(cniCodes.invalidNetns, "the container's network namespace cannot be opened", {
      details: { netns },
      cause,
    });
  }
}

const ofCalls = new WeakMap<Steps, Map<string, Netns>>();

/**
 * The container's namespace for all plugins of a call: opened once, with one socket, and closed when the call has ended.
 * Throws CniError 8 if it cannot be opened.
 */
export function podOf({ netns }: Pick<Attachment, "netns">, steps: Steps): Netns {
  const opened = ofCalls.get(steps) ?? new Map<string, Netns>();
  ofCalls.set(steps, opened);
  const pod = opened.get(netns) ?? steps.own(openPod(netns));
  opened.set(netns, pod);
  return pod;
}

/**
 * The same for an attachment whose interface has yet to be made. Refuses, before anything is done, if an interface of this
 * name exists: it belongs to an earlier ADD, and an undo of this one would destroy it.
 *
 * @throws CniError 999, and CniError 8 as podOf does
 */
export function freePodOf(attachment: Pick<Attachment, "netns" | "ifName">, steps: Steps): Netns {
  const { netns, ifName } = attachment;
  const pod = podOf(attachment, steps);
  if (pod.rtnl.link(ifName) === undefined) return pod;
  throw new CniError(cniCodes.failed, "the container already has an interface of this name", {
    details: { interface: ifName, netns },
  });
}

/** The container's namespace, or undefined if nothing is left of it: no path, no file, or a file without a namespace. */
export function openPodIfThere(netns: string): Netns | undefined {
  if (netns === "") return undefined;
  try {
    return openNetns(netns);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "NOT_A_NETNS")) return undefined;
    throw error;
  }
}
